//! What a plugin may reach: whoever's instance it is and however long it lives, what was granted at
//! the load and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use atoll_sandbox::abi::*;
use common::{Loaded, Rig, host_guests};
use serde_json::{Value, json};

fn load(rig: &Rig, terms: Value) -> Loaded {
    let blob = Rig::blob(&wat::parse_str(host_guests::environment()).unwrap());
    let mut request = json!({ "op": "load", "id": "test", "blob": blob });
    let named = request.as_object_mut().unwrap();
    named.extend(terms.as_object().unwrap().clone());
    let reply = rig.control(&request);
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    Loaded { json: reply.json() }
}

/// How often the instance that answers has looked, and what it sees.
fn look(rig: &Rig, target: u32) -> Value {
    let reply = rig.call(target, b"");
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    reply.json()
}

/// The target of `look` in the answer to `isolate` or `instantiate`.
fn target(rig: &Rig, request: Value) -> u32 {
    let reply = rig.control(&request);
    assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
    let target = reply.json()["functions"][0]["target"].as_u64().unwrap();
    u32::try_from(target).unwrap()
}

#[test]
fn every_instance_of_a_plugin_sees_what_is_granted() {
    let rig = Rig::new();
    let long_ms = 600_000;
    for (isolation, outlives) in [
        (json!({ "mode": "call" }), false),
        (
            json!({ "mode": "reuse", "calls": 9, "idleMs": long_ms }),
            true,
        ),
        (json!({ "mode": "actor", "idleMs": null }), true),
    ] {
        let env = json!({ "LANG": "de_DE", "TOKEN": "a=b \u{fc}" });
        let sees = json!([["LANG", "de_DE"], ["TOKEN", "a=b \u{fc}"]]);
        let terms = json!({ "isolation": isolation, "grants": { "env": env } });
        let granted = load(&rig, terms);
        // The same code, and nothing of what the other one has.
        let other = load(&rig, json!({ "isolation": isolation }));
        let component = granted.number();
        let isolate = |component: u64, key: &str| {
            target(
                &rig,
                json!({ "op": "isolate", "component": component, "key": key }),
            )
        };
        let kept = target(&rig, json!({ "op": "instantiate", "component": component }));
        let mut targets = vec![granted.target("look")];
        let mut others = vec![other.target("look")];
        if outlives {
            targets.extend(["a", "b"].map(|key| isolate(component, key)));
            others.extend(["a", "b"].map(|key| isolate(other.number(), key)));
        }
        for turn in 1..=3 {
            let looked = if outlives { turn } else { 1 };
            for &target in &targets {
                assert_eq!(look(&rig, target), json!([looked, sees]), "{isolation}");
            }
            for &target in &others {
                assert_eq!(look(&rig, target), json!([looked, []]), "{isolation}");
            }
            assert_eq!(look(&rig, kept), json!([turn, sees]), "{isolation}");
        }
        // Other limits are no other grants.
        let limits = json!({ "op": "limits", "component": component, "limits": { "cpuMs": 500 } });
        assert_eq!(rig.control(&limits).status, ATOLL_OK);
        assert_eq!(look(&rig, targets[0])[1], sees);
    }
}

#[test]
fn nothing_of_the_host_is_seen() {
    let rig = Rig::new();
    assert!(
        std::env::vars_os().next().is_some(),
        "there is something to see"
    );
    for terms in [
        json!({}),
        json!({ "grants": {} }),
        json!({ "grants": { "env": {} } }),
    ] {
        assert_eq!(look(&rig, load(&rig, terms).target("look")), json!([1, []]));
    }
    let terms = json!({ "grants": { "env": { "": "", "PATH": "" } } });
    let sees = json!([["", ""], ["PATH", ""]]);
    let component = load(&rig, terms);
    assert_eq!(look(&rig, component.target("look")), json!([1, sees]));
}
