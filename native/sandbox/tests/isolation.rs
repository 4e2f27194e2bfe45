//! Instances that outlive their call: whose they are, how often one is used, every way they end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::{Duration, Instant};

use atoll_sandbox::abi::*;
use common::{Ask, Loaded, Reply, Rig, guests, handle};
use serde_json::{Value, json};

const FOREVER: &[u8] = br#"{"ns":"18446744073709551615"}"#;
/// Longer than any test takes.
const LONG_MS: u64 = 600_000;

fn load(rig: &Rig, limits: Value, isolation: &Value) -> Loaded {
    let bytes = wat::parse_str(guests::stateful("")).unwrap();
    let reply = try_load(rig, &bytes, limits, isolation);
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    Loaded { json: reply.json() }
}

fn try_load(rig: &Rig, bytes: &[u8], limits: Value, isolation: &Value) -> Reply {
    let blob = Rig::blob(bytes);
    let request = json!({
        "op": "load", "id": "test", "blob": blob, "limits": limits, "isolation": isolation,
    });
    rig.control(&request)
}

fn reuse(calls: u32) -> Value {
    json!({ "mode": "reuse", "calls": calls, "idleMs": LONG_MS })
}

fn actor() -> Value {
    json!({ "mode": "actor", "idleMs": null })
}

/// The component as calls of a key see it.
fn isolate(rig: &Rig, component: &Loaded, key: &str) -> Loaded {
    let reply = try_isolate(rig, component, key);
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    let mut json = reply.json();
    let functions = component.json["functions"].as_array().unwrap();
    for (at, function) in functions.iter().enumerate() {
        json["functions"][at]["name"] = function["name"].clone();
    }
    Loaded { json }
}

fn try_isolate(rig: &Rig, component: &Loaded, key: &str) -> Reply {
    rig.control(&json!({ "op": "isolate", "component": component.number(), "key": key }))
}

fn next(rig: &Rig, of: &Loaded) -> String {
    let reply = rig.call(of.target("next"), b"");
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    reply.text()
}

fn resting(rig: &Rig) -> u64 {
    rig.stats()["instancesResting"].as_u64().unwrap()
}

fn alive(rig: &Rig) -> u64 {
    rig.stats()["pool"]["componentInstances"].as_u64().unwrap()
}

#[test]
fn an_instance_serves_so_many_calls_and_then_a_fresh_one_does() {
    let rig = Rig::new();
    let component = load(&rig, json!({}), &reuse(3));
    for _ in 0..4 {
        for number in ["1", "2", "3"] {
            assert_eq!(next(&rig, &component), number);
        }
        assert_eq!((resting(&rig), alive(&rig)), (0, 0));
    }
}

#[test]
fn two_keys_never_share_an_instance() {
    let rig = Rig::new();
    for isolation in [reuse(100), actor()] {
        let component = load(&rig, json!({}), &isolation);
        let keys = ["one", "two", "one "].map(|key| isolate(&rig, &component, key));
        for number in 1..=5 {
            assert_eq!(next(&rig, &component), number.to_string());
            for key in &keys {
                assert_eq!(next(&rig, key), number.to_string());
            }
        }
        let again = isolate(&rig, &component, "one");
        assert_eq!(again.json["functions"], keys[0].json["functions"]);
        let unload = json!({ "op": "unload", "component": component.number() });
        assert_eq!(rig.control(&unload).status, ATOLL_OK);
        assert_eq!(handle(keys[0].target("next")), u32::MAX, "its targets go");
        assert_eq!((resting(&rig), alive(&rig)), (0, 0));
    }
}

#[test]
fn calls_at_once_have_an_instance_each() {
    let rig = Rig::new();
    let component = load(&rig, json!({}), &reuse(100));
    let wait = handle(component.target("wait"));
    let parked = rig.start(wait, FOREVER, &Ask::default());
    assert_eq!(next(&rig, &component), "1");
    assert_eq!(next(&rig, &component), "2");
    parked.cancel();
    assert_eq!(parked.wait().status, ATOLL_CANCELLED);
    assert_eq!((resting(&rig), alive(&rig)), (1, 1));
}

