//! What a plugin's grants come to when it is loaded: folders opened, rules read.
//!
//! Owns: what is shared by all its stores. It must not know how a guest uses it.

use std::sync::Arc;

use crate::config::Tasks;
use crate::folders::Folders;
use crate::grants::Grants;
use crate::sockets::Network;

/// What a plugin may reach.
pub struct Granted {
    /// As the operator wrote it.
    pub grants: Grants,
    /// None: no folder.
    pub folders: Option<Arc<Folders>>,
    /// None: nobody. Where the operator observes there is one that allows nothing, so that a guest
    /// comes as far as the address that it wants.
    pub network: Option<Arc<Network>>,
}

impl Granted {
    /// Opens what is granted; none where nothing is, so that a store of such a plugin has no count
    /// to keep. The error is a sentence.
    ///
    /// Files and sockets are counted by our own functions of WASI 0.2. Those of 0.3 are wasmtime's,
    /// and what one of the two has opened the other can use: neither is granted to a guest of 0.3.
    pub fn open(grants: Grants, tasks: Tasks) -> Result<Option<Arc<Granted>>, String> {
        if grants == Grants::default() {
            return Ok(None);
        }
        let uncounted = tasks == Tasks::Many;
        let uses = [
            ("folders", grants.folders.is_empty()),
            ("tcp", grants.tcp.is_empty()),
            ("udp", grants.udp.is_empty()),
        ];
        if uncounted && let Some((key, _)) = uses.iter().find(|(_, none)| !none) {
            return Err(format!(
                "grants.{key} is for components of WASI 0.2 so far, and this one uses 0.3: take it out"
            ));
        }
        let folders = match grants.folders.is_empty() {
            true => None,
            false => Some(Arc::new(Folders::open(&grants.folders)?)),
        };
        let unreachable =
            uncounted || (grants.tcp.is_empty() && grants.udp.is_empty() && !grants.observe);
        let network = match unreachable {
            true => None,
            false => Some(Arc::new(Network::read(&grants)?)),
        };
        Ok(Some(Arc::new(Granted {
            grants,
            folders,
            network,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(json: &str) -> Option<Arc<Granted>> {
        let grants = serde_json::from_str(json).expect("grants");
        Granted::open(grants, Tasks::One).expect("opened")
    }

    #[test]
    fn nothing_granted_is_nothing_shared() {
        assert!(open(r#"{"env":{},"folders":[],"clocks":{"resolutionUs":1000}}"#).is_none());
        let one = open(r#"{"env":{"A":"b"}}"#).expect("something");
        assert_eq!(one.grants.env["A"], "b");
        assert!(one.folders.is_none() && one.network.is_none());
        assert!(open(r#"{"observe":true}"#).is_some_and(|g| g.network.is_some()));
    }

    #[test]
    fn what_cannot_be_counted_is_not_granted() {
        for json in [
            r#"{"folders":[{"path":"/","at":"/"}]}"#,
            r#"{"tcp":[{"host":"192.0.2.1","port":1}]}"#,
            r#"{"udp":[{"host":"192.0.2.1","port":1}]}"#,
        ] {
            let grants = serde_json::from_str(json).expect("grants");
            let refused = Granted::open(grants, Tasks::Many).err().expect("refused");
            assert!(refused.contains("WASI 0.2 so far"), "{refused}");
        }
        let grants = serde_json::from_str(r#"{"observe":true}"#).expect("grants");
        let observed = Granted::open(grants, Tasks::Many).expect("opened");
        assert!(observed.is_some_and(|g| g.network.is_none()));
    }
}
