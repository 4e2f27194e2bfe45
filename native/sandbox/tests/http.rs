//! Requests to a `wasi:http` handler: short answers inline, bodies streamed both ways.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use atoll_sandbox::abi::*;
use common::{Ask, Event, Loaded, Reply, Rig, Started, guests, handle, http_guest};
use serde_json::{Value, json};

fn ask(flags: u16) -> Ask {
    Ask {
        kind: ATOLL_KIND_HTTP,
        flags,
        ..Ask::default()
    }
}

fn load(rig: &Rig, limits: Value) -> Loaded {
    rig.load(&http_guest::component(), limits)
}

fn get<'a>(rig: &'a Rig, guest: &Loaded, path: &str) -> Started<'a> {
    get_as(rig, guest, path, &ask(ATOLL_FLAG_END))
}

fn get_as<'a>(rig: &'a Rig, guest: &Loaded, path: &str, ask: &Ask) -> Started<'a> {
    let head = format!("GET http://localhost{path}\naccept:*/*\n\n");
    rig.start(handle(guest.http()), head.as_bytes(), ask)
}

fn split(bytes: &[u8]) -> (String, Vec<u8>) {
    let end = bytes.windows(2).position(|w| w == b"\n\n").expect("a head");
    (
        String::from_utf8(bytes[..end].to_vec()).unwrap(),
        bytes[end + 2..].to_vec(),
    )
}

/// Reads a streamed answer to its end.
fn collect(call: &Started<'_>) -> (String, Vec<u8>, Vec<Event>, Reply) {
    let mut head = None;
    let mut body = Vec::new();
    let mut events = Vec::new();
    while let Some(event) = call.event() {
        if event.kind == u32::from(ATOLL_KIND_HEAD) {
            assert!(head.is_none() && body.is_empty());
            head = Some(String::from_utf8(event.bytes.clone()).unwrap());
        } else if event.kind == u32::from(ATOLL_KIND_BODY) {
            body.extend_from_slice(&event.bytes);
        }
        events.push(event);
    }
    (head.unwrap_or_default(), body, events, call.wait())
}

#[test]
fn a_short_answer_is_one_reply_inline() {
    let rig = Rig::new();
    let guest = load(&rig, json!({}));
    assert!(guest.json["functions"].as_array().unwrap().is_empty());
    let call = get(&rig, &guest, "/h");
    assert_eq!(call.status, ATOLL_OK);
    let reply = call.wait();
    assert_eq!(
        (reply.status, reply.flags),
        (ATOLL_OK, u32::from(ATOLL_FLAG_END))
    );
    let (head, body) = split(&reply.bytes);
    assert_eq!(head, "200\ncontent-type:text/plain\nx-bytes:äöü");
    assert_eq!(body, b"hello");
}

#[test]
fn a_body_in_the_first_frame_is_echoed_inline() {
    let rig = Rig::new();
    let guest = load(&rig, json!({}));
    let request = b"POST http://localhost:80/e?x=1\ncontent-length:11\nx-y:\xc3\xa4\n\nhello world";
    let call = rig.start(handle(guest.http()), request, &ask(ATOLL_FLAG_END));
    assert_eq!(call.status, ATOLL_OK);
    assert_eq!(split(&call.wait().bytes).1, b"hello world");
}

#[test]
fn a_large_answer_is_streamed_with_backpressure() {
    let rig = Rig::new();
    let guest = load(&rig, json!({}));
    let call = get_as(
        &rig,
        &guest,
        "/s",
        &Ask {
            window: 4,
            ..ask(ATOLL_FLAG_END)
        },
    );
    assert_eq!(call.status, ATOLL_PENDING);
    let first: Vec<Event> = (0..4).map(|_| call.event().unwrap()).collect();
    assert_eq!(first[0].kind, u32::from(ATOLL_KIND_HEAD));
    std::thread::sleep(Duration::from_millis(50));
    assert!(
        call.events().is_empty(),
        "nothing is sent beyond the window"
    );
    assert!(!call.replied());
    let mut body: Vec<u8> = first.into_iter().skip(1).flat_map(|e| e.bytes).collect();
    call.credit(1);
    while let Some(event) = call.event() {
        body.extend_from_slice(&event.bytes);
        call.credit(1);
    }
    let reply = call.wait();
    assert_eq!((reply.status, reply.bytes.len()), (ATOLL_OK, 0));
    assert_eq!(body.len(), 1 << 20);
}

#[test]
fn a_request_body_arrives_in_chunks_and_is_credited() {
    let rig = Rig::new();
    let guest = load(&rig, json!({}));
    let call = rig.start(handle(guest.http()), b"POST http://h/e\n\nfirst,", &ask(0));
    assert_eq!(call.status, ATOLL_PENDING);
    assert_eq!(call.chunk(b"second,", false), ATOLL_OK);
    call.wait_credited(1);
    assert_eq!(call.chunk(b"", false), ATOLL_OK);
    assert_eq!(call.chunk(b"third", true), ATOLL_OK);
    let (head, body, events, reply) = collect(&call);
    assert_eq!(reply.status, ATOLL_OK);
    let body = if events.is_empty() {
        split(&reply.bytes).1
    } else {
        body
    };
    assert!(events.is_empty() || head.starts_with("200\n"));
    assert_eq!(String::from_utf8(body).unwrap(), "first,second,third");
    assert_eq!(call.chunk(b"late", true), ATOLL_CLOSED);
    drop(call);
    assert_eq!(common::chunks_out(), 0);
}

