//! The vectors in `tests/corpus/values`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::super::ResultSide;
use super::echo::{Echo, engine};

/// Equality of JSON where `3` is `3.0`.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn every_vector_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/values");
    let engine = engine();
    let (mut files, mut vectors) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let text = |key: &str| file[key].as_str().unwrap();
        let echo = Echo::new(&engine, text("wit"), text("type"));
        for case in file["cases"].as_array().unwrap() {
            let given = case["in"].to_string();
            let answer = echo
                .call(&given)
                .unwrap_or_else(|e| panic!("{name}: {given}: {e}"));
            let wanted = case.get("out").unwrap_or(&case["in"]);
            let got: Value = serde_json::from_str(&answer.json).unwrap();
            assert!(
                same(&got, wanted),
                "{name}: {given}: got {got}, wanted {wanted}"
            );
            let side = match case.get("side").and_then(Value::as_str) {
                Some("error") => ResultSide::Error,
                _ => ResultSide::Ok,
            };
            assert_eq!(answer.side, side, "{name}: {given}");
            vectors += 1;
        }
        for case in file["errors"].as_array().unwrap() {
            let given = case["in"].to_string();
            let error = echo.call(&given).expect_err(&format!("{name}: {given}"));
            assert_eq!(
                error.path,
                case["path"].as_str().unwrap(),
                "{name}: {given}: {error}"
            );
            assert_eq!(
                error.expected,
                case["expected"].as_str().unwrap(),
                "{name}: {given}: {error}"
            );
            assert!(!error.message.is_empty());
            vectors += 1;
        }
        files += 1;
    }
    assert!(
        files >= 36 && vectors >= 400,
        "only {files} files with {vectors} vectors"
    );
}
