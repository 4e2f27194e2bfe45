//! Secrets: what the guest has in place of them, and where their values are put in.
//!
//! Owns: the placeholders and their replacement in the fields of a request. A value is in the host's
//! memory and in requests to the hosts it is bound to, and never in the guest's. It must not know how
//! a request is sent.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use http::{HeaderMap, HeaderValue};

use super::rules::HostPattern;
use super::uri::{Host, Target};
use crate::grants::Secret;

/// What every placeholder begins with.
const PREFIX: &str = "atoll-secret:";

/// Random bytes in a placeholder: none of another load is ever taken for it.
const RANDOM_BYTES: usize = 16;

/// The secrets of a plugin, those with the longest values first.
pub struct Secrets(Vec<Bound>);

struct Bound {
    name: String,
    placeholder: String,
    value: HeaderValue,
    hosts: Vec<HostPattern>,
}

/// A secret that does not go where the guest sends it.
#[derive(Debug, PartialEq, Eq)]
pub struct Unbound {
    /// Its name.
    pub name: String,
    /// It is bound to the host, but the way there can be read by others.
    pub in_clear: bool,
}

impl Secrets {
    /// With placeholders of their own. The error is a sentence, without a value.
    pub fn new(granted: &BTreeMap<String, Secret>) -> Result<Secrets, String> {
        let bound = granted.iter().map(|(name, secret)| {
            let value = HeaderValue::from_str(&secret.value);
            let mut value = value
                .map_err(|_| format!("the secret {name} has a character that no field may have"))?;
            if value.is_empty() {
                return Err(format!("the secret {name} is empty"));
            }
            value.set_sensitive(true);
            let host = |text: &String| {
                HostPattern::parse(text)
                    .ok_or_else(|| format!("\"{text}\" is no host of the secret {name}"))
            };
            Ok(Bound {
                name: name.clone(),
                placeholder: format!("{PREFIX}{name}:{}", random()?),
                value,
                hosts: secret.hosts.iter().map(host).collect::<Result<_, _>>()?,
            })
        });
        let mut bound = bound.collect::<Result<Vec<Bound>, String>>()?;
        // A value that is the beginning of another one does not hide it.
        bound.sort_by_key(|bound| Reverse(bound.value.len()));
        Ok(Secrets(bound))
    }

    /// Variables of the guest: names and placeholders.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|bound| (bound.name.as_str(), bound.placeholder.as_str()))
    }

    /// Puts values in the place of placeholders. `open`: the rule vouches for a way without TLS.
    pub fn put_in(
        &self,
        fields: &mut HeaderMap,
        target: &Target,
        open: bool,
    ) -> Result<(), Unbound> {
        if self.0.is_empty() {
            return Ok(());
        }
        for field in fields.values_mut() {
            if find(field.as_bytes(), PREFIX.as_bytes()).is_none() {
                continue;
            }
            for bound in &self.0 {
                bound.put_in(field, target, open)?;
            }
        }
        Ok(())
    }

    /// Puts placeholders in the place of values: a server that sends one back gives nothing away.
    pub fn take_out(&self, fields: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        for field in fields.values_mut() {
            if let Some(value) = self.without_values(field.as_bytes()) {
                *field = value;
            }
        }
    }

    /// The same text with placeholders; none: it has no value.
    fn without_values(&self, bytes: &[u8]) -> Option<HeaderValue> {
        let mut text = Vec::new();
        let (mut rest, mut found) = (bytes, false);
        while let [first, tail @ ..] = rest {
            let begins = |bound: &&Bound| rest.starts_with(bound.value.as_bytes());
            match self.0.iter().find(begins) {
                Some(bound) => {
                    found = true;
                    text.extend_from_slice(bound.placeholder.as_bytes());
                    rest = &rest[bound.value.len()..];
                }
                None => {
                    text.push(*first);
                    rest = tail;
                }
            }
        }
        // Text and placeholders are both what a field may have.
        found.then(|| HeaderValue::from_bytes(&text).ok()).flatten()
    }
}

impl Bound {
    fn put_in(&self, field: &mut HeaderValue, target: &Target, open: bool) -> Result<(), Unbound> {
        let placeholder = self.placeholder.as_bytes();
        let mut text = Vec::new();
        let mut rest = field.as_bytes();
        while let Some(at) = find(rest, placeholder) {
            if !self.is_for(&target.host) || !(target.tls || open) {
                return Err(Unbound {
                    name: self.name.clone(),
                    in_clear: self.is_for(&target.host),
                });
            }
            text.extend_from_slice(&rest[..at]);
            text.extend_from_slice(self.value.as_bytes());
            rest = &rest[at + placeholder.len()..];
        }
        if text.is_empty() {
            return Ok(());
        }
        text.extend_from_slice(rest);
        // Both were values of a field, and so is what they make together.
        if let Ok(mut value) = HeaderValue::from_bytes(&text) {
            value.set_sensitive(true);
            *field = value;
        }
        Ok(())
    }

