//! Kept instances: what stays from call to call, what does not, and every way they end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use atoll_sandbox::abi::*;
use common::{Ask, Loaded, Rig, guests, handle};
use serde_json::{Value, json};

const FOREVER: &[u8] = br#"{"ns":"18446744073709551615"}"#;

fn stateful(rig: &Rig, limits: Value) -> Loaded {
    rig.load_wat(&guests::stateful(""), limits)
}

fn drop_instance(instance: &Loaded) -> Value {
    json!({ "op": "drop_instance", "instance": instance.instance() })
}

/// Calls `next` and expects that number.
fn expect_next(rig: &Rig, of: &Loaded, number: &str) {
    let reply = rig.call(of.target("next"), b"");
    assert_eq!((reply.status, reply.text().as_str()), (ATOLL_OK, number));
}

/// The instance answers that it is gone, and how it went.
fn expect_ended(rig: &Rig, instance: &Loaded, how: &str) {
    for _ in 0..2 {
        let reply = rig.call(instance.target("next"), b"");
        assert_eq!(reply.status, ATOLL_NOT_FOUND, "{}", reply.text());
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(how), "{message}");
        assert!(message.ends_with("; instantiate again"), "{message}");
    }
    assert_eq!(rig.stats()["pool"]["componentInstances"], 0);
}

#[test]
fn state_stays_in_a_kept_instance_and_nowhere_else() {
    let rig = Rig::new();
    let component = stateful(&rig, json!({}));
    let first = rig.instantiate(&component);
    let second = rig.instantiate(&component);
    for number in ["1", "2", "3"] {
        expect_next(&rig, &first, number);
        expect_next(&rig, &component, "1");
    }
    expect_next(&rig, &second, "1");
    // On the workers, and back on this thread.
    let detached = Ask {
        inline: false,
        ..Ask::default()
    };
    let reply = rig.call_as(first.target("next"), b"", &detached);
    assert_eq!((reply.status, reply.text().as_str()), (ATOLL_OK, "4"));
    let started = rig.start(handle(first.target("next")), b"", &Ask::default());
    assert_eq!(
        (started.status, started.wait().text().as_str()),
        (ATOLL_OK, "5")
    );
    assert_eq!(rig.stats()["instancesKept"], 2);
}