#[test]
fn an_instance_whose_call_did_not_end_well_is_never_used_again() {
    let rig = Rig::new();
    let limits = json!({ "cpuMs": 20, "memoryBytes": 4 << 20, "outputBytes": 1000 });
    for isolation in [reuse(100), actor()] {
        let component = load(&rig, limits.clone(), &isolation);
        for (function, payload, status) in [
            ("trap", &b""[..], ATOLL_TRAP),
            ("spin", b"", ATOLL_LIMIT),
            ("grow", br#"{"pages":1000}"#, ATOLL_LIMIT),
            ("repeat", br#"{"n":2000}"#, ATOLL_LIMIT),
        ] {
            assert_eq!(
                (next(&rig, &component), next(&rig, &component)),
                pair("1", "2")
            );
            let reply = rig.call(component.target(function), payload);
            assert_eq!(reply.status, status, "{function}: {}", reply.text());
            assert_eq!(alive(&rig), 0, "{function}");
        }
        assert_eq!(next(&rig, &component), "1");
        let ask = Ask {
            budget: Duration::from_millis(20),
            ..Ask::default()
        };
        let reply = rig.call_as(component.target("wait"), FOREVER, &ask);
        assert_eq!(reply.status, ATOLL_DEADLINE);
        assert_eq!(alive(&rig), 0);
        let unload = json!({ "op": "unload", "component": component.number() });
        assert_eq!(rig.control(&unload).status, ATOLL_OK);
    }
}

fn pair(one: &str, two: &str) -> (String, String) {
    (one.to_owned(), two.to_owned())
}

#[test]
fn arguments_that_do_not_fit_cost_no_instance() {
    let rig = Rig::new();
    let component = load(&rig, json!({}), &reuse(3));
    assert_eq!(next(&rig, &component), "1");
    for _ in 0..5 {
        let reply = rig.call(component.target("grow"), br#"{"pages":"x"}"#);
        assert_eq!(reply.status, ATOLL_INVALID_ARGUMENT);
    }
    assert_eq!(next(&rig, &component), "2");
}

#[test]
fn memory_is_summed_over_the_calls_and_output_is_not() {
    let rig = Rig::new();
    // Two pages at the start, eight more.
    let limits = json!({ "memoryBytes": 10 * 65536, "outputBytes": 1000 });
    let component = load(&rig, limits, &reuse(100));
    for pages in 2..10 {
        let reply = rig.call(component.target("grow"), br#"{"pages":1}"#);
        assert_eq!((reply.status, reply.text()), (ATOLL_OK, pages.to_string()));
        let reply = rig.call(component.target("repeat"), br#"{"n":900}"#);
        assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    }
    let reply = rig.call(component.target("grow"), br#"{"pages":1}"#);
    assert_eq!(reply.json()["limit"], "memory");
    assert_eq!(next(&rig, &component), "1");
}

#[test]
fn an_instance_ends_when_it_has_rested_long_enough() {
    let rig = Rig::new();
    for isolation in [
        json!({ "mode": "reuse", "calls": 100, "idleMs": 30 }),
        json!({ "mode": "actor", "idleMs": 30 }),
    ] {
        let component = load(&rig, json!({}), &isolation);
        for _ in 0..3 {
            assert_eq!(next(&rig, &component), "1");
            // Nobody calls: the engine ends it by itself.
            while alive(&rig) > 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

#[test]
fn what_rests_gives_way_when_the_pool_is_full_and_what_has_rested_longest_first() {
    let rig = Rig::with(&json!({ "instances": 4, "workerThreads": 2 }));
    let component = load(&rig, json!({}), &reuse(100));
    let keys: Vec<Loaded> = (0..4)
        .map(|key| isolate(&rig, &component, &key.to_string()))
        .collect();
    for key in &keys {
        assert_eq!(next(&rig, key), "1");
    }
    assert_eq!((resting(&rig), alive(&rig)), (4, 4));
    // The first is used again, so the second goes.
    assert_eq!(next(&rig, &keys[0]), "2");
    let other = rig.load_wat(&guests::stateful(""), json!({}));
    assert_eq!(next(&rig, &other), "1");
    assert_eq!((resting(&rig), alive(&rig)), (3, 3));
    assert_eq!(next(&rig, &keys[0]), "3");
    assert_eq!(next(&rig, &keys[2]), "2");
    assert_eq!(next(&rig, &keys[1]), "1");
    let kept = rig.instantiate(&other);
    assert_eq!(next(&rig, &kept), "1");
    assert_eq!((resting(&rig), alive(&rig)), (3, 4));
}

#[test]
fn a_plugin_has_no_more_instances_than_calls_at_once() {
    let rig = Rig::new();
    let limits = json!({ "concurrency": 2 });
    let component = load(&rig, limits.clone(), &reuse(100));
    let keys = ["a", "b", "c"].map(|key| isolate(&rig, &component, key));
    for key in &keys {
        assert_eq!(next(&rig, key), "1");
    }
    assert_eq!((resting(&rig), alive(&rig)), (2, 2));
    assert_eq!((next(&rig, &keys[1]), next(&rig, &keys[0])), pair("2", "1"));

    let actors = load(&rig, limits, &actor());
    let keys = ["a", "b", "c"].map(|key| isolate(&rig, &actors, key));
    assert_eq!((next(&rig, &keys[0]), next(&rig, &keys[1])), pair("1", "1"));
    let reply = rig.call(keys[2].target("next"), b"");
    assert_eq!(reply.status, ATOLL_OVERLOADED, "{}", reply.text());
    assert!(
        reply.text().contains("limits.concurrency"),
        "{}",
        reply.text()
    );
    assert_eq!(rig.call(keys[0].target("trap"), b"").status, ATOLL_TRAP);
    assert_eq!((next(&rig, &keys[2]), next(&rig, &keys[1])), pair("1", "2"));
}

#[test]
fn an_actor_keeps_its_state_and_has_a_mailbox_of_its_own() {
    let rig = Rig::new();
    let component = load(&rig, json!({ "queue": 7, "concurrency": 9 }), &actor());
    let key = isolate(&rig, &component, "key");
    for of in [&component, &key] {
        for number in 1..=200 {
            assert_eq!(next(&rig, of), number.to_string());
        }
        let group = common::group_limits(of.target("next"));
        assert_eq!((group.concurrency_max, group.queue_max), (1, 7));
    }
    let request = json!({
        "op": "limits", "component": component.number(), "limits": { "queue": 3 },
    });
    assert_eq!(rig.control(&request).status, ATOLL_OK);
    let group = common::group_limits(key.target("next"));
    assert_eq!((group.concurrency_max, group.queue_max), (1, 3));
}

#[test]
fn a_second_call_of_an_actor_at_once_is_refused_and_harms_nothing() {
    // The core never starts one; the engine does not rely on it.
    let rig = Rig::new();
    let component = load(&rig, json!({}), &actor());
    let wait = handle(component.target("wait"));
    let parked = rig.start(wait, br#"{"ns":30000000}"#, &Ask::default());
    let reply = rig.call(component.target("next"), b"");
    assert_eq!(reply.status, ATOLL_OVERLOADED);
    assert_eq!(parked.wait().status, ATOLL_OK);
    assert_eq!(next(&rig, &component), "2");
}

#[test]
fn cancelling_a_call_of_an_actor_drops_its_reply_and_nothing_else() {
    let rig = Rig::new();
    let component = load(&rig, json!({}), &actor());
    assert_eq!(next(&rig, &component), "1");
    let wait = handle(component.target("wait"));
    let begun = Instant::now();
    let call = rig.start(wait, br#"{"ns":50000000}"#, &Ask::default());
    call.cancel();
    let reply = call.wait();
    assert_eq!(reply.status, ATOLL_CANCELLED, "{}", reply.text());
    assert!(
        begun.elapsed() >= Duration::from_millis(50),
        "the guest came to its end"
    );
    assert_eq!(next(&rig, &component), "3");
}

#[test]
fn a_cancelled_call_of_an_actor_that_does_not_end_ends_the_actor() {
    let rig = Rig::new();
    let component = load(&rig, json!({}), &actor());
    assert_eq!(next(&rig, &component), "1");
    let wait = handle(component.target("wait"));
    let call = rig.start(wait, FOREVER, &Ask::default());
    call.cancel();
    assert_eq!(call.wait().status, ATOLL_CANCELLED);
    let call = rig.start(handle(component.target("next")), b"", &Ask::default());
    assert_eq!(call.wait().text(), "1");
    let line = String::from_utf8(call.events()[0].bytes.clone()).unwrap();
    assert!(
        line.ends_with("its state is lost: the call was cancelled"),
        "{line}"
    );
}

#[test]
fn an_actor_that_begins_anew_says_so_once_and_why() {
    let rig = Rig::new();
    let component = load(&rig, json!({}), &actor());
    let call = |name: &str| {
        let call = rig.start(handle(component.target(name)), b"", &Ask::default());
        (call.wait().status, call.events())
    };
    assert!(call("next").1.is_empty(), "the first one is no news");
    assert_eq!(call("trap").0, ATOLL_TRAP);
    let (status, events) = call("next");
    assert_eq!((status, events.len()), (ATOLL_OK, 1));
    assert_eq!(
        (events[0].kind, events[0].flags),
        (u32::from(ATOLL_KIND_LOG), u32::from(ATOLL_FLAG_STDERR))
    );
    let line = String::from_utf8(events[0].bytes.clone()).unwrap();
    assert!(
        line.starts_with("atoll: the actor begins anew, its state is lost: the guest trapped"),
        "{line}"
    );
    assert!(call("next").1.is_empty());
}

#[test]
fn a_start_that_fails_leaves_nothing_and_is_tried_again() {
    let rig = Rig::new();
    for isolation in [reuse(2), actor()] {
        let bytes = wat::parse_str(guests::stateful("unreachable")).unwrap();
        let reply = try_load(&rig, &bytes, json!({}), &isolation);
        let component = Loaded { json: reply.json() };
        for _ in 0..50 {
            assert_eq!(rig.call(component.target("next"), b"").status, ATOLL_TRAP);
        }
        assert_eq!((resting(&rig), alive(&rig)), (0, 0));
    }
}

#[test]
fn keys_come_and_go_and_those_that_keep_something_stay() {
    let rig = Rig::new();
    let component = load(&rig, json!({}), &reuse(2));
    let first = isolate(&rig, &component, "first");
    assert_eq!(next(&rig, &first), "1");
    for key in 0..2_500 {
        isolate(&rig, &component, &key.to_string());
    }
    assert_eq!(next(&rig, &first), "2");
    for key in ["", &"k".repeat(1025)] {
        assert_eq!(
            try_isolate(&rig, &component, key).status,
            ATOLL_INVALID_ARGUMENT
        );
    }
    let plain = rig.load_wat(&guests::stateful(""), json!({}));
    assert_eq!(try_isolate(&rig, &plain, "key").status, ATOLL_UNSUPPORTED);
}

#[test]
fn a_load_names_what_is_wrong_with_its_isolation() {
    let rig = Rig::new();
    let bytes = wat::parse_str(guests::stateful("")).unwrap();
    for isolation in [
        json!({ "mode": "reuse", "calls": 0, "idleMs": 1 }),
        json!({ "mode": "reuse", "calls": 1 }),
        json!({ "mode": "other" }),
        json!({ "mode": "actor", "calls": 1, "idleMs": null }),
    ] {
        let reply = try_load(&rig, &bytes, json!({}), &isolation);
        assert_eq!(
            reply.status,
            ATOLL_INVALID_ARGUMENT,
            "{isolation}: {}",
            reply.text()
        );
    }
}

#[test]
fn closing_ends_what_rests_and_what_runs() {
    let rig = Rig::new();
    let component = load(&rig, json!({}), &actor());
    let other = load(&rig, json!({}), &reuse(9));
    assert_eq!((next(&rig, &component), next(&rig, &other)), pair("1", "1"));
    let call = rig.start(handle(component.target("wait")), FOREVER, &Ask::default());
    let call = call.detach();
    rig.close();
    assert_eq!(call.reply().unwrap().status, ATOLL_CANCELLED);
}
