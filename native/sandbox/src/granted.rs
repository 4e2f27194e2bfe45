//! What a plugin's grants come to when it is loaded: folders opened, rules read.
//!
//! Owns: what is shared by all its stores. It must not know how a guest uses it.

use std::sync::Arc;

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
    pub fn open(grants: Grants) -> Result<Option<Arc<Granted>>, String> {
        if grants == Grants::default() {
            return Ok(None);
        }
        let folders = match grants.folders.is_empty() {
            true => None,
            false => Some(Arc::new(Folders::open(&grants.folders)?)),
        };
        let unreachable = grants.tcp.is_empty() && grants.udp.is_empty() && !grants.observe;
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
        Granted::open(grants).expect("opened")
    }

    #[test]
    fn nothing_granted_is_nothing_shared() {
        assert!(open(r#"{"env":{},"folders":[],"clocks":{"resolutionUs":1000}}"#).is_none());
        let one = open(r#"{"env":{"A":"b"}}"#).expect("something");
        assert_eq!(one.grants.env["A"], "b");
        assert!(one.folders.is_none() && one.network.is_none());
        assert!(open(r#"{"observe":true}"#).is_some_and(|g| g.network.is_some()));
    }
}
