//! What a CONTROL request is: as JSON, and as an archive of rkyv from a peer in Rust.
//!
//! Owns: both forms of each request. An archive is validated by bytecheck before anything of it is
//! used, then read where it lies. It must not know what a request does.

use std::fmt;

use rkyv::rancor::Error;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Serialize};

use crate::grants::Grants;
use crate::isolation::Isolation;
use crate::limits::Limits;

/// The version of the archives that are written and read here. An archive does not describe itself:
/// whoever changes a request, `Limits`, `Isolation` or `Grants`, counts this up.
pub const ARCHIVE_VERSION: u32 = 1;

/// Before an archive: its version as a little-endian u32, then four bytes that are zero and not
/// looked at: what follows is as aligned as the payload.
const PREFIX_BYTES: usize = 8;

/// A CONTROL request; JSON names it by `op`.
#[derive(
    Archive, Serialize, rkyv::Deserialize, serde::Deserialize, Clone, Debug, PartialEq, Eq,
)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
// There is one at a time, on its way to where it is taken apart.
#[allow(clippy::large_enum_variant)]
pub enum Request {
    /// Compiles a component, or takes it from the cache.
    Load {
        /// For messages.
        id: String,
        /// The component's bytes, by `atoll_blob_put`.
        blob: u32,
        /// What one call may use.
        #[serde(default)]
        limits: Limits,
        /// How long an instance lives.
        #[serde(default)]
        isolation: Isolation,
        /// What the component may reach.
        #[serde(default)]
        grants: Grants,
    },
    /// Says what a component exports.
    Describe {
        /// The component's bytes.
        blob: u32,
    },
    /// Refuses new calls, waits for running ones, releases the code.
    Unload {
        /// Number of a loaded component.
        component: u32,
    },
    /// Makes an instance that is kept.
    Instantiate {
        /// Number of a loaded component.
        component: u32,
    },
    /// Drops such an instance.
    DropInstance {
        /// Its number.
        instance: u32,
    },
    /// Changes what one call may use: all of it, what is left out has its default.
    Limits {
        /// Number of a loaded component.
        component: u32,
        /// From now on.
        limits: Limits,
    },
    /// Counters of the engine.
    Stats,
    /// The targets of a component's functions for a key, whose instances are its own.
    Isolate {
        /// Number of a loaded component.
        component: u32,
        /// For whom the calls are.
        key: String,
    },
}

/// Why a payload is no archive of a request.
#[derive(Debug)]
pub enum NoArchive {
    /// It ends before its version does.
    Short,
    /// It is of another version.
    Version(u32),
    /// bytecheck refuses it.
    Broken(Error),
}

impl fmt::Display for NoArchive {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoArchive::Short => {
                write!(to, "an archive begins with {PREFIX_BYTES} bytes of version")
            }
            NoArchive::Version(found) => write!(
                to,
                "its archive has version {found}, supported is {ARCHIVE_VERSION}"
            ),
            NoArchive::Broken(error) => error.fmt(to),
        }
    }
}

/// The payload of a frame with the encoding `ATOLL_FLAG_RKYV`.
pub fn archive(request: &Request) -> Result<AlignedVec, Error> {
    let mut bytes = AlignedVec::new();
    bytes.extend_from_slice(&u64::from(ARCHIVE_VERSION).to_le_bytes());
    rkyv::api::high::to_bytes_in(request, bytes)
}

