//! Calls that go well, inline and on the workers, in both encodings.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use atoll_sandbox::abi::*;
use common::{Ask, Rig, guests};
use serde_json::json;

#[test]
fn a_call_ends_inline_and_replies_once() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let started = rig.start(
        common::handle(echo.target("sum")),
        br#"{"a":40,"b":2}"#,
        &Ask::default(),
    );
    assert_eq!(started.status, ATOLL_OK);
    let reply = started.wait();
    assert_eq!((reply.status, reply.text().as_str()), (ATOLL_OK, "42"));
    assert_eq!(reply.flags, u32::from(ATOLL_FLAG_JSON));
}

#[test]
fn strings_and_bytes_take_the_typed_path_in_both_encodings() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let raw = Ask {
        flags: 0,
        ..Ask::default()
    };

    let reply = rig.call(echo.target("text"), r#"{"s":"a\"b\nä€😀"}"#.as_bytes());
    assert_eq!(
        (reply.status, reply.json()),
        (ATOLL_OK, json!("a\"b\nä€😀"))
    );
    let reply = rig.call_as(echo.target("text"), "häß".as_bytes(), &raw);
    assert_eq!(
        (reply.status, reply.flags, reply.text().as_str()),
        (ATOLL_OK, 0, "häß")
    );

    let reply = rig.call(echo.target("echo"), br#"{"data":"AAECAwQ="}"#);
    assert_eq!((reply.status, reply.json()), (ATOLL_OK, json!("AAECAwQ=")));
    let bytes: Vec<u8> = (0..=255).collect();
    let reply = rig.call_as(echo.target("echo"), &bytes, &raw);
    assert_eq!(
        (reply.status, reply.flags, reply.bytes),
        (ATOLL_OK, 0, bytes)
    );

    let reply = rig.call_as(echo.target("text"), b"a\xff\xfe", &raw);
    assert_eq!(reply.status, ATOLL_INVALID_ARGUMENT);
    assert_eq!(reply.json()["path"], "arguments.s");
    assert_eq!(reply.json()["message"], "invalid UTF-8 at byte 1");
}

#[test]
fn the_error_side_of_a_result_is_a_tool_error() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let reply = rig.call(echo.target("fallible"), br#"{"s":"x"}"#);
    assert_eq!((reply.status, reply.json()), (ATOLL_OK, json!("x")));
    let reply = rig.call(echo.target("fallible"), br#"{"s":""}"#);
    assert_eq!(
        (reply.status, reply.json()),
        (ATOLL_TOOL_ERROR, json!("empty"))
    );
    let raw = Ask {
        flags: 0,
        ..Ask::default()
    };
    let reply = rig.call_as(echo.target("fallible"), b"", &raw);
    assert_eq!(
        (reply.status, reply.json()),
        (ATOLL_TOOL_ERROR, json!("empty"))
    );
    assert_eq!(reply.flags, u32::from(ATOLL_FLAG_JSON));
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_their_path() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let reply = rig.call(echo.target("sum"), br#"{"a":1,"b":"two"}"#);
    assert_eq!(reply.status, ATOLL_INVALID_ARGUMENT);
    assert_eq!(reply.json()["path"], "arguments.b");
    assert_eq!(reply.json()["expected"], "u32");
    for broken in [
        &b"{\"a\":1}"[..],
        b"[1,2]",
        b"{\"a\":1,\"b\":2,\"c\":3}",
        b"{",
        b"\xff",
    ] {
        assert_eq!(
            rig.call(echo.target("sum"), broken).status,
            ATOLL_INVALID_ARGUMENT
        );
    }
    let raw = Ask {
        flags: 0,
        ..Ask::default()
    };
    assert_eq!(
        rig.call_as(echo.target("sum"), b"12", &raw).status,
        ATOLL_INVALID_ARGUMENT
    );
    let packed = Ask {
        flags: ATOLL_FLAG_MSGPACK,
        ..Ask::default()
    };
    assert_eq!(
        rig.call_as(echo.target("sum"), b"12", &packed).status,
        ATOLL_INVALID_ARGUMENT
    );
}

#[test]
fn every_call_has_an_instance_of_its_own() {
    let rig = Rig::new();
    let counter = rig.load_wat(
        r#"(component
  (core module $m
    (global $n (mut i32) (i32.const 0))
    (func (export "next") (result i32)
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (global.get $n)))
  (core instance $i (instantiate $m))
  (func (export "next") (result u32) (canon lift (core func $i "next"))))"#,
        json!({}),
    );
    for _ in 0..3 {
        assert_eq!(rig.call(counter.target("next"), b"").text(), "1");
    }
}

#[test]
fn what_may_not_run_inline_runs_on_the_workers() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({ "memoryBytes": 8 << 20 }));
    let target = common::handle(echo.target("echo"));
    let raw = Ask {
        flags: 0,
        ..Ask::default()
    };
    let big = vec![7; 70_000];
    for (ask, payload) in [
        (
            Ask {
                inline: false,
                ..raw.clone()
            },
            &big[..10],
        ),
        (
            Ask {
                flags: ATOLL_FLAG_DETACHED,
                ..raw.clone()
            },
            &big[..10],
        ),
        (raw.clone(), &big[..]),
    ] {
        let started = rig.start(target, payload, &ask);
        assert_eq!(started.status, ATOLL_PENDING);
        let reply = started.wait();
        assert_eq!((reply.status, &reply.bytes[..]), (ATOLL_OK, payload));
    }
    assert_eq!(rig.start(target, &big[..10], &raw).status, ATOLL_OK);
}

