//! A peer in Rust: CONTROL requests as archives, from load to unload.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use atoll_sandbox::abi::*;
use atoll_sandbox::grants::Grants;
use atoll_sandbox::isolation::Isolation;
use atoll_sandbox::limits::Limits;
use atoll_sandbox::request::{self, Request};
use common::core::Reply;
use common::{Ask, Loaded, Rig, guests, host_guests};
use serde_json::json;

fn ask(rig: &Rig, flags: u16, payload: &[u8]) -> Reply {
    let ask = Ask {
        kind: ATOLL_KIND_CONTROL,
        flags,
        ..Ask::default()
    };
    rig.start(0, payload, &ask).wait()
}

fn archived(rig: &Rig, request: &Request) -> Reply {
    ask(rig, ATOLL_FLAG_RKYV, &request::archive(request).unwrap())
}

fn refused(reply: &Reply, status: u32, text: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(reply.text().contains(text), "{}", reply.text());
}

#[test]
fn a_component_is_loaded_called_and_unloaded_by_archives() {
    let rig = Rig::new();
    let limits = Limits {
        output_bytes: 1_000,
        ..Limits::default()
    };
    let blob = Rig::blob(&wat::parse_str(guests::echo()).unwrap());
    let id = "archived".to_owned();
    let reply = archived(
        &rig,
        &Request::Load {
            id,
            blob,
            limits,
            isolation: Isolation::default(),
            grants: Grants::default(),
        },
    );
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    let loaded = reply.json();
    let component = loaded["component"].as_u64().unwrap() as u32;
    let functions = loaded["functions"].as_array().unwrap();
    let echo = functions.iter().find(|f| f["name"] == "echo").unwrap();
    let target = echo["target"].as_u64().unwrap() as u32;
    let raw = Ask {
        flags: 0,
        ..Ask::default()
    };
    assert_eq!(rig.call_as(target, &[7; 1_000], &raw).status, ATOLL_OK);
    assert_eq!(rig.call_as(target, &[7; 1_001], &raw).status, ATOLL_LIMIT);

    let limits = Limits::default();
    let reply = archived(&rig, &Request::Limits { component, limits });
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    assert_eq!(rig.call_as(target, &[7; 1_001], &raw).status, ATOLL_OK);

    let made = archived(&rig, &Request::Instantiate { component }).json();
    let instance = made["instance"].as_u64().unwrap() as u32;
    assert_eq!(archived(&rig, &Request::Stats).json()["instancesKept"], 1);
    let dropped = archived(&rig, &Request::DropInstance { instance });
    assert_eq!(dropped.status, ATOLL_OK);
    let blob = Rig::blob(&wat::parse_str(guests::echo()).unwrap());
    assert!(archived(&rig, &Request::Describe { blob }).json()["wit"].is_string());
    let unload = Request::Unload { component };
    assert_eq!(archived(&rig, &unload).status, ATOLL_OK);
    refused(&archived(&rig, &unload), ATOLL_NOT_FOUND, "no component");
}

#[test]
fn an_archive_carries_grants() {
    let rig = Rig::new();
    let pairs = [
        ("LANG", "de_DE"),
        ("TOKEN", "longer than what is stored inline"),
    ];
    let grants = Grants {
        env: pairs
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        ..Grants::default()
    };
    let request = Request::Load {
        id: "granted".to_owned(),
        blob: Rig::blob(&wat::parse_str(host_guests::environment()).unwrap()),
        limits: Limits::default(),
        isolation: Isolation::default(),
        grants,
    };
    let reply = archived(&rig, &request);
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    let loaded = Loaded { json: reply.json() };
    let reply = rig.call(loaded.target("look"), b"");
    assert_eq!(reply.json(), json!([1, pairs]));
}

#[test]
fn what_is_no_archive_is_refused() {
    let rig = Rig::new();
    let good = request::archive(&Request::Stats).unwrap();
    assert_eq!(ask(&rig, ATOLL_FLAG_RKYV, &good).status, ATOLL_OK);
    for bytes in [&b""[..], b"{\"op\":\"stats\"}", &good[1..], &[0xff; 64]] {
        let reply = ask(&rig, ATOLL_FLAG_RKYV, bytes);
        refused(&reply, ATOLL_INVALID_ARGUMENT, "CONTROL request is broken");
    }
    let mut later = good.to_vec();
    later[0] += 1;
    let reply = ask(&rig, ATOLL_FLAG_RKYV, &later);
    refused(
        &reply,
        ATOLL_INVALID_ARGUMENT,
        "has version 2, supported is 1",
    );
}

#[test]
fn what_is_too_long_or_in_another_encoding_is_refused() {
    let rig = Rig::new();
    let packed = rmp_serde::to_vec(&json!({ "op": "stats" })).unwrap();
    let reply = ask(&rig, ATOLL_FLAG_MSGPACK, &packed);
    refused(&reply, ATOLL_INVALID_ARGUMENT, "not MessagePack");
    let long = format!("{{\"op\":\"stats\"{}}}", " ".repeat(64 * 1024));
    let reply = ask(&rig, ATOLL_FLAG_JSON, long.as_bytes());
    refused(&reply, ATOLL_INVALID_ARGUMENT, "at most 65536 bytes");
}
