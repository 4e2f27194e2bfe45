//! What a result looks like: the wrapper taken off, limits, text and repeated keys.

use wasmtime::component::Val;

use super::super::{OutputError, ResultSide, write_bytes, write_text};
use super::arguments::signature;
use super::random::Random;

#[test]
fn the_result_is_unwrapped() {
    let plain = signature("f: func() -> u8;");
    let mut out = Vec::new();
    assert_eq!(
        plain.write_result(&[Val::U8(7)], &mut out, 1),
        Ok(ResultSide::Ok)
    );
    assert_eq!(out, b"7");
    assert_eq!((plain.results_len(), plain.has_plain_result()), (1, false));
    let nothing = signature("f: func();");
    out.clear();
    assert_eq!(nothing.write_result(&[], &mut out, 4), Ok(ResultSide::Ok));
    assert_eq!(out, b"null");
    assert_eq!(
        (nothing.results_len(), nothing.has_plain_result()),
        (0, false)
    );
    let failing = signature("f: func() -> result<_, string>;");
    let error = Val::Result(Err(Some(Box::new(Val::String("no".to_owned())))));
    out.clear();
    assert_eq!(
        failing.write_result(&[error], &mut out, 4),
        Ok(ResultSide::Error)
    );
    assert_eq!(out, b"\"no\"");
    assert!(!failing.has_plain_result());
}

#[test]
fn the_limit_holds_at_every_length() {
    let signature = signature(
        "record r { name: string, data: list<u8>, n: list<u32>, m: map<string, u64>, o: option<f64>, e: result<u8> }
  f: func(v: r) -> r;",
    );
    let json = br#"{"name":"a\"b\u0001","data":"AAEC","n":[1,20,300],"m":{"k":"18446744073709551615"},"o":0.25,"e":{"ok":1}}"#;
    let values = signature
        .parse_arguments(&[b"{\"v\":", &json[..], b"}"].concat())
        .unwrap();
    for limit in 0..json.len() {
        let mut out = b"kept".to_vec();
        let result = signature.write_result(&values, &mut out, limit);
        assert_eq!(result, Err(OutputError::TooLarge { limit }));
        assert_eq!(out, b"kept");
        assert!(out.capacity() < 1024);
    }
    let mut out = b"kept".to_vec();
    assert_eq!(
        signature.write_result(&values, &mut out, json.len()),
        Ok(ResultSide::Ok)
    );
    assert_eq!(out, [b"kept", &json[..]].concat());
}

#[test]
fn a_long_result_is_given_up_early() {
    let signature = signature("f: func() -> list<list<u8>>;");
    let long = Val::List(vec![Val::List(vec![Val::U8(1); 100_000]); 2]);
    let mut out = Vec::new();
    let result = signature.write_result(&[long], &mut out, 1000);
    assert_eq!(result, Err(OutputError::TooLarge { limit: 1000 }));
    assert!(out.capacity() < 10_000);
}

#[test]
fn values_of_another_type_are_no_output() {
    let signature = signature("record r { a: u8 }\n  f: func() -> r;");
    for values in [
        vec![],
        vec![Val::U8(1)],
        vec![Val::Record(vec![])],
        vec![Val::Record(vec![("a".to_owned(), Val::U16(1))])],
        vec![Val::Bool(true), Val::Bool(true)],
    ] {
        let mut out = Vec::new();
        let result = signature.write_result(&values, &mut out, 1000);
        assert!(
            matches!(result, Err(OutputError::Mismatch { .. })),
            "{values:?}: {result:?}"
        );
        assert!(out.is_empty());
    }
}

#[test]
fn every_string_reads_back_with_another_reader() {
    let signature = signature("f: func() -> string;");
    let mut random = Random::new(3);
    for _ in 0..20_000 {
        let length = random.below(40);
        let text: String = (0..length)
            .map(|_| match random.below(8) {
                0 => ['"', '\\', '\n', '\u{1f}', '\u{20}', '\u{7f}', 'é', '😀'][random.below(8)],
                _ => char::from(random.below(128) as u8),
            })
            .collect();
        let mut out = Vec::new();
        signature
            .write_result(&[Val::String(text.clone())], &mut out, 1000)
            .unwrap();
        assert_eq!(out, serde_json::to_vec(&text).unwrap());
    }
}

