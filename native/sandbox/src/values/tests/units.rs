//! Base64, sets of names, and what a small call costs.

use std::time::Instant;

use super::super::base64;
use super::super::names::Names;
use super::arguments::signature;
use super::random::Random;

fn encoded(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    base64::encode(bytes, &mut out);
    assert_eq!(out.len(), base64::encoded_len(bytes.len()));
    String::from_utf8(out).unwrap()
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    base64::decode(text.as_bytes(), &mut out).map(|()| out)
}

#[test]
fn base64_has_the_vectors_of_rfc_4648() {
    let vectors = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];
    for (plain, text) in vectors {
        assert_eq!(encoded(plain.as_bytes()), text);
        assert_eq!(decoded(text).unwrap(), plain.as_bytes());
    }
}

#[test]
fn base64_returns_every_byte() {
    let mut random = Random::new(1);
    for length in 0..200 {
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        assert_eq!(decoded(&encoded(&bytes)).unwrap(), bytes);
    }
}

#[test]
fn base64_has_one_text_for_each_value() {
    // Of all texts of one group, those that decode are as many as there are values.
    let mut accepted = 0;
    for text in 0..=u16::MAX {
        let [a, b] = text.to_be_bytes();
        let bytes = [a, b, b'=', b'='];
        let mut out = Vec::new();
        if base64::decode(&bytes, &mut out).is_ok() {
            assert_eq!(encoded(&out).as_bytes(), bytes);
            accepted += 1;
        }
    }
    assert_eq!(accepted, 256);
}

#[test]
fn base64_says_where_it_is_wrong() {
    for (text, problem) in [
        ("Zm9v?m9v", "invalid character at position 4"),
        ("Zm9vYmF-", "invalid character at position 7"),
        ("Zg==Zg==", "invalid character at position 2"),
        ("Z===", "invalid character at position 1"),
        ("Zh==", "stray bits before the padding at position 2"),
        ("Zm9=", "stray bits before the padding at position 3"),
        (
            "Zm9",
            "3 characters are not a multiple of 4; padding is needed",
        ),
        ("Z m9v", "invalid character at position 1"),
    ] {
        assert_eq!(decoded(text).unwrap_err(), problem, "{text}");
    }
}

#[test]
fn names_are_found_in_small_and_large_sets() {
    for count in [0, 1, 8, 9, 300] {
        let all: Vec<Box<str>> = (0..count)
            .map(|n| format!("name_{}", n * 7 % 311).into())
            .collect();
        let names = Names::new(all.clone());
        for (index, name) in all.iter().enumerate() {
            for hint in [0, index, index + 1, usize::MAX] {
                assert_eq!(names.find(name, hint), Some(index));
            }
        }
        assert_eq!(names.find("name", 0), None);
        assert_eq!(names.find("", 0), None);
    }
}

#[test]
fn the_nearest_name_is_offered_when_it_is_near() {
    let names = Names::new(vec!["input".into(), "unit_price".into(), "x".into()]);
    assert_eq!(names.nearest("inptu"), Some("input"));
    assert_eq!(names.nearest("Input"), Some("input"));
    assert_eq!(names.nearest("unit-price"), Some("unit_price"));
    assert_eq!(names.nearest("unitPrice"), Some("unit_price"));
    assert_eq!(names.nearest("something"), None);
    assert_eq!(names.nearest(&"i".repeat(10_000)), None);
}

/// Prints what converting costs; run with `--nocapture`.
#[test]
fn cost_of_small_calls() {
    let record = signature("record r { words: u32, chars: u32 }\n  f: func(input: string) -> r;");
    let json = format!("{{\"input\":\"{}\"}}", "x".repeat(64));
    let results = record_value();
    let mut out = Vec::with_capacity(1024);
    let mut scratch = Vec::new();
    time("parse_arguments, 64 characters", || {
        record.parse_arguments(json.as_bytes()).unwrap().len()
    });
    time("parse_single, 64 characters", || {
        record
            .parse_single(json.as_bytes(), &mut scratch)
            .unwrap()
            .len()
    });
    time("write_result, two numbers", || {
        out.clear();
        record.write_result(&results, &mut out, 1024).unwrap();
        out.len()
    });
    let bytes = signature("f: func(data: list<u8>) -> list<u8>;");
    let json = format!("{{\"data\":\"{}\"}}", encoded(&[7; 4096]));
    time("parse_single, 4 KiB of bytes", || {
        bytes
            .parse_single(json.as_bytes(), &mut scratch)
            .unwrap()
            .len()
    });
    time("parse_arguments, 4 KiB of bytes", || {
        bytes.parse_arguments(json.as_bytes()).unwrap().len()
    });
    let values = bytes.parse_arguments(json.as_bytes()).unwrap();
    time("write_result, 4 KiB of bytes", || {
        out.clear();
        bytes.write_result(&values, &mut out, 10_000).unwrap();
        out.len()
    });
}

fn record_value() -> [wasmtime::component::Val; 1] {
    use wasmtime::component::Val;
    let field = |name: &str, n| (name.to_owned(), Val::U32(n));
    [Val::Record(vec![field("words", 12), field("chars", 64)])]
}

fn time(what: &str, mut run: impl FnMut() -> usize) {
    const ROUNDS: u32 = 2000;
    let mut sum = 0;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        sum += std::hint::black_box(run());
    }
    println!("{what}: {} ns", (start.elapsed() / ROUNDS).as_nanos());
    assert!(sum > 0);
}
