//! `wasi:keyvalue`: namespaces that a plugin is granted, kept in a SQLite file.
//!
//! Owns: what bounds keys, values and calls, and which namespaces a plugin has. It must not know how
//! they are stored (`database`, `entries`), on which thread (`storage`), nor the interfaces
//! (`interfaces`, `cas`).

mod cas;
mod database;
mod entries;
mod interfaces;
mod storage;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::grants::KeyvalueGrant;

pub use interfaces::{View, link};
pub use storage::{Storage, Stores};

/// Most bytes of a key: a longer one has pages of its own in the index, which its quota cannot count.
pub const KEY_BYTES_MAX: usize = 900;

/// Most bytes of a value, and of all values of a batch. A guest hands the host no more in one call.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;

/// Most keys of a batch, and of a page of a list: their bytes are no more than a value may have.
pub const KEYS_MAX: usize = 256;

/// Most operations of one call; each key of a batch is one.
const OPERATIONS_MAX: u32 = 10_000;

/// The namespace that a bucket without a name stands for.
const DEFAULT: &str = "default";

/// Longest name of a namespace, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Where entries are: of two spaces that differ in anything, neither sees the other's.
#[derive(Debug, PartialEq, Eq)]
pub struct Space {
    /// Whose it is; none: it is shared by all that are granted it so.
    pub plugin: Option<String>,
    /// Its name.
    pub name: String,
    /// Most bytes of all its entries.
    pub bytes_max: u64,
}

impl Space {
    /// Its grant, as it is written.
    fn granted(&self) -> Value {
        json!({ "name": self.name, "bytes": self.bytes_max, "shared": self.plugin.is_none() })
    }
}

/// Why an operation was not done, in words for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

/// The namespaces of a plugin, and what keeps them.
pub struct Granted {
    storage: Arc<Storage>,
    spaces: Vec<Arc<Space>>,
}

impl Granted {
    /// Those that are granted to a plugin of that name.
    pub fn new(plugin: &str, grants: &[KeyvalueGrant], storage: Arc<Storage>) -> Granted {
        let space = |grant: &KeyvalueGrant| {
            Arc::new(Space {
                plugin: (!grant.shared).then(|| plugin.to_owned()),
                name: grant.name.clone(),
                bytes_max: grant.bytes,
            })
        };
        Granted {
            storage,
            spaces: grants.iter().map(space).collect(),
        }
    }

    fn space(&self, name: &str) -> Option<&Arc<Space>> {
        self.spaces.iter().find(|space| space.name == name)
    }
}

/// What the guests of a store may do with namespaces.
pub struct Session {
    granted: Option<Arc<Granted>>,
    operations: u32,
}

impl Session {
    /// None granted: each bucket is denied.
    pub fn new(granted: Option<Arc<Granted>>) -> Session {
        Session {
            granted,
            operations: 0,
        }
    }

    /// Another call begins.
    pub fn renew(&mut self) {
        self.operations = 0;
    }

    fn count(&mut self, operations: usize) -> Result<(), Failure> {
        let more = u32::try_from(operations).unwrap_or(u32::MAX);
        self.operations = self.operations.saturating_add(more.max(1));
        if self.operations > OPERATIONS_MAX {
            return Err(Failure(format!(
                "a call has at most {OPERATIONS_MAX} key-value operations"
            )));
        }
        Ok(())
    }
}

/// The name of a namespace; none: no namespace can have such a name.
fn namespace(identifier: &str) -> Option<&str> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    match identifier {
        "" => Some(DEFAULT),
        name if name.len() <= NAME_BYTES_MAX && name.bytes().all(plain) => Some(name),
        _ => None,
    }
}