#[test]
fn a_call_that_waits_is_migrated_and_ends_on_the_workers() {
    let rig = Rig::new();
    let wait = rig.load_wat(&guests::wait(), json!({}));
    let target = common::handle(wait.target("wait"));
    let started = rig.start(target, br#"{"ns":30000000}"#, &Ask::default());
    assert_eq!(started.status, ATOLL_PENDING);
    let reply = started.wait();
    assert_eq!((reply.status, reply.text().as_str()), (ATOLL_OK, "null"));
    // A wait of nothing wakes itself at once: polled again while the flag is set.
    let started = rig.start(target, br#"{"ns":0}"#, &Ask::default());
    assert_eq!(
        (started.status, started.wait().status),
        (ATOLL_OK, ATOLL_OK)
    );
}

#[test]
fn a_plugin_that_overran_starts_on_the_workers_for_a_while() {
    let rig = Rig::new();
    let spin = rig.load_wat(&guests::spin(), json!({ "cpuMs": 20 }));
    let target = common::handle(spin.target("run"));
    let first = rig.start(target, b"", &Ask::default());
    assert_eq!(
        (first.status, first.wait().status),
        (ATOLL_PENDING, ATOLL_LIMIT)
    );
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let reply = rig.start(
        common::handle(echo.target("sum")),
        br#"{"a":1,"b":2}"#,
        &Ask::default(),
    );
    assert_eq!(reply.status, ATOLL_OK, "another plugin is not affected");
}

#[test]
fn a_payload_in_parts_is_put_together_before_it_is_read() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let parted = Ask {
        parts: 3,
        inline: false,
        ..Ask::default()
    };
    let reply = rig.call_as(echo.target("sum"), br#"{"a":40,"b":2}"#, &parted);
    assert_eq!((reply.status, reply.text().as_str()), (ATOLL_OK, "42"));
    let raw = Ask { flags: 0, ..parted };
    let bytes: Vec<u8> = (0..100_000).map(|i| i as u8).collect();
    let reply = rig.call_as(echo.target("echo"), &bytes, &raw);
    assert_eq!((reply.status, reply.bytes), (ATOLL_OK, bytes));
}

#[test]
fn arguments_may_be_messagepack() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let packed = Ask {
        flags: ATOLL_FLAG_MSGPACK,
        ..Ask::default()
    };
    // {"a": 40, "b": 2}
    let reply = rig.call_as(echo.target("sum"), b"\x82\xa1a\x28\xa1b\x02", &packed);
    assert_eq!((reply.status, reply.text().as_str()), (ATOLL_OK, "42"));
    assert_eq!(reply.flags, u32::from(ATOLL_FLAG_JSON));
    // {"data": bin [0, 1, 2, 3, 4]}
    let reply = rig.call_as(
        echo.target("echo"),
        b"\x81\xa4data\xc4\x05\x00\x01\x02\x03\x04",
        &packed,
    );
    assert_eq!((reply.status, reply.json()), (ATOLL_OK, json!("AAECAwQ=")));
    let reply = rig.call_as(echo.target("text"), b"\x81\xa1s\xa2h\xc3", &packed);
    assert_eq!(reply.status, ATOLL_INVALID_ARGUMENT, "{}", reply.text());
    let archived = Ask {
        flags: ATOLL_FLAG_RKYV,
        ..Ask::default()
    };
    let reply = rig.call_as(echo.target("sum"), b"", &archived);
    assert_eq!(reply.status, ATOLL_UNSUPPORTED);
}
