//! Work that no check of the epoch interrupts: calls of the host, and bulk instructions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use atoll_sandbox::abi::*;
use common::{Ask, Reply, Rig, assert_limit, guests, handle, host_guests, works};
use serde_json::json;

#[test]
fn a18_calls_of_the_host_in_a_straight_line_pass_by_no_limit_of_time() {
    let rig = Rig::new();
    let echo = rig.load_wat(&guests::echo(), json!({}));
    // Copies 4 GB in all, without a loop.
    let straight = host_guests::straight(20_000, 200_000);
    let long = rig.load_wat(&straight, json!({ "cpuMs": 20 }));
    for inline in [true, false] {
        let ask = Ask {
            inline,
            ..Ask::default()
        };
        let started = rig.start(handle(long.target("run")), b"", &ask);
        assert_eq!(
            started.status, ATOLL_PENDING,
            "it leaves its caller's thread"
        );
        works(&rig, &echo);
        assert_limit(&started.wait(), "cpu", 20, "limits.cpuMs");
    }
    let wall = rig.load_wat(&straight, json!({ "cpuMs": 60_000, "wallMs": 40 }));
    let ask = Ask {
        budget: Duration::from_secs(60),
        ..Ask::default()
    };
    let reply = rig.call_as(wall.target("run"), b"", &ask);
    assert_limit(&reply, "wall", 40, "limits.wallMs");
    let cancelled = rig.load_wat(&straight, json!({ "cpuMs": 60_000 }));
    // This thread may be put aside until the guest is through, though hardly each time.
    let ended = (0..50)
        .map(|_| {
            let ask = Ask {
                inline: false,
                ..Ask::default()
            };
            let started = rig.start(handle(cancelled.target("run")), b"", &ask);
            started.cancel();
            started.wait()
        })
        .find(|reply| reply.status != ATOLL_OK);
    assert_eq!(ended.unwrap().status, ATOLL_CANCELLED);
    // Nor do instructions that wasmtime carries out in the host. One run takes some ticks only, and
    // a busy machine may be late with them.
    let handles = host_guests::straight_handles(100_000);
    let handles = rig.load_wat(&handles, json!({ "cpuMs": 1 }));
    let ask = Ask {
        inline: false,
        ..Ask::default()
    };
    let ended = (0..50)
        .map(|_| rig.call_as(handles.target("run"), b"", &ask))
        .find(|reply| reply.status != ATOLL_OK);
    assert_limit(&ended.unwrap(), "cpu", 1, "limits.cpuMs");
}

#[test]
fn a29_a_guest_whose_bulk_work_holds_the_thread_goes_to_the_workers() {
    let rig = Rig::new();
    // One instruction that no epoch interrupts.
    let fill = rig.load_wat(
        &guests::run(
            "(drop (memory.grow (i32.const 960)))
             (memory.fill (i32.const 65536) (i32.const 1) (i32.const 62914560))",
        ),
        json!({}),
    );
    // The first call raises the suspicion, the second one proves it, the third is kept away.
    let statuses: Vec<u32> = (0..6)
        .map(|_| {
            let started = rig.start(handle(fill.target("run")), b"", &Ask::default());
            let status = started.status;
            assert_eq!(started.wait().status, ATOLL_OK);
            status
        })
        .collect();
    assert!(statuses.contains(&ATOLL_PENDING), "{statuses:?}");
}

#[test]
fn a29_short_calls_in_between_do_not_clear_a_plugin_that_holds_the_thread() {
    let rig = Rig::new();
    let fill = rig.load_wat(&guests::fill(), json!({}));
    let target = handle(fill.target("fill"));
    let statuses: Vec<u32> = (0..24)
        .map(|n| {
            let bytes = if n % 2 == 0 { 62_914_560 } else { 16 };
            let payload = json!({ "bytes": bytes }).to_string();
            let started = rig.start(target, payload.as_bytes(), &Ask::default());
            assert_eq!(started.wait().status, ATOLL_OK);
            started.status
        })
        .collect();
    assert!(statuses.contains(&ATOLL_PENDING), "{statuses:?}");
}

#[test]
fn a17_all_messages_of_a_call_share_a_budget() {
    let rig = Rig::new();
    // Eight times as much as one message may have.
    let http = rig.load_wat(&host_guests::messages(), json!({ "fieldBytes": 110_000 }));
    let maps = |count: u32, drop: bool| {
        let payload = json!({ "count": count, "drop": drop }).to_string();
        rig.call(http.target("maps"), payload.as_bytes())
    };
    assert_eq!(maps(8, false).status, ATOLL_OK);
    assert_limit(&maps(9, false), "fields", 110_000, "limits.fieldBytes");
    // What was dropped counts no more.
    assert_eq!(maps(100, true).status, ATOLL_OK);
    let clones = http.target("clones");
    assert_eq!(rig.call(clones, br#"{"count":7}"#).status, ATOLL_OK);
    let many = rig.call(clones, br#"{"count":900}"#);
    assert!(
        matches!(many.status, ATOLL_OK | ATOLL_LIMIT),
        "{}",
        many.text()
    );
    let authority = |bytes: u32| {
        let payload = json!({ "bytes": bytes }).to_string();
        rig.call(http.target("authority"), payload.as_bytes())
            .text()
    };
    assert_eq!(
        (authority(1_024), authority(1_025)),
        ("0".into(), "1".into())
    );
}

#[test]
fn what_is_too_large_for_one_call_of_the_host_is_named() {
    let rig = Rig::new();
    let named = |reply: &Reply, limit: &str, value: u64| {
        assert_eq!(reply.status, ATOLL_LIMIT, "{}", reply.text());
        let json = reply.json();
        assert_eq!(
            (&json["limit"], &json["value"]),
            (&json!(limit), &json!(value))
        );
        assert_eq!(json["key"], json!(null));
    };
    let limits = json!({ "fieldBytes": 1_000 });
    let fits = rig.load_wat(&host_guests::straight(1, 257 * 1024), limits.clone());
    named(
        &rig.call(fits.target("run"), b""),
        "hostCall",
        256 * 1024 + 1_000,
    );
    let fits = rig.load_wat(&host_guests::straight(1, 256 * 1024), limits);
    assert_eq!(rig.call(fits.target("run"), b"").status, ATOLL_OK);
    let random = rig.load_wat(&host_guests::random(), json!({}));
    let reply = rig.call(random.target("random"), br#"{"bytes":1048576}"#);
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    let reply = rig.call(random.target("random"), br#"{"bytes":1048577}"#);
    named(&reply, "random", 1 << 20);
    // Handles of the host's own count as well as those of the guest.
    let http = rig.load_wat(
        &host_guests::messages(),
        json!({ "resources": 5, "fieldBytes": 200_000 }),
    );
    let reply = rig.call(http.target("maps"), br#"{"count":6,"drop":false}"#);
    assert_limit(&reply, "resources", 5, "limits.resources");
}
