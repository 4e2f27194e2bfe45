//! Accounts of what was asked for, and the grant that would allow just that.
//!
//! Owns: their words. It must not know who decides.

use std::net::IpAddr;

use http::Method;
use serde_json::{Map, Value, json};

use super::secrets::Unbound;
use super::uri::{Host, Target, standard_port};
use crate::access::Access;
use crate::address::{Reach, reach};

/// What was asked for.
pub struct Asked {
    capability: &'static str,
    what: String,
    allowed: bool,
    grant: Value,
}

impl Asked {
    /// A request.
    pub fn request(method: &Method, target: &Target, allowed: bool) -> Asked {
        Asked {
            capability: "http",
            what: format!("{method} {target}"),
            allowed,
            grant: json!({ "http": [rule_for(method, target)] }),
        }
    }

    /// A request to an address that its rule does not open.
    pub fn address(method: &Method, target: &Target, address: IpAddr) -> Asked {
        let mut rule = rule_for(method, target);
        match reach(address) {
            // A name never opens these: only a rule for the address itself does.
            Reach::Special => rule.insert("host".into(), Host::Address(address).to_string().into()),
            _ => rule.insert("private".into(), true.into()),
        };
        Asked {
            capability: "http",
            what: format!("{method} {target} at {address}"),
            allowed: false,
            grant: json!({ "http": [rule] }),
        }
    }

    /// A secret on its way to where it may not go.
    pub fn secret(unbound: &Unbound, target: &Target) -> Asked {
        let (name, host) = (&unbound.name, target.host.to_string());
        let (what, grant) = match unbound.in_clear {
            true => (
                format!("{name} to {host} without TLS"),
                json!({ "http": [{ "scheme": "http", "host": host, "private": true }] }),
            ),
            false => (
                format!("{name} to {host}"),
                json!({ "secrets": { name: { "hosts": [host] } } }),
            ),
        };
        Asked {
            capability: "secrets",
            what,
            allowed: false,
            grant,
        }
    }

    /// As it is told.
    pub fn access(&self) -> Access<'_> {
        Access {
            capability: self.capability,
            asked: &self.what,
            allowed: self.allowed,
            grant: self.grant.clone(),
        }
    }
}

/// The rule that would allow just this request.
fn rule_for(method: &Method, target: &Target) -> Map<String, Value> {
    let mut rule = Map::new();
    rule.insert("scheme".into(), target.scheme().into());
    rule.insert("host".into(), target.host.to_string().into());
    if target.port != standard_port(target.tls) {
        rule.insert("port".into(), target.port.into());
    }
    rule.insert("methods".into(), json!([method.as_str()]));
    rule.insert("path".into(), target.path.as_str().into());
    rule
}
