//! Guests that go over a limit: each ends there, the reply names it, others are unharmed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use atoll_sandbox::abi::*;
use common::{Ask, Rig, assert_limit, guests, handle, works};
use serde_json::json;

#[test]
fn a18_a_guest_that_spins_ends_at_its_cpu_time() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let spin = rig.load_wat(&guests::spin(), json!({ "cpuMs": 50 }));
    for inline in [true, false] {
        let ask = Ask {
            inline,
            ..Ask::default()
        };
        let started = rig.start(handle(spin.target("run")), b"", &ask);
        assert_eq!(started.status, ATOLL_PENDING);
        works(&rig, &echo);
        assert_limit(&started.wait(), "cpu", 50, "limits.cpuMs");
    }
}

#[test]
fn a18_a_guest_that_spins_in_many_calls_leaves_others_alone() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let spin = rig.load_wat(&guests::spin(), json!({ "cpuMs": 30 }));
    let spinning: Vec<_> = (0..8)
        .map(|_| rig.start(handle(spin.target("run")), b"", &Ask::default()))
        .collect();
    for _ in 0..50 {
        works(&rig, &echo);
    }
    for started in &spinning {
        assert_limit(&started.wait(), "cpu", 30, "limits.cpuMs");
    }
}

#[test]
fn a18_a_guest_that_grows_its_memory_ends_at_the_sum() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let bytes = 4 << 20;
    let grow = rig.load_wat(&guests::grow(), json!({ "memoryBytes": bytes }));
    assert_limit(
        &rig.call(grow.target("run"), b""),
        "memory",
        bytes,
        "limits.memoryBytes",
    );
    let two = rig.load_wat(&guests::two_memories(), json!({ "memoryBytes": 3 << 20 }));
    assert_limit(
        &rig.call(two.target("run"), b""),
        "memory",
        3 << 20,
        "limits.memoryBytes",
    );
    let two = rig.load_wat(&guests::two_memories(), json!({ "memoryBytes": 4 << 20 }));
    assert_eq!(rig.call(two.target("run"), b"").status, ATOLL_OK);
    works(&rig, &echo);
}

#[test]
fn a18_a_guest_that_recurses_ends_with_its_stack() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let recurse = rig.load_wat(&guests::recurse(), json!({}));
    for _ in 0..3 {
        let reply = rig.call(recurse.target("run"), b"");
        assert_eq!(reply.status, ATOLL_LIMIT, "{}", reply.text());
        assert_eq!(reply.json()["limit"], "stack");
        assert_eq!(reply.json()["value"], 512 * 1024);
        works(&rig, &echo);
    }
}

#[test]
fn a18_a_guest_that_is_parked_ends_at_the_wall_clock() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let wait = rig.load_wat(&guests::wait(), json!({ "wallMs": 80 }));
    let forever = br#"{"ns":"18446744073709551615"}"#;
    let ask = Ask {
        budget: Duration::from_millis(80),
        budget_is_limit: true,
        ..Ask::default()
    };
    let parked = rig.start(handle(wait.target("wait")), forever, &ask);
    assert_eq!(parked.status, ATOLL_PENDING);
    works(&rig, &echo);
    assert_limit(&parked.wait(), "wall", 80, "limits.wallMs");
    // Less time than the plugin's own limit is the caller's deadline.
    let ask = Ask {
        budget: Duration::from_millis(20),
        ..Ask::default()
    };
    let reply = rig.call_as(wait.target("wait"), forever, &ask);
    assert_eq!(reply.status, ATOLL_DEADLINE);
    // A guest that spins is bound by it as well.
    let spin = rig.load_wat(&guests::spin(), json!({ "cpuMs": 60_000, "wallMs": 60 }));
    let ask = Ask {
        budget: Duration::from_millis(60),
        budget_is_limit: true,
        ..Ask::default()
    };
    assert_limit(
        &rig.call_as(spin.target("run"), b"", &ask),
        "wall",
        60,
        "limits.wallMs",
    );
}

#[test]
fn a_trap_is_named_and_ends_its_call_only() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    for (body, words) in [
        ("unreachable", "unreachable"),
        ("(drop (i32.load (i32.const -8)))", "out of bounds"),
        (
            "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
            "divided an integer by zero",
        ),
    ] {
        let trap = rig.load_wat(&guests::run(body), json!({}));
        for inline in [true, false] {
            let reply = rig.call_as(
                trap.target("run"),
                b"",
                &Ask {
                    inline,
                    ..Ask::default()
                },
            );
            assert_eq!(reply.status, ATOLL_TRAP);
            assert!(
                reply.json()["message"].as_str().unwrap().contains(words),
                "{}",
                reply.text()
            );
        }
        works(&rig, &echo);
    }
}