#[test]
fn the_store_travels_with_a_call_that_waits_and_comes_back() {
    let rig = Rig::new();
    let component = stateful(&rig, json!({}));
    let instance = rig.instantiate(&component);
    for number in ["2", "4", "6"] {
        let wait = handle(instance.target("wait"));
        let started = rig.start(wait, br#"{"ns":5000000}"#, &Ask::default());
        assert_eq!(started.status, ATOLL_PENDING);
        assert_eq!(started.wait().status, ATOLL_OK);
        expect_next(&rig, &instance, number);
    }
}

#[test]
fn arguments_that_do_not_fit_and_the_error_side_leave_the_instance_whole() {
    let rig = Rig::new();
    let component = rig.load_wat(&guests::echo(), json!({}));
    let instance = rig.instantiate(&component);
    let fallible = instance.target("fallible");
    for _ in 0..3 {
        let reply = rig.call(instance.target("sum"), br#"{"a":"one","b":2}"#);
        assert_eq!(reply.status, ATOLL_INVALID_ARGUMENT);
        let reply = rig.call(fallible, br#"{"s":""}"#);
        assert_eq!(
            (reply.status, reply.json()),
            (ATOLL_TOOL_ERROR, json!("empty"))
        );
        let reply = rig.call(fallible, br#"{"s":"x"}"#);
        assert_eq!((reply.status, reply.json()), (ATOLL_OK, json!("x")));
    }
}

#[test]
fn a_call_that_does_not_end_well_ends_the_instance() {
    let rig = Rig::new();
    let limits = json!({ "cpuMs": 20, "memoryBytes": 4 << 20, "outputBytes": 1000 });
    let component = stateful(&rig, limits);
    for (function, payload, status, how) in [
        ("trap", &b""[..], ATOLL_TRAP, "the guest trapped"),
        ("spin", b"", ATOLL_LIMIT, "CPU time"),
        (
            "grow",
            br#"{"pages":1000}"#,
            ATOLL_LIMIT,
            "limits.memoryBytes",
        ),
        (
            "repeat",
            br#"{"n":2000}"#,
            ATOLL_LIMIT,
            "limits.outputBytes",
        ),
    ] {
        let instance = rig.instantiate(&component);
        expect_next(&rig, &instance, "1");
        let reply = rig.call(instance.target(function), payload);
        assert_eq!(reply.status, status, "{function}: {}", reply.text());
        expect_ended(&rig, &instance, how);
        assert_eq!(rig.control(&drop_instance(&instance)).status, ATOLL_OK);
        expect_next(&rig, &component, "1");
    }
}

#[test]
fn a_call_that_is_cut_off_ends_the_instance() {
    let rig = Rig::new();
    let component = stateful(&rig, json!({}));
    let cancelled = rig.instantiate(&component);
    let call = rig.start(handle(cancelled.target("wait")), FOREVER, &Ask::default());
    call.cancel();
    assert_eq!(call.wait().status, ATOLL_CANCELLED);
    expect_ended(&rig, &cancelled, "cancelled");

    let late = rig.instantiate(&component);
    let ask = Ask {
        budget: std::time::Duration::from_millis(20),
        ..Ask::default()
    };
    let reply = rig.call_as(late.target("wait"), FOREVER, &ask);
    assert_eq!(reply.status, ATOLL_DEADLINE);
    expect_ended(&rig, &late, "deadline");
}

#[test]
fn a_second_call_at_once_is_refused_and_harms_nothing() {
    // The core never starts one; the engine does not rely on it.
    let rig = Rig::new();
    let instance = rig.instantiate(&stateful(&rig, json!({})));
    let wait = handle(instance.target("wait"));
    let parked = rig.start(wait, br#"{"ns":30000000}"#, &Ask::default());
    let reply = rig.call(instance.target("next"), b"");
    assert_eq!(reply.status, ATOLL_OVERLOADED);
    assert_eq!(parked.wait().status, ATOLL_OK);
    expect_next(&rig, &instance, "2");
}

#[test]
fn memory_is_summed_over_the_life_and_output_and_time_are_not() {
    let rig = Rig::new();
    // Two pages at the start, eight more.
    let limits = json!({ "memoryBytes": 10 * 65536, "outputBytes": 1000, "wallMs": 60_000 });
    let component = stateful(&rig, limits);
    let instance = rig.instantiate(&component);
    for pages in 2..10 {
        let reply = rig.call(instance.target("grow"), br#"{"pages":1}"#);
        assert_eq!(
            (reply.status, reply.text()),
            (ATOLL_OK, pages.to_string()),
            "page {pages}"
        );
        let reply = rig.call(instance.target("repeat"), br#"{"n":900}"#);
        assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    }
    let reply = rig.call(instance.target("grow"), br#"{"pages":1}"#);
    assert_eq!(
        (reply.status, reply.json()["limit"].as_str()),
        (ATOLL_LIMIT, Some("memory"))
    );
    expect_ended(&rig, &instance, "limits.memoryBytes");
}

#[test]
fn cpu_time_begins_afresh_with_each_call() {
    let rig = Rig::new();
    let component = rig.load_wat(&guests::busy(), json!({ "cpuMs": 200 }));
    let instance = rig.instantiate(&component);
    let begin = std::time::Instant::now();
    // Together well over the limit of one call.
    while begin.elapsed().as_millis() < 600 {
        let reply = rig.call(instance.target("busy"), br#"{"turns":3000000}"#);
        assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    }
}

#[test]
fn log_lines_belong_to_the_call_that_wrote_them_under_a_budget_of_its_own() {
    let rig = Rig::new();
    // A line has 18 bytes.
    let component = rig.load_wat(&guests::log(), json!({ "logBytes": 100 }));
    let instance = rig.instantiate(&component);
    let log = handle(instance.target("log"));
    for _ in 0..4 {
        let call = rig.start(log, br#"{"lines":5,"stderr":false}"#, &Ask::default());
        assert_eq!(call.wait().status, ATOLL_OK);
        assert_eq!(call.events().len(), 5);
    }
    let call = rig.start(log, br#"{"lines":6,"stderr":true}"#, &Ask::default());
    assert_eq!(call.wait().json()["limit"], "log");
}

#[test]
fn dropping_waits_for_the_call_that_runs() {
    let rig = Rig::new();
    let component = stateful(&rig, json!({}));
    let instance = rig.instantiate(&component);
    let wait = handle(instance.target("wait"));
    let next = handle(instance.target("next"));
    let parked = rig.start(wait, FOREVER, &Ask::default());
    let ask = Ask {
        kind: ATOLL_KIND_CONTROL,
        ..Ask::default()
    };
    let request = drop_instance(&instance).to_string();
    let dropping = rig.start(0, request.as_bytes(), &ask);
    // What was under way to the instance finds it gone at once.
    assert_eq!(
        rig.start(next, b"", &Ask::default()).wait().status,
        ATOLL_NOT_FOUND
    );
    assert!(!dropping.replied() && !parked.replied());
    parked.cancel();
    assert_eq!(parked.wait().status, ATOLL_CANCELLED);
    assert_eq!(dropping.wait().status, ATOLL_OK);
    assert_eq!(rig.stats()["pool"]["componentInstances"], 0);
    assert_eq!(
        rig.control(&drop_instance(&instance)).status,
        ATOLL_NOT_FOUND
    );
    expect_next(&rig, &component, "1");
}

#[test]
fn a_call_that_ends_well_after_the_drop_takes_the_store_with_it() {
    let rig = Rig::new();
    let instance = rig.instantiate(&stateful(&rig, json!({})));
    let wait = handle(instance.target("wait"));
    let call = rig.start(wait, br#"{"ns":20000000}"#, &Ask::default());
    assert_eq!(rig.control(&drop_instance(&instance)).status, ATOLL_OK);
    assert_eq!(call.wait().status, ATOLL_OK);
    assert_eq!(rig.stats()["pool"]["componentInstances"], 0);
}

#[test]
fn unloading_drops_the_instances_of_the_component() {
    let rig = Rig::new();
    let component = stateful(&rig, json!({}));
    let other = rig.instantiate(&stateful(&rig, json!({})));
    let instances: Vec<Loaded> = (0..3).map(|_| rig.instantiate(&component)).collect();
    let handles: Vec<u32> = instances.iter().map(|i| handle(i.target("next"))).collect();
    let parked = rig.start(
        handle(instances[0].target("wait")),
        FOREVER,
        &Ask::default(),
    );
    let ask = Ask {
        kind: ATOLL_KIND_CONTROL,
        ..Ask::default()
    };
    let unload = json!({ "op": "unload", "component": component.number() }).to_string();
    let unloading = rig.start(0, unload.as_bytes(), &ask);
    for (instance, &next) in instances.iter().zip(&handles) {
        assert_eq!(
            handle(instance.target("next")),
            u32::MAX,
            "the target is removed"
        );
        let reply = rig.start(next, b"", &Ask::default()).wait();
        assert_eq!(reply.status, ATOLL_NOT_FOUND);
    }
    assert!(!unloading.replied());
    parked.cancel();
    assert_eq!(unloading.wait().status, ATOLL_OK);
    drop(parked);
    let stats = rig.stats();
    assert_eq!(
        (&stats["instancesKept"], &stats["components"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(stats["pool"]["componentInstances"], 1);
    expect_next(&rig, &other, "1");
    assert_eq!(
        rig.try_instantiate(component.number()).status,
        ATOLL_NOT_FOUND
    );
}

#[test]
fn a_start_function_runs_under_the_limits_of_a_call() {
    let rig = Rig::new();
    let spin = rig.load_wat(
        &guests::stateful("(loop $l (br $l))"),
        json!({ "cpuMs": 20 }),
    );
    let reply = rig.try_instantiate(spin.number());
    assert_eq!(
        (reply.status, reply.json()["limit"].as_str()),
        (ATOLL_LIMIT, Some("cpu"))
    );
    let waits = guests::stateful("(call $block (call $subscribe (i64.const -1)))");
    let waits = rig.load_wat(&waits, json!({ "wallMs": 30 }));
    let reply = rig.try_instantiate(waits.number());
    assert_eq!(
        (reply.status, reply.json()["limit"].as_str()),
        (ATOLL_LIMIT, Some("wall"))
    );
    let traps = rig.load_wat(&guests::stateful("unreachable"), json!({}));
    assert_eq!(rig.try_instantiate(traps.number()).status, ATOLL_TRAP);
    let stats = rig.stats();
    assert_eq!(stats["instancesKept"], 0);
    assert_eq!(stats["pool"]["componentInstances"], 0);
}

#[test]
fn instances_come_and_go_and_leave_nothing() {
    let rig = Rig::with(&json!({ "instances": 4, "workerThreads": 2 }));
    let component = stateful(&rig, json!({}));
    let kept: Vec<Loaded> = (0..4).map(|_| rig.instantiate(&component)).collect();
    let reply = rig.try_instantiate(component.number());
    assert_eq!(reply.status, ATOLL_OVERLOADED, "the pool is full");
    for instance in &kept {
        assert_eq!(rig.control(&drop_instance(instance)).status, ATOLL_OK);
    }
    let mut before = handle(component.target("next"));
    for round in 0..200 {
        let instance = rig.instantiate(&component);
        let next = handle(instance.target("next"));
        assert_ne!(next, before, "a handle is never used again");
        before = next;
        expect_next(&rig, &instance, "1");
        if round % 2 == 0 {
            assert_eq!(rig.call(instance.target("trap"), b"").status, ATOLL_TRAP);
        }
        assert_eq!(rig.control(&drop_instance(&instance)).status, ATOLL_OK);
    }
    let stats = rig.stats();
    for key in ["componentInstances", "coreInstances", "memories", "stacks"] {
        assert_eq!(stats["pool"][key], 0, "{key}: {stats}");
    }
    assert_eq!(stats["instancesKept"], 0);
}

#[test]
fn closing_ends_kept_instances_and_their_calls() {
    let rig = Rig::new();
    let component = stateful(&rig, json!({}));
    let instance = rig.instantiate(&component);
    rig.instantiate(&component);
    let call = rig.start(handle(instance.target("wait")), FOREVER, &Ask::default());
    let call = call.detach();
    rig.close();
    assert_eq!(call.reply().unwrap().status, ATOLL_CANCELLED);
}

#[test]
fn limits_that_change_during_the_start_are_those_of_the_instance() {
    let rig = Rig::new();
    let waits = guests::stateful("(call $block (call $subscribe (i64.const 100000000)))");
    let component = rig.load_wat(&waits, json!({}));
    let ask = Ask {
        kind: ATOLL_KIND_CONTROL,
        ..Ask::default()
    };
    let request = json!({ "op": "instantiate", "component": component.number() }).to_string();
    let starting = rig.start(0, request.as_bytes(), &ask);
    let limits = json!({ "queue": 7 });
    let request = json!({ "op": "limits", "component": component.number(), "limits": limits });
    assert_eq!(rig.control(&request).status, ATOLL_OK);
    let reply = starting.wait();
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    let target = reply.json()["functions"][0]["target"].as_u64().unwrap() as u32;
    let group = common::group_limits(target);
    assert_eq!((group.concurrency_max, group.queue_max), (1, 7));
}
