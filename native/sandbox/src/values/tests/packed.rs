//! MessagePack: the same values as JSON, bytes as they are, exact integers, and what it refuses.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wasmtime::component::Val;

use super::super::Signature;
use super::super::path::VALUES_MAX;
use super::arguments::{check, signature};
use super::echo::{Echo, engine};
use super::random::Random;

fn pack(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

/// `{NAME: VALUE}` with the value's encoding given.
fn map(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x81, 0xa0 | u8::try_from(name.len()).unwrap()];
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(value);
    bytes
}

fn list(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().copied().map(Val::U8).collect())
}

#[test]
fn every_vector_of_json_holds_in_messagepack() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/values");
    let engine = engine();
    let mut vectors = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let text = |key: &str| file[key].as_str().unwrap();
        let echo = Echo::new(&engine, text("wit"), text("type"));
        let cases = file["cases"].as_array().unwrap().iter();
        for case in cases.chain(file["errors"].as_array().unwrap()) {
            let given = json!({ "v": case["in"] });
            let from_json = echo
                .signature()
                .parse_arguments(given.to_string().as_bytes());
            let packed = echo.signature().parse_packed(&pack(&given));
            vectors += 1;
            match (from_json, packed) {
                // As text: NaN is not equal to itself.
                (Ok(a), Ok(b)) => assert_eq!(format!("{a:?}"), format!("{b:?}"), "{given}"),
                (Err(a), Err(b)) => {
                    assert_eq!((a.path, a.expected), (b.path, b.expected), "{given}");
                }
                (Err(a), Ok(_)) => assert!(a.message.contains("JSON number"), "{given}: {a}"),
                (Ok(_), Err(b)) => panic!("{given}: {b}"),
            }
        }
    }
    assert!(vectors >= 400);
}

#[test]
fn what_is_not_finite_is_taken_as_a_number_and_as_text() {
    let signature = signature("f: func(narrow: f32, wide: f64);");
    let both = |narrow: &[u8], wide: &[u8]| {
        let mut bytes = vec![0x82];
        bytes.extend_from_slice(&map("narrow", narrow)[1..]);
        bytes.extend_from_slice(&map("wide", wide)[1..]);
        signature.parse_packed(&bytes)
    };
    let f32s = |number: f32| [&[0xca], &number.to_be_bytes()[..]].concat();
    let f64s = |number: f64| [&[0xcb], &number.to_be_bytes()[..]].concat();
    let text = |text: &str| [&[0xa0 | text.len() as u8], text.as_bytes()].concat();
    for (number, name) in [
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
        (f64::NAN, "NaN"),
    ] {
        let narrow = number as f32;
        let expected = format!("{:?}", [Val::Float32(narrow), Val::Float64(number)]);
        for given in [
            both(&f32s(narrow), &f32s(narrow)),
            both(&f64s(number), &f64s(number)),
            both(&text(name), &text(name)),
        ] {
            // As text: NaN is not equal to itself.
            assert_eq!(format!("{:?}", given.unwrap()), expected);
        }
    }
    let error = both(&f64s(1e300), &f64s(1e300)).unwrap_err();
    assert_eq!(
        error.path, "arguments.narrow",
        "a finite number does not become infinite"
    );
}

#[test]
fn an_integer_that_is_not_finite_is_refused_in_the_words_of_json() {
    for ty in ["u8", "s64", "u64"] {
        let signature = signature(&format!("f: func(v: {ty});"));
        for (text, number) in [
            ("NaN", f64::NAN),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            let wide = [&[0xcb], &number.to_be_bytes()[..]].concat();
            let narrow = [&[0xca], &(number as f32).to_be_bytes()[..]].concat();
            for given in [wide, narrow] {
                let error = signature.parse_packed(&map("v", &given)).unwrap_err();
                let message = format!("expected {ty}, got {text}");
                check(&error, "arguments.v", ty, &message);
            }
            let json = json!({ "v": text }).to_string();
            let error = signature.parse_arguments(json.as_bytes()).unwrap_err();
            assert_eq!((&*error.path, &*error.expected), ("arguments.v", ty));
        }
    }
}

#[test]
fn a_finite_float_is_taken_or_refused_as_in_json() {
    let most = f64::from(f32::MAX);
    // Half way to the next f32 there would be: below it the number is rounded down, from it on it is
    // infinite.
    let half = most + 2f64.powi(103);
    let below = f64::from_bits(half.to_bits() - 1);
    let bounds = [most, below, half, f64::MAX, f64::MIN_POSITIVE, -0.0, 1e-60];
    let mut random = Random::new(23);
    let others = std::iter::repeat_with(|| f64::from_bits(random.next())).take(5_000);
    let numbers: Vec<f64> = bounds
        .into_iter()
        .flat_map(|bound| [bound, -bound])
        .chain(others)
        .filter(|number| number.is_finite())
        .collect();
    let mut refused = 0;
    for ty in ["f32", "f64"] {
        let signature = signature(&format!("f: func(v: {ty});"));
        for number in &numbers {
            let json = json!({ "v": number }).to_string();
            let packed = [&[0xcb], &number.to_be_bytes()[..]].concat();
            let from_json = signature.parse_arguments(json.as_bytes());
            let from_packed = signature.parse_packed(&map("v", &packed));
            match (from_json, from_packed) {
                // As text, which tells -0 from 0.
                (Ok(a), Ok(b)) => assert_eq!(format!("{a:?}"), format!("{b:?}"), "{number:e}"),
                (Err(a), Err(b)) => {
                    refused += 1;
                    check(&a, &b.path, &b.expected, &b.message);
                }
                (a, b) => panic!("{ty} {number:e}: {a:?} in JSON, {b:?} in MessagePack"),
            }
        }
        let (taken, infinite) = (below.to_be_bytes(), half.to_be_bytes());
        let parse =
            |bytes: [u8; 8]| signature.parse_packed(&map("v", &[&[0xcb], &bytes[..]].concat()));
        assert!(parse(taken).is_ok());
        assert_eq!(parse(infinite).is_ok(), ty == "f64");
    }
    assert!(refused > 1_000, "{refused} beyond f32");
}