/// Reads such a payload in place; nobody may write it meanwhile.
pub fn read(payload: &[u8]) -> Result<&ArchivedRequest, NoArchive> {
    let Some((prefix, archive)) = payload.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(NoArchive::Short);
    };
    let [version @ .., _, _, _, _] = *prefix;
    match u32::from_le_bytes(version) {
        ARCHIVE_VERSION => {}
        other => return Err(NoArchive::Version(other)),
    }
    rkyv::access::<ArchivedRequest, Error>(archive).map_err(NoArchive::Broken)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::num::NonZeroU32;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::grants::{Clocks, Folder, HttpRule, KeyvalueGrant, Ports, Secret, Seed, SocketRule};

    fn written(request: &Request) -> AlignedVec {
        archive(request).expect("an archive")
    }

    fn ports(first: u16, last: u16, listen: bool) -> SocketRule {
        SocketRule {
            host: "some-host.example.com".into(),
            port: Ports { first, last },
            listen,
        }
    }

    fn grants() -> Grants {
        let env = [
            ("LANG", "de_DE"),
            ("TOKEN", "longer than what is stored inline"),
        ];
        let rule = HttpRule {
            host: "*.example.com".into(),
            scheme: "http".into(),
            port: Some(8080),
            methods: Some(vec!["GET".into()]),
            path: Some("/v1/*".into()),
            private: true,
            timeout_ms: Some(0x1111),
            request_bytes: Some(0x2222),
            response_bytes: Some(0x3333),
        };
        let secret = Secret {
            value: "a value that is too long to be stored inline".into(),
            hosts: vec!["api.example.com".into()],
        };
        Grants {
            env: env.map(|(name, value)| (name.into(), value.into())).into(),
            keyvalue: vec![KeyvalueGrant {
                name: "notes".into(),
                bytes: 0x0102_0304_0506,
                shared: true,
            }],
            config: [("greeting".into(), "hello".into())].into(),
            folders: vec![Folder {
                path: "/somewhere/on/the/host".into(),
                at: "/data".into(),
                write: true,
                bytes: 0x0b0b_0c0c,
            }],
            tcp: vec![ports(5432, 5433, false)],
            udp: vec![ports(53, 53, true)],
            clocks: Clocks { resolution_us: 77 },
            random: Some(Seed {
                seed: 0x0c0d_0e0f_1011,
            }),
            observe: true,
            http: vec![rule],
            secrets: [("TOKEN".to_owned(), secret)].into(),
        }
    }

    #[test]
    fn a_request_is_read_where_it_lies() {
        let bytes = written(&Request::Load {
            id: "a name that is too long to be stored inline".into(),
            blob: 7,
            limits: Limits::default(),
            isolation: Isolation::default(),
            grants: Grants::default(),
        });
        let ArchivedRequest::Load {
            id, blob, limits, ..
        } = read(&bytes).expect("valid")
        else {
            panic!("another request");
        };
        assert!(bytes.as_ptr_range().contains(&id.as_ptr()));
        let limits = rkyv::deserialize::<Limits, Error>(limits).expect("limits");
        assert_eq!((blob.to_native(), limits), (7, Limits::default()));
    }

    #[test]
    fn what_is_no_archive_is_refused_however_little_is_wrong() {
        let good = written(&Request::Load {
            id: "a name that is too long to be stored inline".into(),
            blob: 7,
            limits: Limits::default(),
            isolation: Isolation::default(),
            grants: grants(),
        });
        assert!(matches!(read(&[]), Err(NoArchive::Short)));
        assert!(matches!(read(&good[..7]), Err(NoArchive::Short)));
        assert!(matches!(read(&good[..8]), Err(NoArchive::Broken(_))));
        assert!(read(&good[..good.len() - 1]).is_err());
        // Whatever is changed, a request that is read lies inside of its bytes.
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(archived) = read(&bytes) else {
                continue;
            };
            if let ArchivedRequest::Load { id, grants, .. } = archived {
                let range = bytes.as_ptr_range();
                let texts = grants.env.iter().flat_map(|pair| [&pair.key, &pair.value]);
                let folders = grants.folders.iter().flat_map(|f| [&f.path, &f.at]);
                let rules = grants.tcp.iter().chain(grants.udp.iter()).map(|r| &r.host);
                for text in texts.chain(folders).chain(rules).chain([id]) {
                    assert!(text.is_empty() || range.contains(&text.as_ptr()));
                    assert!(std::str::from_utf8(text.as_bytes()).is_ok());
                }
            }
            assert!(rkyv::deserialize::<Request, Error>(archived).is_ok());
        }
        let mut bytes = AlignedVec::<16>::new();
        bytes.extend_from_slice(&[0]);
        bytes.extend_from_slice(&good);
        assert!(read(&bytes[1..]).is_err(), "it is not aligned");
    }

    /// One of each, with numbers that tell fields apart.
    fn samples() -> Vec<(&'static str, Request)> {
        let limits = Limits {
            memory_bytes: 0x0102_0304_0506,
            cpu_ms: 0x1001,
            wall_ms: 0x2002,
            output_bytes: 0x0a0b_0c0d,
            log_bytes: 0x3003,
            table_elements: 0x4004,
            instances: 0x55,
            resources: 0x6006,
            field_bytes: 0x7007,
            egress_bytes: 0x0b0c_0d0e,
            connections: 0x77,
            concurrency: 0x88,
            queue: 0x9009,
            requests_per_second: 0xaa,
            plugin_memory_bytes: 0x0b0c_0d0e_0f10,
        };
        let isolation = Isolation::Reuse {
            calls: NonZeroU32::new(20).expect("calls"),
            idle_ms: 0x0304_0506_0708,
        };
        let (id, blob, component, instance) = ("some plugin".to_owned(), 17, 18, 19);
        vec![
            (
                "load",
                Request::Load {
                    id,
                    blob,
                    limits,
                    isolation,
                    grants: grants(),
                },
            ),
            ("describe", Request::Describe { blob }),
            ("unload", Request::Unload { component }),
            ("instantiate", Request::Instantiate { component }),
            ("drop-instance", Request::DropInstance { instance }),
            ("limits", Request::Limits { component, limits }),
            ("stats", Request::Stats),
            (
                "isolate",
                Request::Isolate {
                    component,
                    key: "a tenant".to_owned(),
                },
            ),
        ]
    }

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/corpus/archives")
            .join(name)
    }

    fn kept(name: &str) -> AlignedVec {
        let mut bytes = AlignedVec::new();
        bytes.extend_from_slice(&fs::read(file(name)).expect("a file of the corpus"));
        bytes
    }

    /// `cargo test --release writes_the_archives -- --ignored`
    #[test]
    #[ignore = "it writes the corpus, for a version that nobody has yet"]
    fn writes_the_archives() {
        for (name, request) in samples() {
            fs::write(file(&format!("{name}-1.rkyv")), written(&request)).expect("written");
        }
        let mut later = written(&Request::Stats);
        later[0] = 2;
        fs::write(file("stats-2.rkyv"), later).expect("written");
    }

    #[test]
    fn archives_stay_as_they_were_when_their_version_was_set() {
        for (name, request) in samples() {
            let bytes = kept(&format!("{name}-1.rkyv"));
            let hint = "a changed layout needs another ARCHIVE_VERSION and files of its own";
            assert_eq!(
                written(&request).as_slice(),
                bytes.as_slice(),
                "{name}: {hint}"
            );
            let archived = read(&bytes).expect("valid");
            let read = rkyv::deserialize::<Request, Error>(archived).expect("a request");
            assert_eq!(read, request, "{name}");
        }
    }

    #[test]
    fn an_archive_of_another_version_is_refused_with_both_named() {
        let bytes = kept("stats-2.rkyv");
        let refused = read(&bytes).err().map(|why| why.to_string());
        let expected = "its archive has version 2, supported is 1";
        assert_eq!(refused.as_deref(), Some(expected));
    }
}
