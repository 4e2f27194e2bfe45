//! Loading: what is refused and why, unloading.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use atoll_sandbox::abi::*;
use common::{Ask, Rig, guests, handle, host_guests};
use serde_json::{Value, json};

fn binary(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

#[test]
fn a_loaded_component_is_described() {
    let rig = Rig::new();
    let bytes = binary(&guests::echo());
    let loaded = rig.load(&bytes, json!({})).json;
    let names: Vec<&str> = loaded["functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["echo", "text", "fallible", "repeat", "sum"]);
    assert!(
        loaded["functions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|f| f["interface"].is_null())
    );
    assert_eq!(loaded["digest"].as_str().unwrap().len(), 64);
    assert_eq!(loaded["http"], Value::Null);
    assert_eq!(loaded["origin"], "compiled");
    let wit = loaded["wit"].as_str().unwrap();
    assert!(
        wit.contains("export fallible: func(s: string) -> result<string, string>;"),
        "{wit}"
    );

    let reply = rig.control(&json!({ "op": "describe", "blob": Rig::blob(&bytes) }));
    assert_eq!(reply.status, ATOLL_OK);
    let described = reply.json();
    for key in ["digest", "wit", "imports"] {
        assert_eq!(described[key], loaded[key]);
    }
    assert_eq!(described["http"], false);
}

#[test]
fn the_core_knows_a_component_and_its_exports_by_name_until_it_is_unloaded() {
    let rig = Rig::new();
    let loaded = rig.load(&binary(&guests::echo()), json!({})).json;
    let number = u32::try_from(loaded["plugin"].as_u64().unwrap()).unwrap();
    let known = |number| {
        let plugins = common::core::PLUGINS.lock().unwrap();
        plugins.as_ref().unwrap().get(&number).cloned()
    };
    let (id, names) = known(number).unwrap();
    assert_eq!(id, "test");
    let functions = loaded["functions"].as_array().unwrap();
    assert_eq!(names.len(), functions.len());
    for function in functions {
        let name = function["name"].as_str().unwrap();
        assert_eq!(u64::from(names[name]), function["target"].as_u64().unwrap());
    }
    let unload = json!({ "op": "unload", "component": loaded["component"] });
    assert_eq!(rig.control(&unload).status, ATOLL_OK);
    assert_eq!(known(number), None);
}

#[test]
fn a21_what_is_not_a_component_is_refused_with_its_cause() {
    let rig = Rig::new();
    let refused = |bytes: &[u8]| {
        let reply = rig.try_load(bytes, json!({}));
        assert_eq!(reply.status, ATOLL_COMPONENT, "{}", reply.text());
        reply.json()["message"].as_str().unwrap().to_owned()
    };
    assert!(refused(&binary("(module)")).contains("core WebAssembly module"));
    assert!(refused(b"").contains("too short"));
    assert!(refused(b"<html>not found</html>").contains("not WebAssembly"));
    let whole = binary(&guests::echo());
    for cut in [9, 20, whole.len() / 2, whole.len() - 1] {
        assert!(refused(&whole[..cut]).contains("broken"), "{cut}");
    }
    // A body that does not validate is found when it is compiled.
    let at = whole
        .windows(4)
        .position(|w| w == [0xfc, 0x0a, 0, 0])
        .unwrap();
    let mut flipped = whole.clone();
    flipped[at + 1] = 0x7f;
    assert!(refused(&flipped).contains("does not compile"));
    assert_eq!(rig.stats()["components"], 0);
}

#[test]
fn a21_a_flipped_bit_never_brings_the_engine_down() {
    let rig = Rig::new();
    let whole = binary(&guests::echo());
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..60 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut bytes = whole.clone();
        let at = seed as usize % bytes.len();
        bytes[at] ^= 1 << (seed >> 40 & 7);
        let reply = rig.try_load(&bytes, json!({}));
        assert!(
            matches!(reply.status, ATOLL_OK | ATOLL_COMPONENT),
            "{at}: {}",
            reply.text()
        );
    }
    let echo = rig.load(&whole, json!({}));
    assert_eq!(
        rig.call(echo.target("sum"), br#"{"a":1,"b":1}"#).text(),
        "2"
    );
}

#[test]
fn a21_unknown_imports_are_refused_all_of_them_named() {
    let rig = Rig::new();
    let reply = rig.try_load(&binary(&guests::unknown_imports()), json!({}));
    assert_eq!(reply.status, ATOLL_COMPONENT);
    assert_eq!(
        reply.json()["imports"],
        json!(["acme:store/items@1.0.0", "wasi:nn/graph@0.2.0"])
    );
    // A known interface with a function that it does not have.
    let wat = r#"(component (import "wasi:cli/environment@0.2.0"
        (instance (export "become-root" (func)))))"#;
    let reply = rig.try_load(&binary(wat), json!({}));
    assert_eq!(reply.status, ATOLL_COMPONENT);
    assert!(reply.text().contains("become-root"), "{}", reply.text());
}

#[test]
fn control_requests_that_are_broken_are_refused() {
    let rig = Rig::new();
    for (request, status) in [
        (json!({ "op": "fly" }), ATOLL_INVALID_ARGUMENT),
        (json!({ "op": "load", "blob": 1 }), ATOLL_INVALID_ARGUMENT),
        (
            json!({ "op": "load", "id": "x", "blob": 1, "limits": { "memory": 1 } }),
            ATOLL_INVALID_ARGUMENT,
        ),
        (
            json!({ "op": "load", "id": "x", "blob": 1, "limit": { "memoryBytes": 1 } }),
            ATOLL_INVALID_ARGUMENT,
        ),
        (
            json!({ "op": "load", "id": "x", "blob": 1, "grants": { "environment": {} } }),
            ATOLL_INVALID_ARGUMENT,
        ),
        (
            json!({ "op": "load", "id": "x", "blob": 4_000_000 }),
            ATOLL_NOT_FOUND,
        ),
        (json!({ "op": "unload", "component": 5 }), ATOLL_NOT_FOUND),
    ] {
        assert_eq!(rig.control(&request).status, status, "{request}");
    }
}

#[test]
fn unloading_waits_for_running_calls_and_refuses_new_ones() {
    let rig = Rig::new();
    let wait = rig.load_wat(&guests::wait(), json!({}));
    let target = handle(wait.target("wait"));
    let running = rig.start(target, br#"{"ns":60000000}"#, &Ask::default());
    let unload = json!({ "op": "unload", "component": wait.number() }).to_string();
    let ask = Ask {
        kind: ATOLL_KIND_CONTROL,
        ..Ask::default()
    };
    let unloading = rig.start(0, unload.as_bytes(), &ask);
    let late = rig.start(target, br#"{"ns":0}"#, &Ask::default());
    assert_eq!(
        late.wait().status,
        ATOLL_NOT_FOUND,
        "refused from the very start"
    );
    assert!(!unloading.replied());
    assert_eq!(unloading.wait().status, ATOLL_OK);
    assert!(
        running.replied(),
        "the reply to unload comes after those of its calls"
    );
    assert_eq!(running.wait().status, ATOLL_OK);
    assert_eq!(
        rig.start(target, br#"{"ns":0}"#, &Ask::default())
            .wait()
            .status,
        ATOLL_NOT_FOUND
    );
    assert_eq!(rig.stats()["components"], 0);
}

#[test]
fn a_configuration_that_is_broken_is_refused_with_words() {
    let refused = |config: Value| Rig::attach(&config).err().unwrap();
    let (status, text) = refused(json!({ "instances": "many" }));
    assert_eq!(status, ATOLL_INVALID_ARGUMENT);
    assert!(
        text.contains("instances") || text.contains("string"),
        "{text}"
    );
    assert!(refused(json!({ "workers": 1 })).1.contains("workers"));
}

/// Says "two of the one before" so many times over.
fn doubled(levels: usize) -> String {
    let nested: String = (1..=levels)
        .map(|level| {
            let below = level - 1;
            format!(
                "(component $c{level} (alias outer 1 $c{below} (component $c))
                   (instance (instantiate $c)) (instance (instantiate $c)))\n"
            )
        })
        .collect();
    format!("(component (component $c0) {nested} (instance (instantiate $c{levels})))")
}

#[test]
fn a21_a_component_that_doubles_itself_is_refused_before_anything_writes_it_out() {
    let rig = Rig::new();
    // Without a limit the first is compiled in a moment, and the second never.
    for levels in [11, 40] {
        let bytes = binary(&doubled(levels));
        assert!(bytes.len() < 5_000);
        let describe = json!({ "op": "describe", "blob": Rig::blob(&bytes) });
        for reply in [rig.try_load(&bytes, json!({})), rig.control(&describe)] {
            assert_eq!(reply.status, ATOLL_COMPONENT, "{}", reply.text());
            assert!(reply.text().contains("is too large"), "{}", reply.text());
        }
    }
    rig.load(&binary(&doubled(6)), json!({}));
}

#[test]
fn a21_answers_about_a_component_are_bounded() {
    let rig = Rig::new();
    let refused = |wat: &str, words: &str| {
        let reply = rig.try_load(&binary(wat), json!({}));
        assert_eq!(reply.status, ATOLL_COMPONENT, "{}", reply.text());
        assert!(reply.text().contains(words), "{}", reply.text());
        assert!(reply.bytes.len() < 1_000);
    };
    let exporting = |names: &[String]| {
        let functions: String = names
            .iter()
            .map(|name| format!(r#"(func (export "{name}") (canon lift (core func $i "f")))"#))
            .collect();
        format!(
            r#"(component (core module $m (func (export "f")))
                 (core instance $i (instantiate $m)) {functions})"#
        )
    };
    let many: Vec<String> = (0..1_001).map(|n| format!("f{n}")).collect();
    refused(&exporting(&many), "1001 functions");
    rig.load(&binary(&exporting(&many[..1_000])), json!({}));
    refused(&exporting(&["f".repeat(257)]), "257 bytes");
    rig.load(&binary(&exporting(&["f".repeat(256)])), json!({}));
    // A type without a name is written out wherever it is used: 2 MB here.
    let types: String = (1..=14)
        .map(|n| format!("(type $t{n} (tuple $t{0} $t{0}))\n", n - 1))
        .collect();
    let functions: String = (0..10)
        .map(|n| {
            format!(
                r#"(func (export "f{n}") (param "x" $t14)
                     (canon lift (core func $i "f") (memory (core memory $i "m"))
                       (realloc (core func $i "r"))))"#
            )
        })
        .collect();
    let wide = format!(
        r#"(component (type $t0 (tuple u8 u8)) {types}
             (core module $m (memory (export "m") 1) (func (export "f") (param i32))
               (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
             (core instance $i (instantiate $m)) {functions})"#
    );
    refused(&wide, "WIT is longer than");
    assert_eq!(rig.stats()["components"], 2);
}

/// Whether it is so at least once: on a busy machine something long may end before something short
/// has had its turn.
fn once(is_so: impl Fn(&Rig) -> bool) -> bool {
    (0..10).any(|_| is_so(&Rig::new()))
}

#[test]
fn components_compile_side_by_side() {
    assert!(once(compile_side_by_side), "the short one had to wait");
}

fn compile_side_by_side(rig: &Rig) -> bool {
    let ask = Ask {
        kind: ATOLL_KIND_CONTROL,
        ..Ask::default()
    };
    let long = binary(&host_guests::straight_handles(80_000));
    let load = json!({ "op": "load", "id": "long", "blob": Rig::blob(&long) });
    let long = rig.start(0, load.to_string().as_bytes(), &ask);
    let short = rig.load_wat(&guests::echo(), json!({}));
    assert_eq!(short.json["origin"], "compiled");
    let first = !long.replied();
    assert_eq!(long.wait().status, ATOLL_OK);
    first
}

#[test]
fn compilations_leave_threads_for_what_needs_none() {
    assert!(once(describe_beside_compilations), "it had to wait");
}

fn describe_beside_compilations(rig: &Rig) -> bool {
    let ask = Ask {
        kind: ATOLL_KIND_CONTROL,
        ..Ask::default()
    };
    let long = binary(&host_guests::straight_handles(80_000));
    let loads: Vec<_> = (0..5)
        .map(|_| {
            let load = json!({ "op": "load", "id": "long", "blob": Rig::blob(&long) });
            rig.start(0, load.to_string().as_bytes(), &ask)
        })
        .collect();
    // Until all threads are busy that may be; without a limit that is every one.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let short = binary(&guests::echo());
    let described = rig.control(&json!({ "op": "describe", "blob": Rig::blob(&short) }));
    assert_eq!(described.status, ATOLL_OK);
    let first = loads.iter().all(|load| !load.replied());
    for load in loads {
        assert_eq!(load.wait().status, ATOLL_OK);
    }
    first
}