#[test]
fn a19_a_flood_of_log_lines_is_cut_at_its_limit() {
    let rig = Rig::new();
    let log = rig.load_wat(&guests::log(), json!({ "logBytes": 1_000 }));
    for stderr in [false, true] {
        let payload = json!({ "lines": 10_000_000, "stderr": stderr }).to_string();
        let started = rig.start(
            handle(log.target("log")),
            payload.as_bytes(),
            &Ask::default(),
        );
        assert_limit(&started.wait(), "log", 1_000, "limits.logBytes");
        let events = started.events();
        let bytes: usize = events.iter().map(|e| e.bytes.len() + 1).sum();
        assert!(bytes <= 1_001, "{bytes}");
        assert!(events.len() >= 55);
        assert_eq!(events[0].bytes, b"a line of the log");
        let flag = if stderr {
            u32::from(ATOLL_FLAG_STDERR)
        } else {
            0
        };
        assert!(
            events
                .iter()
                .all(|e| e.kind == u32::from(ATOLL_KIND_LOG) && e.flags == flag)
        );
    }
}

#[test]
fn log_lines_within_the_limit_arrive_in_order() {
    let rig = Rig::new();
    let log = rig.load_wat(&guests::log(), json!({}));
    let started = rig.start(
        handle(log.target("log")),
        br#"{"lines":3,"stderr":true}"#,
        &Ask::default(),
    );
    assert_eq!(
        (started.status, started.wait().status),
        (ATOLL_OK, ATOLL_OK)
    );
    let lines: Vec<_> = started.events().into_iter().map(|e| e.bytes).collect();
    assert_eq!(lines, vec![b"a line of the log".to_vec(); 3]);
}