#[test]
fn floats_are_the_shortest_that_read_back() {
    let signature = signature("f: func() -> tuple<f32, f64>;");
    let write = |a: f32, b: f64| {
        let mut out = Vec::new();
        let value = Val::Tuple(vec![Val::Float32(a), Val::Float64(b)]);
        signature.write_result(&[value], &mut out, 1000).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(write(0.1, 0.1), "[0.1,0.1]");
    assert_eq!(write(3.0, -2.0), "[3,-2]");
    assert_eq!(write(16_777_216.0, 1e21), "[16777216,1e+21]");
    assert_eq!(
        write(f32::NAN, f64::NEG_INFINITY),
        "[\"NaN\",\"-Infinity\"]"
    );
    let mut random = Random::new(11);
    for _ in 0..5000 {
        let (a, b) = (
            f32::from_bits(random.next() as u32),
            f64::from_bits(random.next()),
        );
        if a.is_finite() && b.is_finite() {
            let text = write(a, b);
            let read: (f32, f64) = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (read.0.to_bits(), read.1.to_bits()),
                (a.to_bits(), b.to_bits()),
                "{text}"
            );
        }
    }
}

#[test]
fn of_a_repeated_key_the_last_counts() {
    let signature = signature("f: func() -> tuple<map<string, u8>, map<u8, u8>>;");
    for copies in [2_u8, 20] {
        let text = |n: u8| (Val::String("k".to_owned()), Val::U8(n));
        let number = |n: u8| (Val::U8(5), Val::U8(n));
        let mut a: Vec<(Val, Val)> = (0..copies).map(text).collect();
        a.insert(1, (Val::String("other".to_owned()), Val::U8(9)));
        let b = (0..copies).map(number).collect();
        let mut out = Vec::new();
        let value = Val::Tuple(vec![Val::Map(a), Val::Map(b)]);
        signature.write_result(&[value], &mut out, 1000).unwrap();
        let last = copies - 1;
        let wanted = format!("[{{\"other\":9,\"k\":{last}}},[[5,{last}]]]");
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}

#[test]
fn plain_bytes_leave_without_json() {
    let signature = signature("f: func() -> result<list<u8>, string>;");
    let ok = Val::Result(Ok(Some(Box::new(Val::List(vec![
        Val::U8(0),
        Val::U8(255),
    ])))));
    let mut out = b"kept".to_vec();
    assert_eq!(
        signature.write_raw(std::slice::from_ref(&ok), &mut out, 2),
        Ok(true)
    );
    assert_eq!(out, b"kept\x00\xff");
    let result = signature.write_raw(&[ok], &mut out, 1);
    assert_eq!(result, Err(OutputError::TooLarge { limit: 1 }));
    let error = Val::Result(Err(Some(Box::new(Val::String("no".to_owned())))));
    assert_eq!(signature.write_raw(&[error], &mut out, 100), Ok(false));
    assert_eq!(out, b"kept\x00\xff");
    let text = super::arguments::signature("f: func() -> string;");
    assert_eq!(
        text.write_raw(&[Val::String("é".to_owned())], &mut out, 2),
        Ok(true)
    );
    assert_eq!(out, b"kept\x00\xff\xc3\xa9");
    let other = super::arguments::signature("f: func() -> u8;");
    assert_eq!(other.write_raw(&[Val::U8(1)], &mut out, 100), Ok(false));
}

#[test]
fn text_alone_is_what_serde_json_reads() {
    let all: String = (0..0x250u32).filter_map(char::from_u32).collect();
    for text in ["", "plain", "a\"b\\c\n\r\t\u{1}\u{1f}", "ä€😀", &all] {
        let mut out = Vec::new();
        assert!(write_text(text, &mut out, usize::MAX));
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        let length = out.len();
        assert!(write_text(text, &mut Vec::new(), length));
        assert!(!write_text(text, &mut Vec::new(), length - 1));
    }
}

#[test]
fn bytes_alone_are_padded_base64() {
    for (bytes, base64) in [
        (&b""[..], "\"\""),
        (b"f", "\"Zg==\""),
        (b"foobar", "\"Zm9vYmFy\""),
        (&[0xff, 0xfe, 0xfb], "\"//77\""),
    ] {
        let mut out = Vec::new();
        assert!(write_bytes(bytes, &mut out, base64.len()));
        assert_eq!(String::from_utf8_lossy(&out), base64);
        assert!(!write_bytes(bytes, &mut out, base64.len() - 1));
    }
}
