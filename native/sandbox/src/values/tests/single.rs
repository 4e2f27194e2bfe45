//! The short way for one string or bytes.

use wasmtime::component::Val;

use super::super::SingleParam;
use super::arguments::{check, signature};

#[test]
fn one_string_is_borrowed_unless_it_has_escapes() {
    let signature = signature("f: func(input: string) -> string;");
    assert_eq!(signature.single_param(), Some(SingleParam::String));
    assert!(signature.has_plain_result());
    let mut scratch = Vec::new();
    let json = " {\"input\" : \"plain é\"} ".as_bytes();
    let text = signature.parse_single(json, &mut scratch).unwrap();
    assert_eq!(text, "plain é".as_bytes());
    assert!(json.as_ptr_range().contains(&text.as_ptr()));
    let text = signature
        .parse_single(br#"{"input":"a\n\u00e9"}"#, &mut scratch)
        .unwrap();
    assert_eq!(text, "a\né".as_bytes());
    let text = signature
        .parse_single(br#"{"input":""}"#, &mut scratch)
        .unwrap();
    assert_eq!(text, b"");
}

#[test]
fn one_list_of_bytes_is_decoded() {
    let signature = signature("f: func(data: list<u8>) -> result<list<u8>, string>;");
    assert_eq!(signature.single_param(), Some(SingleParam::Bytes));
    assert!(signature.has_plain_result());
    let mut scratch = vec![9; 9];
    let bytes = signature
        .parse_single(br#"{"data":"AAEC\/w=="}"#, &mut scratch)
        .unwrap();
    assert_eq!(bytes, [0, 1, 2, 255]);
    assert_eq!(
        signature
            .parse_single(br#"{"data":""}"#, &mut scratch)
            .unwrap(),
        b""
    );
}

#[test]
fn the_short_way_refuses_just_what_the_long_one_does() {
    for ty in ["string", "list<u8>"] {
        let signature = signature(&format!("f: func(input: {ty});"));
        for value in [
            "null",
            "1",
            "-1",
            "1.5",
            "1e999",
            "true",
            "[]",
            "{}",
            "\"A\"",
            "\"é\"",
            "\"AA==",
            "",
            "\"\\ud800\"",
        ] {
            for json in [
                format!("{{\"input\":{value}}}"),
                format!("{{\"input\":{value},\"input\":\"\"}}"),
                format!("{{\"inptu\":{value}}}"),
                format!("{{\"input\":{value}}} x"),
                format!("[{value}]"),
                value.to_owned(),
            ] {
                let mut scratch = Vec::new();
                let short = signature.parse_single(json.as_bytes(), &mut scratch);
                let long = signature.parse_arguments(json.as_bytes());
                match (short, long) {
                    (Ok(short), Ok(long)) => assert_eq!(long, signature.parse_raw(short).unwrap()),
                    (short, long) => assert_eq!(short.err(), long.err(), "{json}"),
                }
            }
        }
        let mut scratch = Vec::new();
        let error = signature.parse_single(b"{}", &mut scratch).unwrap_err();
        assert_eq!(error.message, format!("missing argument, expected {ty}"));
    }
}

#[test]
fn plain_bytes_are_an_argument_of_their_own() {
    let text = signature("f: func(input: string);");
    assert_eq!(
        text.parse_raw("é".as_bytes()).unwrap(),
        [Val::String("é".to_owned())]
    );
    check(
        &text.parse_raw(b"a\xff").unwrap_err(),
        "arguments.input",
        "string",
        "invalid UTF-8 at byte 1",
    );
    let bytes = signature("f: func(data: list<u8>);");
    assert_eq!(
        bytes.parse_raw(&[0, 255]).unwrap(),
        [Val::List(vec![Val::U8(0), Val::U8(255)])]
    );
    for declaration in [
        "f: func();",
        "f: func(a: string, b: string);",
        "f: func(a: u8);",
    ] {
        let signature = signature(declaration);
        assert_eq!(signature.single_param(), None);
        assert!(signature.parse_raw(b"x").is_err());
        assert!(signature.parse_single(b"{}", &mut Vec::new()).is_err());
    }
}
