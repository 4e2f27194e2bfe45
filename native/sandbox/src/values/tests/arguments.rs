//! The object of arguments: names, refusals, bounds; and signatures that have no JSON.

use std::fmt::Write;

use wasmtime::component::Val;

use super::super::{ArgumentError, Signature, TypeBudget};
use super::echo::{component, engine, function};

/// The signature of `f`, whose line in the interface is `declaration`.
pub fn signature(declaration: &str) -> Signature {
    Signature::of(
        &function(&component(&engine(), &package(declaration)), "f"),
        &mut TypeBudget::default(),
    )
    .unwrap()
}

fn package(declaration: &str) -> String {
    format!(
        "package test:values;\ninterface api {{\n  {declaration}\n}}\nworld plugin {{ export api; }}\n"
    )
}

fn refused(signature: &Signature, json: &str) -> ArgumentError {
    signature.parse_arguments(json.as_bytes()).expect_err(json)
}

pub fn check(error: &ArgumentError, path: &str, expected: &str, message: &str) {
    assert_eq!(
        (&*error.path, &*error.expected, &*error.message),
        (path, expected, message)
    );
}

#[test]
fn arguments_come_in_the_order_of_the_parameters() {
    let signature = signature("f: func(first: u8, unit-price: f64, last: option<string>);");
    let values = signature
        .parse_arguments(br#" {"unit_price":2,"first":1} "#)
        .unwrap();
    assert_eq!(values, [Val::U8(1), Val::Float64(2.0), Val::Option(None)]);
    let values = signature
        .parse_arguments(br#"{"last":"x","first":1,"unit_price":0.5}"#)
        .unwrap();
    let last = Val::Option(Some(Box::new(Val::String("x".to_owned()))));
    assert_eq!(values, [Val::U8(1), Val::Float64(0.5), last]);
}

#[test]
fn a_function_without_parameters_takes_the_empty_object_only() {
    let signature = signature("f: func();");
    assert_eq!(signature.parse_arguments(b"{}").unwrap(), []);
    check(
        &refused(&signature, r#"{"x":1}"#),
        "arguments.x",
        "",
        "unknown parameter; there are none",
    );
}

#[test]
fn wrong_arguments_are_named() {
    let signature = signature("f: func(input: string, unit-price: f64);");
    let at = |json| refused(&signature, json);
    let missing = "missing argument, expected string";
    check(&at("{}"), "arguments.input", "string", missing);
    let missing = "missing argument, expected f64";
    check(
        &at(r#"{"input":"x"}"#),
        "arguments.unit_price",
        "f64",
        missing,
    );
    let unknown = "unknown parameter; did you mean \"unit_price\"?";
    check(
        &at(r#"{"unit-price":1}"#),
        "arguments.unit-price",
        "",
        unknown,
    );
    check(
        &at(r#"{"unitprice":1}"#),
        "arguments.unitprice",
        "",
        unknown,
    );
    let unknown = "unknown parameter; known: input, unit_price";
    check(
        &at(r#"{"something":1}"#),
        "arguments.something",
        "",
        unknown,
    );
    check(
        &at(r#"{"input":"x","input":"y"}"#),
        "arguments.input",
        "string",
        "given twice",
    );
    let wrong = "expected f64, got a string";
    check(
        &at(r#"{"input":"x","unit_price":"1"}"#),
        "arguments.unit_price",
        "f64",
        wrong,
    );
}

#[test]
fn what_is_not_an_object_is_refused_as_a_whole() {
    let signature = signature("f: func(input: string);");
    for (json, got) in [
        ("null", "null"),
        ("true", "a boolean"),
        ("1", "a number"),
        ("-1.5", "a number"),
        ("\"x\"", "a string"),
        ("[{}]", "an array"),
    ] {
        let message = format!("expected a JSON object, got {got}");
        check(
            &refused(&signature, json),
            "arguments",
            "a JSON object",
            &message,
        );
    }
}

#[test]
fn malformed_json_is_placed_by_line_and_column() {
    let signature = signature("f: func(input: string, data: list<u8>);");
    for (json, place) in [
        ("", "line 1 column 0"),
        ("{", "line 1 column 1"),
        ("{\"input\":\"x\"", "line 1 column 12"),
        ("{\n\"input\" \"x\"}", "line 2 column 9"),
        ("{\"input\":\"x\",\"data\":\"\"} x", "line 1 column 25"),
        ("{\"input\":\"\\ud800\"}", "line 1 column 17"),
        ("{\"input\":\"\n\"}", "line 2 column 0"),
        ("{input:1}", "line 1 column 2"),
        ("{\"input\":01}", "line 1 column 11"),
    ] {
        let error = refused(&signature, json);
        assert_eq!(
            (&*error.path, &*error.expected),
            ("arguments", "a JSON object"),
            "{json}"
        );
        assert!(
            error.message.starts_with("malformed JSON: "),
            "{json}: {error}"
        );
        assert!(
            error.message.ends_with(&format!("at {place}")),
            "{json}: {error}"
        );
    }
    let error = signature
        .parse_arguments(b"{\"input\":\"\xff\"}")
        .unwrap_err();
    assert!(error.message.contains("invalid unicode"), "{error}");
}

#[test]
fn depth_is_bounded_wherever_it_is() {
    let signature = signature("f: func(input: list<list<u8>>);");
    let deep = format!("{{\"input\":{}", "[".repeat(100_000));
    assert_eq!(refused(&signature, &deep).path, "arguments.input[0]");
    let deep = "{\"x\":".repeat(100_000);
    assert_eq!(refused(&signature, &deep).path, "arguments.x");
    // A map in an array of pairs takes two levels of JSON for one of WIT.
    let (mut ty, mut json) = (String::from("u8"), String::from("1"));
    for _ in 0..70 {
        ty = format!("map<u8, {ty}>");
        json = format!("[[1,{json}]]");
    }
    let signature = self::signature(&format!("f: func(input: {ty});"));
    let error = refused(&signature, &format!("{{\"input\":{json}}}"));
    assert_eq!(error.message, "nested deeper than 128 levels at line 1");
}

#[test]
fn a_client_s_text_is_cut_and_quoted_in_errors() {
    let signature = signature("f: func(v: u64);");
    let long = "é\"".repeat(1_000_000);
    let json = serde_json::json!({ long.as_str(): 1 }).to_string();
    let error = refused(&signature, &json);
    assert!(
        error.path.starts_with("arguments[\"é\\\"é") && error.path.len() < 300,
        "{error}"
    );
    let error = refused(&signature, &serde_json::json!({ "v": long }).to_string());
    assert!(error.message.len() < 300, "{error}");
    let digits = "9".repeat(1000);
    let error = refused(&signature, &format!("{{\"v\":\"{digits}\"}}"));
    assert!(
        error
            .message
            .contains("out of range for u64 (0 to 18446744073709551615)"),
        "{error}"
    );
    assert!(error.message.len() < 300, "{error}");
}

#[test]
fn integers_are_exact_to_their_ends() {
    let signature = signature("f: func(a: u64, b: s64);");
    let parse =
        |a: &str, b: &str| signature.parse_arguments(format!("{{\"a\":{a},\"b\":{b}}}").as_bytes());
    let exact = [Val::U64(u64::MAX), Val::S64(i64::MIN)];
    assert_eq!(
        parse("\"18446744073709551615\"", "\"-9223372036854775808\"").unwrap(),
        exact
    );
    assert_eq!(
        parse("9007199254740991", "-9007199254740991").unwrap(),
        [
            Val::U64(9_007_199_254_740_991),
            Val::S64(-9_007_199_254_740_991)
        ]
    );
    let error = parse("9007199254740992", "1").unwrap_err();
    check(
        &error,
        "arguments.a",
        "u64",
        "9007199254740992 is beyond what a JSON number holds exactly; give it as a string",
    );
    let error = parse("18446744073709551616", "1").unwrap_err();
    assert_eq!((&*error.path, &*error.expected), ("arguments.a", "u64"));
    let error = parse("1", "1e999").unwrap_err();
    check(&error, "arguments.b", "s64", "number out of range for s64");
    let error = parse("1", "3.5").unwrap_err();
    check(&error, "arguments.b", "s64", "expected s64, got 3.5");
    let error = parse("-1", "1").unwrap_err();
    let message = "-1 is out of range for u64 (0 to 18446744073709551615)";
    check(&error, "arguments.a", "u64", message);
}

#[test]
fn floats_are_read_to_the_last_bit() {
    let signature = signature("f: func(v: list<f64>);");
    let mut random = super::random::Random::new(7);
    for _ in 0..2000 {
        let number = f64::from_bits(random.next());
        if !number.is_finite() {
            continue;
        }
        let values = signature.parse_arguments(format!("{{\"v\":[{number:e}]}}").as_bytes());
        assert_eq!(values.unwrap(), [Val::List(vec![Val::Float64(number)])]);
    }
}

#[test]
fn types_of_a_store_have_no_json() {
    let engine = engine();
    for (types, ty, reason) in [
        (
            "resource r;",
            "list<borrow<r>>",
            "parameter `v` holds a resource",
        ),
        (
            "resource r;",
            "option<own<r>>",
            "parameter `v` holds a resource",
        ),
        ("", "stream<u8>", "parameter `v` holds a stream"),
        (
            "",
            "tuple<u8, future<string>>",
            "parameter `v` holds a future",
        ),
        (
            "",
            "list<error-context>",
            "parameter `v` holds an error context",
        ),
    ] {
        let wit = package(&format!("{types}\n  f: func(v: {ty});"));
        let function = function(&component(&engine, &wit), "f");
        assert_eq!(
            Signature::of(&function, &mut TypeBudget::default())
                .unwrap_err()
                .reason,
            reason
        );
    }
}

#[test]
fn types_that_grow_without_end_are_refused() {
    let mut types = String::from("type t0 = tuple<u8, u8>;\n");
    for n in 1..14 {
        let _ = writeln!(types, "  type t{n} = tuple<t{}, t{}>;", n - 1, n - 1);
    }
    let wit = package(&format!("{types}  f: func(v: list<t13>);"));
    let error = Signature::of(
        &function(&component(&engine(), &wit), "f"),
        &mut TypeBudget::default(),
    )
    .unwrap_err();
    assert_eq!(
        error.reason,
        "parameter `v` makes the types larger than 10000 nodes"
    );
}

#[test]
fn cases_and_names_count_as_nodes() {
    let mut budget = TypeBudget::default();
    let mut of = |declaration: &str| {
        let component = component(&engine(), &package(declaration));
        Signature::of(&function(&component, "f"), &mut budget).map_err(|e| e.reason)
    };
    let cases: Vec<String> = (0..3_000).map(|n| format!("c{n}x")).collect();
    let variant = format!("variant t {{ {}, last(u8) }}", cases.join(", "));
    assert!(of(&format!("{variant}\n  f: func(v: tuple<t, t, t>);")).is_ok());
    let larger = Err("parameter `v` makes the types larger than 10000 nodes".to_owned());
    let refused = of(&format!("{variant}\n  f: func(v: tuple<t, t, t, t>);"));
    assert_eq!(refused.map(drop), larger);
    let record = format!("record t {{ {}: u8 }}", "n".repeat(60_000));
    assert!(of(&format!("{record}\n  f: func(v: tuple<t, t, t, t, t>);")).is_ok());
    let refused = of(&format!("{record}\n  f: func(v: tuple<t, t, t, t, t, t>);"));
    assert_eq!(refused.map(drop), larger);
}

#[test]
fn the_functions_of_a_component_share_a_budget() {
    let names: Vec<String> = (0..4_000).map(|n| format!("c{n}x")).collect();
    let types = format!("enum t {{ {} }}", names.join(", "));
    let wit = package(&format!("{types}\n  f: func(v: t, w: t);"));
    let component = component(&engine(), &wit);
    let function = function(&component, "f");
    let mut budget = TypeBudget::default();
    let made = (0..100).take_while(|_| Signature::of(&function, &mut budget).is_ok());
    assert_eq!(made.count(), 12);
    assert_eq!(
        Signature::of(&function, &mut budget).unwrap_err().reason,
        "parameter `v` makes the types of the component larger than 100000 nodes"
    );
}

#[test]
fn names_of_fields_that_are_left_out_take_memory_too() {
    let fields: Vec<String> = (0..8)
        .map(|n| format!("f{n}{}: option<u8>", "x".repeat(4_000)))
        .collect();
    let fields = fields.join(", ");
    let signature = signature(&format!("record r {{ {fields} }}\n  f: func(v: list<r>);"));
    let json = |count: usize| format!("{{\"v\":[{}]}}", vec!["{}"; count].join(","));
    assert!(signature.parse_arguments(json(10).as_bytes()).is_ok());
    // Three bytes of text would be 32 KB.
    let error = refused(&signature, &json(1_000));
    assert_eq!(
        error.message,
        "the arguments take too much memory for their length"
    );
}

#[test]
fn a_large_integer_with_an_exponent_is_asked_for_as_a_string() {
    let signature = signature("f: func(a: s64, b: u64, c: u32);");
    let with = |a: &str, b: &str, c: &str| {
        refused(&signature, &format!("{{\"a\":{a},\"b\":{b},\"c\":{c}}}")).message
    };
    let string = "is beyond what a JSON number holds exactly; give it as a string";
    assert_eq!(
        with("1e18", "0", "0"),
        format!("1000000000000000000 {string}")
    );
    assert_eq!(
        with("-9e18", "0", "0"),
        format!("-9000000000000000000 {string}")
    );
    assert_eq!(
        with("0", "1.8e19", "0"),
        format!("18000000000000000000 {string}")
    );
    for (a, b, c) in [("1e19", "0", "0"), ("0", "1.9e19", "0"), ("0", "0", "1e18")] {
        assert!(with(a, b, c).contains("is out of range for"), "{a} {b} {c}");
    }
    assert!(with("0", "-1e18", "0").contains("is out of range for u64"));
}

#[test]
fn small_text_that_grows_to_large_values_is_refused() {
    let fields: Vec<String> = (0..200).map(|n| format!("f{n}x: option<string>")).collect();
    let fields = fields.join(", ");
    let signature = signature(&format!("record r {{ {fields} }}\n  f: func(v: list<r>);"));
    let json = |count: usize| format!("{{\"v\":[{}]}}", vec!["{}"; count].join(","));
    assert_eq!(
        signature
            .parse_arguments(json(50).as_bytes())
            .unwrap()
            .len(),
        1
    );
    let error = refused(&signature, &json(1_000));
    assert!(error.path.starts_with("arguments.v["), "{error}");
    assert_eq!(
        error.message,
        "the arguments take too much memory for their length"
    );
    let signature = self::signature("f: func(v: list<list<u8>>);");
    let json = |bytes: usize| format!("{{\"v\":[\"{}\"]}}", "AAAA".repeat(bytes / 3));
    assert!(
        signature
            .parse_arguments(json(3_000_000).as_bytes())
            .is_ok()
    );
    assert_eq!(refused(&signature, &json(4_500_000)).path, "arguments.v[0]");
}
