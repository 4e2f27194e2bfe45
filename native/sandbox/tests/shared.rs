//! Limits of a plugin that all its instances share, and a pool that the host cannot back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use atoll_sandbox::abi::*;
use common::{Ask, Loaded, Reply, Rig, assert_limit, group_limits, guests, handle};
use serde_json::{Value, json};

const FOREVER: &[u8] = br#"{"ns":"18446744073709551615"}"#;
/// What a fresh instance of the guest has, and how many it grows by.
const INSTANCE: u64 = 2 * PAGE;
const PAGE: u64 = 65_536;

fn load(rig: &Rig, limits: &Value, isolation: &Value) -> Loaded {
    let bytes = wat::parse_str(guests::stateful("")).unwrap();
    let blob = Rig::blob(&bytes);
    let request = json!({
        "op": "load", "id": "test", "blob": blob, "limits": limits, "isolation": isolation,
    });
    let reply = rig.control(&request);
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    Loaded { json: reply.json() }
}

fn isolate(rig: &Rig, component: &Loaded, key: &str) -> Loaded {
    let request = json!({ "op": "isolate", "component": component.number(), "key": key });
    let mut json = rig.control(&request).json();
    for (at, function) in component.json["functions"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        json["functions"][at]["name"] = function["name"].clone();
    }
    Loaded { json }
}

fn next(rig: &Rig, of: &Loaded) -> Reply {
    rig.call(of.target("next"), b"")
}

fn assert_next(rig: &Rig, of: &Loaded, expected: &str) {
    let reply = next(rig, of);
    assert_eq!((reply.status, reply.text().as_str()), (ATOLL_OK, expected));
}

fn assert_full(reply: &Reply, most: u64) {
    assert_limit(reply, "pluginMemory", most, "limits.pluginMemoryBytes");
}

fn reuse() -> Value {
    json!({ "mode": "reuse", "calls": 1000, "idleMs": 600_000 })
}

fn alive(rig: &Rig) -> u64 {
    rig.stats()["pool"]["componentInstances"].as_u64().unwrap()
}

#[test]
fn instances_at_rest_give_way_to_one_that_begins_or_grows() {
    let rig = Rig::new();
    let most = 2 * INSTANCE;
    let limits = json!({ "pluginMemoryBytes": most });
    let component = load(&rig, &limits, &reuse());
    let keys = ["a", "b", "c"].map(|key| isolate(&rig, &component, key));
    assert_next(&rig, &keys[0], "1");
    assert_next(&rig, &keys[1], "1");
    assert_next(&rig, &keys[0], "2");
    // The one of `b` has rested longest.
    assert_next(&rig, &keys[2], "1");
    assert_next(&rig, &keys[0], "3");
    assert_eq!(alive(&rig), 2);
    assert_next(&rig, &keys[1], "1");
    // It grows into what the others had, and no further.
    let grow = keys[1].target("grow");
    assert_eq!(rig.call(grow, br#"{"pages":2}"#).status, ATOLL_OK);
    assert_eq!(alive(&rig), 1);
    assert_full(&rig.call(grow, br#"{"pages":1}"#), most);
    assert_eq!(alive(&rig), 0);
    // Another plugin's instances have nothing to do with it.
    let other = load(&rig, &limits, &reuse());
    assert_next(&rig, &other, "1");
    for key in &keys[..2] {
        assert_next(&rig, key, "1");
    }
    assert_next(&rig, &other, "2");
}

#[test]
fn what_runs_or_keeps_state_does_not_give_way() {
    let rig = Rig::new();
    let limits = json!({ "pluginMemoryBytes": INSTANCE });
    let actors = load(&rig, &limits, &json!({ "mode": "actor", "idleMs": null }));
    let keys = ["a", "b"].map(|key| isolate(&rig, &actors, key));
    assert_next(&rig, &keys[0], "1");
    assert_full(&next(&rig, &keys[1]), INSTANCE);
    assert_next(&rig, &keys[0], "2");

    let fresh = load(&rig, &limits, &json!({ "mode": "call" }));
    let parked = rig.start(handle(fresh.target("wait")), FOREVER, &Ask::default());
    assert_full(&next(&rig, &fresh), INSTANCE);
    parked.cancel();
    assert_eq!(parked.wait().status, ATOLL_CANCELLED);
    assert_next(&rig, &fresh, "1");

    let kept = rig.instantiate(&fresh);
    assert_full(&next(&rig, &fresh), INSTANCE);
    assert_next(&rig, &kept, "1");
    let request = json!({ "op": "drop_instance", "instance": kept.json["instance"] });
    assert_eq!(rig.control(&request).status, ATOLL_OK);
    assert_next(&rig, &fresh, "1");

    // A limit that is raised holds from the next call on.
    let kept = rig.instantiate(&fresh);
    let request = json!({
        "op": "limits", "component": fresh.number(),
        "limits": { "pluginMemoryBytes": 2 * INSTANCE },
    });
    assert_eq!(rig.control(&request).status, ATOLL_OK);
    assert_next(&rig, &fresh, "1");
    assert_next(&rig, &kept, "1");
}

#[test]
fn a_guest_that_grows_without_end_meets_the_lower_of_the_two_limits() {
    let rig = Rig::new();
    for (own, plugin) in [(8 << 20, 4 << 20), (4 << 20, 8 << 20)] {
        let limits = json!({ "memoryBytes": own, "pluginMemoryBytes": plugin });
        let grow = rig.load_wat(&guests::grow(), limits);
        let reply = rig.call(grow.target("run"), b"");
        if plugin < own {
            assert_full(&reply, plugin);
        } else {
            assert_limit(&reply, "memory", own, "limits.memoryBytes");
        }
    }
}

#[test]
fn every_part_of_a_plugin_counts_with_the_plugins_own_group() {
    let rig = Rig::new();
    let limits = json!({ "requestsPerSecond": 7 });
    let component = load(&rig, &limits, &json!({ "mode": "actor", "idleMs": null }));
    let parts = [
        isolate(&rig, &component, "key"),
        rig.instantiate(&component),
    ];
    let rates = |of: &Loaded| {
        let group = group_limits(of.target("next"));
        (group.rate_max, group.rate_group)
    };
    let (_, whole) = rates(&parts[0]);
    assert_ne!(whole, 0);
    for part in &parts {
        assert_eq!(rates(part), (7, whole));
    }
    let request = json!({
        "op": "limits", "component": component.number(), "limits": { "requestsPerSecond": 9 },
    });
    assert_eq!(rig.control(&request).status, ATOLL_OK);
    for part in &parts {
        assert_eq!(rates(part), (9, whole));
    }
    // One whose calls have an instance each counts in the group that bounds them.
    let plain = load(&rig, &limits, &json!({ "mode": "call" }));
    assert_eq!(rates(&plain), (7, 0));
}

#[test]
fn a_pool_that_was_asked_for_and_does_not_fit_is_refused_by_its_name() {
    // 4 GiB each: more than any process can address.
    let Err((status, text)) = Rig::attach(&json!({ "instances": 100_000 })) else {
        panic!("the host backs it");
    };
    assert_eq!(status, ATOLL_INVALID_ARGUMENT, "{text}");
    let numbers: Vec<u32> = text
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    assert!(text.starts_with("native.instances is 100000"), "{text}");
    assert!((1_000..100_000).contains(&numbers[1]), "{text}");
    let fits = Rig::attach(&json!({ "instances": numbers[1] }));
    assert!(fits.is_ok(), "{text}");
}
