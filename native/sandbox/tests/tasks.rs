//! Components of WASI 0.3: asynchronous functions, what they leave behind, and what they may hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::{Duration, Instant};

use atoll_sandbox::abi::*;
use common::{Ask, Loaded, Reply, Rig, assert_limit};
use serde_json::{Value, json};

const GUEST: &str = include_str!("common/tasks_guest.wat");

fn call(rig: &Rig, guest: &Loaded, name: &str) -> Reply {
    rig.call(guest.target(name), b"{}")
}

fn loaded(rig: &Rig, isolation: Value) -> Loaded {
    let blob = Rig::blob(&wat::parse_str(GUEST).unwrap());
    let request = json!({ "op": "load", "id": "tasks", "blob": blob, "isolation": isolation });
    let reply = rig.control(&request);
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    Loaded { json: reply.json() }
}

#[test]
fn an_asynchronous_function_that_does_not_wait_ends_inline() {
    let rig = Rig::new();
    let guest = rig.load_wat(GUEST, json!({}));
    let text = guest.target("text");
    let started = rig.start(common::handle(text), br#"{"s":"h\u00e4"}"#, &Ask::default());
    assert_eq!(started.status, ATOLL_OK);
    let reply = started.wait();
    assert_eq!((reply.status, reply.json()), (ATOLL_OK, json!("hä")));
    let reply = call(&rig, &guest, "count");
    assert_eq!((reply.status, reply.json()), (ATOLL_OK, json!(1)));
}

#[test]
fn one_that_waits_goes_on_on_the_workers_and_can_be_cancelled() {
    let rig = Rig::new();
    let guest = rig.load_wat(GUEST, json!({ "wallMs": 100 }));
    let sleep = common::handle(guest.target("sleep"));
    let started = rig.start(sleep, br#"{"nanoseconds":5000000}"#, &Ask::default());
    assert_eq!(started.status, ATOLL_PENDING);
    let reply = started.wait();
    assert_eq!((reply.status, reply.json()), (ATOLL_OK, json!(7)));

    let hour = br#"{"nanoseconds":3600000000000}"#;
    let started = rig.start(sleep, hour, &Ask::default());
    started.cancel();
    assert_eq!(started.wait().status, ATOLL_CANCELLED);
    assert_limit(
        &rig.call(guest.target("sleep"), hour),
        "wall",
        100,
        "limits.wallMs",
    );
}

#[test]
fn tasks_are_interrupted_like_other_guests() {
    let rig = Rig::new();
    let guest = rig.load_wat(GUEST, json!({ "cpuMs": 20 }));
    for name in ["spin", "yields"] {
        let begin = Instant::now();
        assert_limit(&call(&rig, &guest, name), "cpu", 20, "limits.cpuMs");
        assert!(begin.elapsed() < Duration::from_secs(5), "{name}");
    }
    let reply = call(&rig, &guest, "stuck");
    assert_eq!(reply.status, ATOLL_TRAP, "{}", reply.text());
    assert!(reply.text().contains("deadlock"), "{}", reply.text());
}

#[test]
fn what_a_guest_holds_is_limited() {
    let rig = Rig::new();
    let guest = rig.load_wat(GUEST, json!({ "resources": 50 }));
    for name in ["tasks", "futures", "sets"] {
        assert_limit(
            &call(&rig, &guest, name),
            "resources",
            50,
            "limits.resources",
        );
    }
}

#[test]
fn a_result_over_the_limit_is_named_as_one() {
    let rig = Rig::new();
    let guest = rig.load_wat(GUEST, json!({ "outputBytes": 10 }));
    let reply = rig.call(guest.target("text"), br#"{"s":"longer than ten"}"#);
    assert_limit(&reply, "output", 10, "limits.outputBytes");
}

#[test]
fn standard_error_goes_to_the_log_under_its_limit() {
    let rig = Rig::new();
    let guest = rig.load_wat(GUEST, json!({ "logBytes": 100 }));
    let log = common::handle(guest.target("log"));
    let started = rig.start(log, br#"{"bytes":40}"#, &Ask::default());
    assert_eq!(started.wait().status, ATOLL_OK);
    let events = started.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, u32::from(ATOLL_KIND_LOG));
    assert_eq!(events[0].flags, u32::from(ATOLL_FLAG_STDERR));
    assert_eq!(events[0].bytes, [b'x'; 40]);
    let reply = rig.call(guest.target("log"), br#"{"bytes":101}"#);
    assert_limit(&reply, "log", 100, "limits.logBytes");
}

#[test]
fn a_stream_is_no_value_of_a_tool() {
    let rig = Rig::new();
    let guest = rig.load_wat(GUEST, json!({}));
    let reply = call(&rig, &guest, "stream");
    assert_eq!(reply.status, ATOLL_UNSUPPORTED);
    assert!(reply.text().contains("holds a stream"), "{}", reply.text());
}

#[test]
fn an_instance_whose_call_left_a_task_behind_is_not_used_again() {
    let rig = Rig::new();
    let guest = loaded(
        &rig,
        json!({ "mode": "reuse", "calls": 100, "idleMs": 60_000 }),
    );
    for count in [1, 2, 3] {
        assert_eq!(call(&rig, &guest, "count").json(), json!(count));
    }
    assert_eq!(call(&rig, &guest, "linger").json(), json!(4));
    assert_eq!(call(&rig, &guest, "count").json(), json!(1));

    let actor = loaded(&rig, json!({ "mode": "actor" }));
    assert_eq!(call(&rig, &actor, "linger").json(), json!(1));
    let started = rig.start(
        common::handle(actor.target("count")),
        b"{}",
        &Ask::default(),
    );
    assert_eq!(started.wait().json(), json!(1));
    let events = started.events();
    let told = String::from_utf8_lossy(&events[0].bytes).into_owned();
    assert!(told.contains("left tasks"), "{told}");
}

#[test]
fn what_needs_no_tasks_stays_on_the_first_engine() {
    let rig = Rig::new();
    let echo = rig.load_wat(&common::guests::echo(), json!({}));
    assert!(rig.stats().get("poolWasi3").is_none());
    let guest = rig.load_wat(GUEST, json!({}));
    assert!(rig.stats()["poolWasi3"].is_object());
    common::works(&rig, &echo);
    assert_eq!(call(&rig, &guest, "count").status, ATOLL_OK);
}

#[test]
fn versions_that_are_not_offered_are_refused_by_name() {
    let rig = Rig::new();
    let newer = GUEST.replace(
        "monotonic-clock@0.3.0",
        "monotonic-clock@0.3.0-rc-2026-02-09",
    );
    let reply = rig.try_load(&wat::parse_str(newer).unwrap(), json!({}));
    assert_eq!(reply.status, ATOLL_COMPONENT);
    let text = reply.text();
    assert!(
        text.contains("monotonic-clock@0.3.0-rc-2026-02-09"),
        "{text}"
    );
    assert!(text.contains("versions 0.2 and 0.3.0"), "{text}");
}