#[test]
fn a_guest_that_traps_in_the_body_cuts_it_with_an_error() {
    let rig = Rig::new();
    let guest = load(&rig, json!({}));
    let call = get(&rig, &guest, "/t");
    let (_, body, _, reply) = collect(&call);
    assert_eq!(reply.status, ATOLL_TRAP, "{}", reply.text());
    assert!(body.len() < 32 * 4096);
    let reply = get(&rig, &guest, "/n").wait();
    assert_eq!(reply.status, ATOLL_TRAP);
    assert!(reply.text().contains("without setting a response"));
}

#[test]
fn a17_a_guest_that_floods_its_fields_gets_an_error_and_the_host_lives() {
    let rig = Rig::new();
    let guest = load(&rig, json!({ "fieldBytes": 20_000 }));
    let reply = get(&rig, &guest, "/f").wait();
    // Whether the guest handles the error or not, what leaves is bounded.
    assert!(
        matches!(reply.status, ATOLL_OK | ATOLL_LIMIT | ATOLL_TRAP),
        "{}",
        reply.text()
    );
    assert!(reply.bytes.len() < 30_000);
    let reply = get(&rig, &guest, "/h").wait();
    assert_eq!(reply.status, ATOLL_OK);
    // Incoming ones are bounded alike.
    let mut head = b"GET http://h/h\n".to_vec();
    for n in 0..2_000 {
        head.extend_from_slice(format!("x-{n}:value\n").as_bytes());
    }
    head.push(b'\n');
    let reply = rig
        .start(handle(guest.http()), &head, &ask(ATOLL_FLAG_END))
        .wait();
    assert_eq!(reply.status, ATOLL_LIMIT);
    assert_eq!(reply.json()["key"], "limits.fieldBytes");
}

#[test]
fn a18_a_handler_that_spins_ends_at_its_limit() {
    let rig = Rig::new();
    let guest = load(&rig, json!({ "cpuMs": 30 }));
    let call = get(&rig, &guest, "/l");
    assert_eq!(call.status, ATOLL_PENDING);
    let reply = call.wait();
    assert_eq!(
        (reply.status, reply.json()["limit"].as_str()),
        (ATOLL_LIMIT, Some("cpu"))
    );
    // In the middle of an answer: the client got a part and then the error.
    let call = get(&rig, &guest, "/b");
    let (head, body, _, reply) = collect(&call);
    assert!(head.starts_with("200\n"));
    assert!(!body.is_empty());
    assert_eq!(reply.status, ATOLL_LIMIT);
}

#[test]
fn a_request_can_be_cancelled_while_its_body_is_awaited() {
    let rig = Rig::new();
    let guest = load(&rig, json!({}));
    let call = rig.start(handle(guest.http()), b"POST http://h/e\n\n", &ask(0));
    assert_eq!(call.chunk(b"some", false), ATOLL_OK);
    call.wait_credited(1);
    call.cancel();
    assert_eq!(call.wait().status, ATOLL_CANCELLED);
    // And while nobody takes the answer.
    let call = get_as(
        &rig,
        &guest,
        "/s",
        &Ask {
            window: 2,
            ..ask(ATOLL_FLAG_END)
        },
    );
    assert!(call.event().is_some());
    call.cancel();
    assert_eq!(call.wait().status, ATOLL_CANCELLED);
    drop(call);
    assert_eq!(rig.stats()["pool"]["componentInstances"], 0);
}

#[test]
fn broken_heads_are_refused() {
    let rig = Rig::new();
    let guest = load(&rig, json!({}));
    for head in [
        &b""[..],
        b"GET http://h/h",
        b"GET\n\n",
        b"GET /relative\n\n",
        b"G E T http://h/\n\n",
        b"GET http://h/h\nno colon\n\n",
        b"GET http://h/h\nbad name:x\n\n",
        b"GET http://h/h\nx:\xe2\x82\xac\n\n",
        b"GET http://h/h\nx:\xff\n\n",
    ] {
        let reply = rig
            .start(handle(guest.http()), head, &ask(ATOLL_FLAG_END))
            .wait();
        assert_eq!(
            reply.status,
            ATOLL_INVALID_ARGUMENT,
            "{}",
            String::from_utf8_lossy(head)
        );
    }
}

#[test]
fn kinds_that_do_not_fit_an_export_are_refused() {
    let rig = Rig::new();
    let guest = load(&rig, json!({}));
    assert_eq!(rig.call(guest.http(), b"{}").status, ATOLL_UNSUPPORTED);
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let reply = rig.call_as(
        echo.target("sum"),
        b"GET http://h/\n\n",
        &ask(ATOLL_FLAG_END),
    );
    assert_eq!(reply.status, ATOLL_UNSUPPORTED);
}
