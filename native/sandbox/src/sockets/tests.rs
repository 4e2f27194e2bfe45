//! Which address a socket may be used with, by the rules of a plugin.

use std::sync::Arc;

use serde_json::{Value, json};
use wasmtime_wasi::sockets::SocketAddrUse;

use super::{Network, Sockets};
use crate::grants::SocketRule;
use crate::told::Teller;

fn rules(written: Value) -> Vec<SocketRule> {
    serde_json::from_value(written).expect("rules")
}

fn by_udp(written: Value) -> Sockets {
    let grants = crate::grants::Grants {
        udp: rules(written),
        ..Default::default()
    };
    let network = Arc::new(Network::read(&grants).expect("rules"));
    Sockets::new(&network, Teller::new(None))
}

fn allows(sockets: &Sockets, address: &str, usage: SocketAddrUse) -> bool {
    sockets.allows(address.parse().expect("an address"), usage)
}

#[test]
fn a_rule_that_listens_at_one_address_hears_at_no_other() {
    let one = by_udp(json!([
        { "host": "127.0.0.1", "port": 5999, "listen": true },
        { "host": "127.0.0.2", "port": 53 },
    ]));
    for elsewhere in [
        "0.0.0.0:0",
        "[::]:0",
        "0.0.0.0:5999",
        "127.0.0.1:0",
        "127.0.0.2:53",
    ] {
        assert!(
            !allows(&one, elsewhere, SocketAddrUse::UdpBind),
            "{elsewhere}"
        );
    }
    assert!(allows(&one, "127.0.0.1:5999", SocketAddrUse::UdpBind));
    assert!(allows(&one, "10.9.8.7:1", SocketAddrUse::UdpReceive));
    assert!(allows(&one, "127.0.0.2:53", SocketAddrUse::UdpSend));

    let every = by_udp(json!([{ "host": "0.0.0.0", "port": 0, "listen": true }]));
    assert!(allows(&every, "0.0.0.0:0", SocketAddrUse::UdpBind));
    assert!(!allows(&every, "[::]:0", SocketAddrUse::UdpBind));
}

#[test]
fn without_a_rule_that_listens_only_those_are_heard_who_may_be_reached() {
    let none = by_udp(json!([{ "host": "127.0.0.2", "port": 53 }]));
    assert!(allows(&none, "0.0.0.0:0", SocketAddrUse::UdpBind));
    assert!(allows(&none, "127.0.0.2:53", SocketAddrUse::UdpReceive));
    for other in ["127.0.0.2:54", "127.0.0.3:53"] {
        assert!(!allows(&none, other, SocketAddrUse::UdpReceive), "{other}");
    }
}