#[test]
fn a19_a_result_that_is_too_large_is_cut() {
    let rig = Rig::new();
    let echo = rig.load_wat(
        &guests::echo(),
        json!({ "outputBytes": 10_000, "memoryBytes": 2u64 << 30 }),
    );
    let repeat = echo.target("repeat");
    assert_eq!(rig.call(repeat, br#"{"n":9998}"#).status, ATOLL_OK);
    assert_limit(
        &rig.call(repeat, br#"{"n":9999}"#),
        "output",
        10_000,
        "limits.outputBytes",
    );
    // So large that the host must not even copy it.
    let reply = rig.call(repeat, br#"{"n":1000000000}"#);
    assert_limit(&reply, "output", 10_000, "limits.outputBytes");
    let raw = Ask {
        flags: 0,
        ..Ask::default()
    };
    assert_eq!(
        rig.call_as(echo.target("echo"), &[1; 10_000], &raw).status,
        ATOLL_OK
    );
    let reply = rig.call_as(echo.target("echo"), &[1; 10_001], &raw);
    assert_limit(&reply, "output", 10_000, "limits.outputBytes");
}

#[test]
fn handles_tables_and_instances_are_counted() {
    let rig = Rig::new();
    let handles = rig.load_wat(&guests::handles(), json!({ "resources": 100 }));
    assert_eq!(
        rig.call(handles.target("make"), br#"{"n":100}"#).status,
        ATOLL_OK
    );
    let reply = rig.call(handles.target("make"), br#"{"n":101}"#);
    assert_limit(&reply, "resources", 100, "limits.resources");
    let tables = rig.load_wat(&guests::tables(), json!({ "tableElements": 1_000 }));
    let reply = rig.call(tables.target("run"), b"");
    assert_limit(&reply, "tables", 1_000, "limits.tableElements");
    let many = rig.load_wat(&guests::many_instances(10), json!({ "instances": 8 }));
    let reply = rig.call(many.target("run"), b"");
    assert_limit(&reply, "instances", 8, "limits.instances");
    let many = rig.load_wat(&guests::many_instances(10), json!({ "instances": 11 }));
    assert_eq!(rig.call(many.target("run"), b"").status, ATOLL_OK);
}

#[test]
fn limits_can_be_changed_while_loaded() {
    let rig = Rig::new();
    let grow = rig.load_wat(&guests::grow(), json!({ "memoryBytes": 1 << 20 }));
    let component = grow.number();
    let limits = json!({ "memoryBytes": 2 << 20 });
    let reply = rig.control(&json!({ "op": "limits", "component": component, "limits": limits }));
    assert_eq!((reply.status, reply.json()), (ATOLL_OK, json!({})));
    assert_limit(
        &rig.call(grow.target("run"), b""),
        "memory",
        2 << 20,
        "limits.memoryBytes",
    );
    let reply = rig.control(&json!({ "op": "limits", "component": 999, "limits": {} }));
    assert_eq!(reply.status, ATOLL_NOT_FOUND);
}

#[test]
fn a20_an_exhausted_pool_is_overloaded_and_recovers() {
    let rig = Rig::with(&json!({ "instances": 4, "workerThreads": 2 }));
    let wait = rig.load_wat(&guests::wait(), json!({}));
    let target = handle(wait.target("wait"));
    let forever = br#"{"ns":"18446744073709551615"}"#;
    let parked: Vec<_> = (0..4)
        .map(|_| rig.start(target, forever, &Ask::default()))
        .collect();
    assert!(parked.iter().all(|p| p.status == ATOLL_PENDING));
    let reply = rig.call(wait.target("wait"), br#"{"ns":0}"#);
    assert_eq!(reply.status, ATOLL_OVERLOADED, "{}", reply.text());
    assert_eq!(reply.json()["retryAfterSeconds"], 1);
    for call in &parked {
        call.cancel();
        assert_eq!(call.wait().status, ATOLL_CANCELLED);
    }
    assert_eq!(
        rig.call(wait.target("wait"), br#"{"ns":0}"#).status,
        ATOLL_OK
    );
}

#[test]
fn a20_a_plugin_of_many_parts_leaves_the_pool_to_others() {
    let rig = Rig::with(&json!({ "instances": 128, "workerThreads": 2 }));
    let echo = rig.load_wat(&guests::echo(), json!({}));
    assert_eq!(common::group_limits(echo.target("sum")).concurrency_max, 64);
    // Sixteen of these would take every memory.
    let wait = rig.load_wat(&guests::wait_with_memories(8), json!({}));
    let target = wait.target("wait");
    let forever = br#"{"ns":"18446744073709551615"}"#;
    // As many as the core lets run at once.
    let most = common::group_limits(target).concurrency_max;
    let parked: Vec<_> = (0..most)
        .map(|_| rig.start(handle(target), forever, &Ask::default()))
        .collect();
    assert!(parked.iter().all(|p| p.status == ATOLL_PENDING));
    works(&rig, &echo);
    assert_eq!((most, &rig.stats()["pool"]["memories"]), (8, &json!(64)));
    for call in &parked {
        call.cancel();
    }
    // Core instances and tables are scarce as well; limits that change later go the same way.
    let many = rig.load_wat(&guests::many_instances(31), json!({}));
    assert_eq!(common::group_limits(many.target("run")).concurrency_max, 8);
    let limits = json!({ "concurrency": 17 });
    let request = json!({ "op": "limits", "component": many.number(), "limits": limits });
    assert_eq!(rig.control(&request).status, ATOLL_OK);
    assert_eq!(common::group_limits(many.target("run")).concurrency_max, 2);
}

#[test]
fn a18_a_growth_that_overflows_takes_nothing_back() {
    let rig = Rig::new();
    let table = rig.load_wat(
        r#"(component
  (core module $m
    (table $t i64 0 funcref)
    (func (export "run")
      (loop $l
        (drop (table.grow $t (ref.null func) (i64.const 900)))
        (drop (table.grow $t (ref.null func) (i64.const -1)))
        (br_if $l (i64.lt_u (table.size $t) (i64.const 100000))))))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#,
        json!({ "tableElements": 1000 }),
    );
    let reply = rig.call(table.target("run"), b"");
    assert_limit(&reply, "tables", 1000, "limits.tableElements");
}

#[test]
fn raw_bytes_become_no_more_values_than_json_does() {
    let rig = Rig::new();
    let limits = json!({ "memoryBytes": 512 << 20, "cpuMs": 10_000 });
    let count = rig.load_wat(&guests::count(), limits);
    let raw = Ask {
        flags: 0,
        ..Ask::default()
    };
    let reply = rig.call_as(count.target("count"), &vec![7; 1 << 20], &raw);
    assert_eq!((reply.status, reply.text().as_str()), (ATOLL_OK, "1048576"));
    let reply = rig.call_as(count.target("count"), &vec![7; 8 << 20], &raw);
    assert_eq!(reply.status, ATOLL_INVALID_ARGUMENT);
    assert_eq!(reply.json()["path"], "arguments.data");
}

#[test]
fn limits_beyond_what_the_core_counts_are_the_most_it_counts() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({ "queue": u64::MAX }));
    let group = || common::group_limits(echo.target("sum"));
    assert_eq!(group().queue_max, 0xff_ffff);
    let limits = json!({ "concurrency": 1u64 << 33, "queue": 1u64 << 24 });
    let request = json!({ "op": "limits", "component": echo.number(), "limits": limits });
    assert_eq!(rig.control(&request).status, ATOLL_OK);
    assert_eq!(
        (group().concurrency_max, group().queue_max),
        (0xff_ffff, 0xff_ffff)
    );
    // What the core says to them is told.
    common::refuse_groups(group().queue_max);
    let reply = rig.control(&request);
    common::refuse_groups(u32::MAX);
    assert_eq!(reply.status, ATOLL_INVALID_ARGUMENT, "{}", reply.text());
}
