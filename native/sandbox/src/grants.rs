//! What the operator has granted to a plugin.
//!
//! Owns: the grants' JSON keys (the same as in `src/core/grants.ts`). Absent is denied. It must not
//! know how a grant reaches the guest.

use std::collections::BTreeMap;
use std::fmt;

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
    /// Folders of the host.
    pub folders: Vec<Folder>,
    /// Whom it may reach by TCP, and where it may be reached.
    pub tcp: Vec<SocketRule>,
    /// The same by UDP.
    pub udp: Vec<SocketRule>,
    /// What its clocks show.
    pub clocks: Clocks,
    /// None: every call has randomness of its own.
    pub random: Option<Seed>,
    /// Requests that it may send.
    pub http: Vec<HttpRule>,
    /// Secrets by the name of the variable in which the guest finds what stands for them.
    #[rkyv(with = AsVec)]
    pub secrets: BTreeMap<String, Secret>,
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

/// Requests of one kind.
#[derive(Archive, Clone, Debug, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRule {
    /// `api.example.com`, `*.example.com`, `*` or an address.
    pub host: String,
    /// `https` or `http`.
    #[serde(default = "https")]
    pub scheme: String,
    /// None: the scheme's own.
    #[serde(default)]
    pub port: Option<u16>,
    /// None: any.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// `/v1/*`; none: any.
    #[serde(default)]
    pub path: Option<String>,
    /// Also to addresses of this host and its network.
    #[serde(default)]
    pub private: bool,
    /// How long connecting, the first byte and each pause may take, in milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// The largest body of a request.
    #[serde(default)]
    pub request_bytes: Option<u64>,
    /// The largest body of a response.
    #[serde(default)]
    pub response_bytes: Option<u64>,
}

fn https() -> String {
    "https".into()
}

/// A secret and where it may be sent.
#[derive(Archive, Clone, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    /// What it is.
    pub value: String,
    /// Hosts as in a rule.
    pub hosts: Vec<String>,
}

/// Without its value.
impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Secret")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// A folder of the host that the guest finds at a path of its own.
#[derive(Archive, Clone, Debug, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Folder {
    /// Where it is; absolute.
    pub path: String,
    /// Where the guest finds it.
    pub at: String,
    /// Whether the guest may change what is in it.
    #[serde(default)]
    pub write: bool,
    /// The most that it may hold, in bytes, where the guest may write.
    #[serde(default = "folder_bytes")]
    pub bytes: u64,
}

fn folder_bytes() -> u64 {
    64 * 1024 * 1024
}

/// Addresses of one protocol.
#[derive(Archive, Clone, Debug, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SocketRule {
    /// `db.example.com`, `*.example.com`, `10.0.0.5` or `10.0.0.0/8`.
    pub host: String,
    /// Which ports.
    pub port: Ports,
    /// The guest may be reached there; else it may reach it.
    #[serde(default)]
    pub listen: bool,
}

/// Ports from one to another; as JSON a number or two of them.
#[derive(
    Archive, Clone, Copy, Debug, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize,
)]
#[serde(from = "WrittenPorts")]
pub struct Ports {
    /// The first one.
    pub first: u16,
    /// The last one.
    pub last: u16,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenPorts {
    One(u16),
    Range(u16, u16),
}

impl From<WrittenPorts> for Ports {
    fn from(written: WrittenPorts) -> Ports {
        let (first, last) = match written {
            WrittenPorts::One(port) => (port, port),
            WrittenPorts::Range(first, last) => (first, last),
        };
        Ports { first, last }
    }
}

/// How finely time is told.
#[derive(Archive, Clone, Debug, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Clocks {
    /// Microseconds from one reading to the next; 0 is as 1.
    pub resolution_us: u64,
}

impl Default for Clocks {
    fn default() -> Clocks {
        Clocks {
            resolution_us: 1_000,
        }
    }
}

/// What all calls' randomness is made of.
#[derive(Archive, Clone, Debug, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seed {
    /// Any number.
    pub seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_as_they_are_written() {
        let json = r#"{"folders":[{"path":"/a","at":"/b"},{"path":"/c","at":"/d","write":true,"bytes":7}],
            "tcp":[{"host":"a.org","port":5},{"host":"127.0.0.1","port":[6,7],"listen":true}],
            "clocks":{"resolutionUs":1},"random":{"seed":9}}"#;
        let grants: Grants = serde_json::from_str(json).expect("grants");
        assert_eq!(grants.folders[0].bytes, 64 * 1024 * 1024);
        assert!(!grants.folders[0].write && grants.folders[1].write);
        assert_eq!(grants.folders[1].bytes, 7);
        assert_eq!(grants.tcp[0].port, Ports { first: 5, last: 5 });
        assert_eq!(grants.tcp[1].port, Ports { first: 6, last: 7 });
        assert!(!grants.tcp[0].listen && grants.tcp[1].listen && grants.udp.is_empty());
        assert_eq!(grants.clocks.resolution_us, 1);
        assert_eq!(grants.random, Some(Seed { seed: 9 }));
        assert_eq!(Grants::default().clocks.resolution_us, 1_000);
    }

    #[test]
    fn an_unknown_grant_is_refused() {
        assert!(serde_json::from_str::<Grants>(r#"{"files":[]}"#).is_err());
    }
}