#[test]
fn bytes_are_taken_as_they_are_and_as_base64() {
    let signature = signature("f: func(data: list<u8>, four: list<u8>);");
    let both = |data: &[u8], four: &[u8]| {
        let mut bytes = vec![0x82];
        bytes.extend_from_slice(&map("data", data)[1..]);
        bytes.extend_from_slice(&map("four", four)[1..]);
        signature.parse_packed(&bytes)
    };
    let values = both(&[0xc4, 3, 0, 254, 255], &[0xa4, b'A', b'A', b'E', b'C']).unwrap();
    assert_eq!(values, [list(&[0, 254, 255]), list(&[0, 1, 2])]);
    assert_eq!(
        both(&[0xc4, 0], &[0xc4, 0]).unwrap(),
        [list(&[]), list(&[])]
    );
}

#[test]
fn a_single_argument_is_borrowed() {
    let mut scratch = Vec::new();
    let bytes = map("data", &[0xc4, 3, 0, 254, 255]);
    let signature_of_bytes = signature("f: func(data: list<u8>);");
    let data = signature_of_bytes
        .parse_packed_single(&bytes, &mut scratch)
        .unwrap();
    assert_eq!(data, [0, 254, 255]);
    assert!(bytes.as_ptr_range().contains(&data.as_ptr()));
    let text = map("input", &[0xa3, b'a', 0xc3, 0xa9]);
    let signature_of_text = signature("f: func(input: string);");
    let input = signature_of_text
        .parse_packed_single(&text, &mut scratch)
        .unwrap();
    assert_eq!(input, "aé".as_bytes());
    assert!(text.as_ptr_range().contains(&input.as_ptr()));
    let error = signature_of_text
        .parse_packed_single(&map("input", &[0xc4, 1, 7]), &mut Vec::new())
        .unwrap_err();
    check(
        &error,
        "arguments.input",
        "string",
        "expected string, got bytes",
    );
    let pair = signature("f: func(a: u8, b: u8);");
    assert!(pair.parse_packed_single(&bytes, &mut scratch).is_err());
}

#[test]
fn integers_are_exact() {
    let signature = signature("f: func(v: u64);");
    let most = [&[0xcf][..], &[0xff; 8]].concat();
    let values = signature.parse_packed(&map("v", &most)).unwrap();
    assert_eq!(values, [Val::U64(u64::MAX)]);
    let error = signature.parse_packed(&map("v", &[0xff])).unwrap_err();
    assert_eq!((&*error.path, &*error.expected), ("arguments.v", "u64"));
}

fn refused(signature: &Signature, packed: &[u8]) -> String {
    let error = signature.parse_packed(packed).unwrap_err();
    format!("{}: {}", error.path, error.message)
}

#[test]
fn what_is_no_map_of_arguments_is_refused() {
    let signature = signature("f: func(input: string);");
    let whole = "arguments: expected a MessagePack map, got";
    assert_eq!(refused(&signature, &[0xc0]), format!("{whole} null"));
    assert_eq!(refused(&signature, &[0x90]), format!("{whole} an array"));
    assert_eq!(refused(&signature, &[0xc4, 0]), format!("{whole} bytes"));
    let malformed = "arguments: malformed MessagePack";
    for bytes in [
        &b""[..],
        &[0x81],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &map("input", &[0xdb, 0xff, 0xff, 0xff, 0xff]),
        &[&map("input", &[0xa0])[..], &[0xc0]].concat(),
        &[&map("input", &[0xa0])[..], &[0xc1]].concat(),
        // What follows may itself be cut off.
        &[&map("input", &[0xa0])[..], &[0x91]].concat(),
        &[&map("input", &[0xa0])[..], &[0x81]].concat(),
        &[&map("input", &[0xa0])[..], &[0x92, 0xc0]].concat(),
        &[&map("input", &[0xa0])[..], &[0xcc]].concat(),
    ] {
        let text = refused(&signature, bytes);
        assert!(text.starts_with(malformed), "{bytes:?}: {text}");
    }
    let text = refused(&signature, &map("input", &[0xc4, 1, 7]));
    assert_eq!(text, "arguments.input: expected string, got bytes");
    assert!(refused(&signature, &map("input", &[0xa1, 0xff])).starts_with("arguments"));
    assert!(refused(&signature, &map("other", &[0xa0])).contains("other"));
    // Deep nesting ends at a bound, not at the end of the stack.
    let deep = map("input", &[0x91; 100_000]);
    assert!(refused(&signature, &deep).starts_with("arguments"));
}

#[test]
fn bytes_of_fixed_length_count_as_values_too() {
    let signature = signature("f: func(input: list<list<u8, 1024>>);");
    let count = u16::try_from(VALUES_MAX / (1024 * size_of::<Val>()) + 1).unwrap();
    let mut lists = vec![0xdc];
    lists.extend_from_slice(&count.to_be_bytes());
    for _ in 0..count {
        lists.extend_from_slice(&[0xc5, 4, 0]);
        lists.extend_from_slice(&[0; 1024]);
    }
    let text = refused(&signature, &map("input", &lists));
    assert!(text.starts_with("arguments.input"), "{text}");
}
