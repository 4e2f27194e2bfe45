//! What the operator has granted to a plugin.
//!
//! Owns: the grants' JSON keys (the same as in `src/core/grants.ts`). Absent is denied. It must not
//! know how a grant reaches the guest.

use std::collections::BTreeMap;
use std::sync::Arc;

use rkyv::Archive;
use rkyv::with::AsVec;
use serde::Deserialize;

/// Grants of one plugin.
#[derive(
    Archive, Clone, Debug, Default, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize,
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Grants {
    /// Variables that the guest sees, with their values; of the host's own it sees none.
    #[rkyv(with = AsVec)]
    pub env: BTreeMap<String, String>,
    /// Namespaces of `wasi:keyvalue`.
    pub keyvalue: Vec<KeyvalueGrant>,
    /// What the plugin reads by `wasi:config`: its own configuration, which gives no power.
    #[rkyv(with = AsVec)]
    pub config: BTreeMap<String, String>,
    /// Accounts are given of what is allowed, too; grants nothing.
    pub observe: bool,
}

/// A namespace that a plugin may use.
#[derive(Archive, Clone, Debug, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyvalueGrant {
    /// Its name.
    pub name: String,
    /// Most bytes of all its entries.
    pub bytes: u64,
    /// Whether it is the same one for all plugins that are granted it so.
    #[serde(default)]
    pub shared: bool,
}

impl Grants {
    /// Shared by the plugin's stores; none where nothing is granted, so that a store of such a plugin
    /// has no count to keep.
    pub fn shared(self) -> Option<Arc<Grants>> {
        (self != Grants::default()).then(|| Arc::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_granted_is_nothing_shared() {
        let none: Grants = serde_json::from_str(r#"{"env":{}}"#).expect("grants");
        assert_eq!(none.shared(), None);
        let one: Grants = serde_json::from_str(r#"{"env":{"A":"b"}}"#).expect("grants");
        assert_eq!(one.shared().map(|g| g.env["A"].clone()), Some("b".into()));
    }

    #[test]
    fn an_unknown_grant_is_refused() {
        assert!(serde_json::from_str::<Grants>(r#"{"files":[]}"#).is_err());
    }
}
