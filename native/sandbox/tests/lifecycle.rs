//! The ends of calls and of the engine: cancellation, closing, leaks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use atoll_sandbox::abi::*;
use common::{Ask, Rig, guests, handle};
use serde_json::json;

const FOREVER: &[u8] = br#"{"ns":"18446744073709551615"}"#;

#[test]
fn a_parked_call_can_be_cancelled() {
    let rig = Rig::new();
    let wait = rig.load_wat(&guests::wait(), json!({}));
    let call = rig.start(handle(wait.target("wait")), FOREVER, &Ask::default());
    assert!(!call.replied());
    call.cancel();
    call.cancel();
    assert_eq!(call.wait().status, ATOLL_CANCELLED);
    call.cancel();
}

#[test]
fn a_spinning_call_can_be_cancelled() {
    let rig = Rig::new();
    let spin = rig.load_wat(&guests::spin(), json!({ "cpuMs": 60_000 }));
    for inline in [true, false] {
        let ask = Ask {
            inline,
            ..Ask::default()
        };
        let call = rig.start(handle(spin.target("run")), b"", &ask);
        assert!(!call.replied());
        call.cancel();
        assert_eq!(call.wait().status, ATOLL_CANCELLED);
    }
}

#[test]
fn closing_ends_every_call() {
    let rig = Rig::new();
    let wait = rig.load_wat(&guests::wait(), json!({}));
    let spin = rig.load_wat(&guests::spin(), json!({ "cpuMs": 60_000 }));
    // The calls outlive the engine here, as they may in the core: their states are not freed.
    let calls = [
        rig.start(handle(wait.target("wait")), FOREVER, &Ask::default()),
        rig.start(handle(spin.target("run")), b"", &Ask::default()),
        rig.start(
            handle(spin.target("run")),
            b"",
            &Ask {
                inline: false,
                ..Ask::default()
            },
        ),
    ];
    let calls = calls.map(common::Started::detach);
    rig.close();
    for call in calls {
        assert_eq!(call.reply().unwrap().status, ATOLL_CANCELLED);
    }
}

#[test]
fn an_engine_can_be_attached_again_and_again() {
    for _ in 0..5 {
        let rig = Rig::new();
        let echo = rig.load_wat(&guests::echo(), json!({}));
        assert_eq!(
            rig.call(echo.target("sum"), br#"{"a":1,"b":1}"#).text(),
            "2"
        );
    }
}

#[test]
fn calls_of_every_outcome_give_everything_back() {
    let rig = Rig::with(&json!({ "instances": 4, "workerThreads": 2 }));
    let limits = json!({ "cpuMs": 5, "logBytes": 100, "memoryBytes": 2 << 20 });
    let hostile: Vec<_> = [
        guests::trap(),
        guests::grow(),
        guests::recurse(),
        guests::spin(),
    ]
    .iter()
    .map(|wat| rig.load_wat(wat, limits.clone()).target("run"))
    .collect();
    let log = rig.load_wat(&guests::log(), limits).target("log");
    let echo = rig.load_wat(&guests::echo(), json!({}));
    for round in 0..50 {
        let inline = round % 2 == 0;
        for &target in &hostile {
            let reply = rig.call_as(
                target,
                b"",
                &Ask {
                    inline,
                    ..Ask::default()
                },
            );
            assert!(
                matches!(reply.status, ATOLL_TRAP | ATOLL_LIMIT),
                "{}",
                reply.text()
            );
        }
        let reply = rig.call(log, br#"{"lines":100,"stderr":false}"#);
        assert_eq!(reply.status, ATOLL_LIMIT);
        let reply = rig.call(echo.target("text"), br#"{"s":"still here"}"#);
        assert_eq!(reply.text(), "\"still here\"");
    }
    let stats = rig.stats();
    for key in ["componentInstances", "coreInstances", "memories", "stacks"] {
        assert_eq!(stats["pool"][key], 0, "{key}: {stats}");
    }
    assert_eq!(stats["callsRunning"], 0);
}

#[test]
fn many_threads_call_at_once() {
    let rig = Rig::with(&json!({ "instances": 64, "workerThreads": 2 }));
    let echo = rig.load_wat(&guests::echo(), json!({}));
    let target = echo.target("text");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let rig = &rig;
            scope.spawn(move || {
                for n in 0..300 {
                    let text = format!("thread {thread} call {n}");
                    let ask = Ask {
                        inline: n % 3 != 0,
                        ..Ask::default()
                    };
                    let reply =
                        rig.call_as(target, json!({ "s": text }).to_string().as_bytes(), &ask);
                    assert_eq!((reply.status, reply.json()), (ATOLL_OK, json!(text)));
                }
            });
        }
    });
}

#[test]
fn a_load_whose_caller_has_gone_leaves_nothing_behind() {
    let rig = Rig::new();
    let bytes = wat::parse_str(guests::echo()).unwrap();
    let ask = Ask {
        kind: ATOLL_KIND_CONTROL,
        ..Ask::default()
    };
    for _ in 0..10 {
        let load = json!({ "op": "load", "id": "gone", "blob": Rig::blob(&bytes) }).to_string();
        let call = rig.start(0, load.as_bytes(), &ask);
        call.cancel();
        let reply = call.wait();
        if reply.status == ATOLL_OK {
            let unload = json!({ "op": "unload", "component": reply.json()["component"] });
            assert_eq!(rig.control(&unload).status, ATOLL_OK);
        } else {
            assert_eq!(reply.status, ATOLL_CANCELLED);
        }
    }
    let echo = rig.load(&bytes, json!({}));
    assert_eq!(
        rig.call(echo.target("sum"), br#"{"a":1,"b":1}"#).text(),
        "2"
    );
    // The work that was under way ends on its own thread.
    let begin = std::time::Instant::now();
    while rig.stats()["components"] != 1 {
        assert!(begin.elapsed().as_secs() < 60, "a component stayed");
        std::thread::yield_now();
    }
}