    fn is_for(&self, host: &Host) -> bool {
        self.hosts.iter().any(|pattern| pattern.fits(host))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn random() -> Result<String, String> {
    let mut bytes = [0; RANDOM_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| format!("no randomness for a secret's placeholder: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "s3cr3t-value";

    fn secrets() -> Secrets {
        let json = format!(
            r#"{{"TOKEN":{{"value":"{VALUE}","hosts":["api.example.com","*.b.example"]}},
                "OTHER":{{"value":"atoll-secret:TOKEN:","hosts":["*"]}}}}"#
        );
        Secrets::new(&serde_json::from_str(&json).expect("secrets")).expect("secrets")
    }

    fn placeholder(secrets: &Secrets, name: &str) -> String {
        let mut variables = secrets.variables();
        let (_, placeholder) = variables.find(|(n, _)| *n == name).expect("a variable");
        placeholder.to_owned()
    }

    fn sent(secrets: &Secrets, value: &str, uri: &str, open: bool) -> Result<String, Unbound> {
        let target = Target::of(&uri.parse().expect("a URI")).expect("a target");
        let mut fields = HeaderMap::new();
        fields.insert("authorization", value.parse().expect("a value"));
        secrets.put_in(&mut fields, &target, open)?;
        let field = &fields["authorization"];
        assert!(field.is_sensitive() || field == value);
        Ok(field.to_str().expect("text").to_owned())
    }

    #[test]
    fn a_value_goes_to_the_hosts_it_is_bound_to() {
        let secrets = secrets();
        let token = placeholder(&secrets, "TOKEN");
        let bearer = format!("Bearer {token}, again {token}");
        let expected = format!("Bearer {VALUE}, again {VALUE}");
        for uri in ["https://api.example.com/x", "https://a.b.example:8443/"] {
            assert_eq!(sent(&secrets, &bearer, uri, false), Ok(expected.clone()));
        }
        for (uri, in_clear) in [
            ("https://evil.example/", false),
            ("https://api.example.com.evil.example/", false),
            ("https://b.example/", false),
            ("http://api.example.com/", true),
        ] {
            let name = "TOKEN".to_owned();
            let refused = Err(Unbound { name, in_clear });
            assert_eq!(sent(&secrets, &bearer, uri, false), refused, "{uri}");
        }
        let open = sent(&secrets, &bearer, "http://api.example.com/", true);
        assert_eq!(open, Ok(expected));
    }

    #[test]
    fn a_value_that_is_sent_back_is_a_placeholder_again() {
        let json = r#"{"A":{"value":"long-secret","hosts":[]},
                       "B":{"value":"long-secret-2","hosts":[]}}"#;
        let secrets = Secrets::new(&serde_json::from_str(json).expect("secrets"));
        let secrets = secrets.expect("secrets");
        let (a, b) = (placeholder(&secrets, "A"), placeholder(&secrets, "B"));
        let mut fields = HeaderMap::new();
        fields.append(
            "x",
            "long-secret-2, long-secret-3".parse().expect("a value"),
        );
        fields.append("x", "long-secre".parse().expect("a value"));
        fields.append(
            "y",
            HeaderValue::from_bytes(b"\xfflong-secret").expect("a value"),
        );
        secrets.take_out(&mut fields);
        let all: Vec<&[u8]> = fields.get_all("x").iter().map(|v| v.as_bytes()).collect();
        assert_eq!(all, [format!("{b}, {a}-3").as_bytes(), b"long-secre"]);
        assert_eq!(fields["y"].as_bytes(), [b"\xff", a.as_bytes()].concat());
    }

    #[test]
    fn what_is_no_placeholder_of_this_load_is_only_text() {
        let (secrets, others) = (secrets(), secrets_again());
        assert_ne!(placeholder(&secrets, "TOKEN"), others);
        for text in [others.as_str(), "atoll-secret:TOKEN:", "atoll-secret:", "x"] {
            let same = sent(&secrets, text, "https://evil.example/", false);
            assert_eq!(same, Ok(text.to_owned()));
        }
    }

    fn secrets_again() -> String {
        placeholder(&secrets(), "TOKEN")
    }

    #[test]
    fn an_empty_value_is_refused() {
        let json = r#"{"T":{"value":"","hosts":[]}}"#;
        let secrets = Secrets::new(&serde_json::from_str(json).expect("secrets"));
        assert_eq!(secrets.err().as_deref(), Some("the secret T is empty"));
    }

    #[test]
    fn a_value_that_no_field_may_have_is_refused_without_being_told() {
        let json = r#"{"T":{"value":"one\r\ntwo","hosts":[]}}"#;
        let error = Secrets::new(&serde_json::from_str(json).expect("secrets")).err();
        let error = error.expect("an error");
        assert!(
            error.contains("secret T") && !error.contains("two"),
            "{error}"
        );
        let secret: BTreeMap<String, Secret> = serde_json::from_str(json).expect("secrets");
        assert!(!format!("{secret:?}").contains("two"));
    }
}
