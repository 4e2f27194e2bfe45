//! Accounts of what was asked for, and the grant that would allow just that.
//!
//! Owns: their words. It must not know who decides.

use std::net::IpAddr;

use http::Method;
use serde_json::{Map, Value, json};

use super::rules::Rule;
use super::secrets::Unbound;
use super::uri::{Host, Target, standard_port};
use crate::access::Access;
use crate::address::{Reach, reach};
use crate::grants::HttpRule;

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

/// Longest path of a rule, as the configuration has it.
const RULE_PATH_MAX: usize = 512;

/// The rule that would allow just this request; for any path where no pattern means just this one.
fn rule_for(method: &Method, target: &Target) -> Map<String, Value> {
    let mut rule = Map::new();
    rule.insert("scheme".into(), target.scheme().into());
    rule.insert("host".into(), target.host.to_string().into());
    if target.port != standard_port(target.tls) {
        rule.insert("port".into(), target.port.into());
    }
    rule.insert("methods".into(), json!([method.as_str()]));
    let any_path = rule.clone();
    rule.insert("path".into(), target.path.as_str().into());
    match is_for_its_path(&rule, method, target) {
        true => rule,
        false => any_path,
    }
}

/// Whether a rule that was made for a request is one, allows it, and allows no other path.
fn is_for_its_path(rule: &Map<String, Value>, method: &Method, target: &Target) -> bool {
    if target.path.len() > RULE_PATH_MAX || target.path.split('/').any(|s| s == "*") {
        return false;
    }
    let terms = serde_json::from_value::<HttpRule>(Value::Object(rule.clone()));
    let rule = terms.ok().and_then(|terms| Rule::new(&terms).ok());
    rule.is_some_and(|rule| rule.fits(method, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_that_is_told_allows_its_request_and_no_other_path() {
        let long = format!("/{}", "a".repeat(512));
        for (path, told) in [
            ("/", true),
            ("/v1/a?x", true),
            // A server that decodes it has another path than the rule.
            ("/v1/a%20b", false),
            ("/v1/a;b", false),
            ("/v1/*", false),
            ("/v1/*/b", false),
            ("/v1/a*b", false),
            ("/v1/group%2Fproject", false),
            ("/v1/..%2Fadmin", false),
            (&long[..512], true),
            (&long, false),
        ] {
            let uri = format!("http://a.example:81{path}").parse().expect(path);
            let target = Target::of(&uri).expect(path);
            let asked = Asked::request(&Method::GET, &target, false);
            let rule = &asked.grant["http"][0];
            let expected = told.then(|| target.path.clone());
            assert_eq!(rule["path"].as_str(), expected.as_deref(), "{path}");
            let terms: HttpRule = serde_json::from_value(rule.clone()).expect("a rule");
            let rule = Rule::new(&terms).expect("a rule");
            assert!(rule.fits(&Method::GET, &target), "{path}");
            assert!(!rule.fits(&Method::POST, &target), "{path}");
        }
    }
}
