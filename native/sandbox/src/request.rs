//! CONTROL requests of peers in Rust, as archives of rkyv.
//!
//! Owns: the archived form of each request. A request is validated by bytecheck before anything of it
//! is used, then read where it lies in the frame. It must not know what a request does.

use rkyv::rancor::Error;
use rkyv::{Archive, Deserialize, Serialize};

use crate::limits::Limits;

/// A CONTROL request; the payload of a frame with the encoding `ATOLL_FLAG_RKYV` is its archive.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Compiles a component, or takes it from the cache.
    Load {
        /// For messages.
        id: String,
        /// The component's bytes, by `atoll_blob_put`.
        blob: u32,
        /// What one call may use.
        limits: Limits,
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
    /// Changes what one call may use.
    Limits {
        /// Number of a loaded component.
        component: u32,
        /// From now on.
        limits: Limits,
    },
    /// Counters of the engine.
    Stats,
}

/// Reads a request in place.
pub fn read(payload: &[u8]) -> Result<&ArchivedRequest, Error> {
    rkyv::access::<ArchivedRequest, Error>(payload)
}

#[cfg(test)]
mod tests {
    use rkyv::util::AlignedVec;

    use super::*;

    fn archive(request: &Request) -> AlignedVec {
        rkyv::to_bytes::<Error>(request).expect("an archive")
    }

    #[test]
    fn a_request_is_read_where_it_lies() {
        let bytes = archive(&Request::Load {
            id: "a name that is too long to be stored inline".into(),
            blob: 7,
            limits: Limits::default(),
        });
        let ArchivedRequest::Load { id, blob, limits } = read(&bytes).expect("valid") else {
            panic!("another request");
        };
        assert!(bytes.as_ptr_range().contains(&id.as_ptr()));
        assert_eq!(
            (blob.to_native(), Limits::from(limits)),
            (7, Limits::default())
        );
    }

    #[test]
    fn what_is_no_archive_is_refused_however_little_is_wrong() {
        let good = archive(&Request::Load {
            id: "a name that is too long to be stored inline".into(),
            blob: 7,
            limits: Limits::default(),
        });
        assert!(read(&[]).is_err());
        assert!(read(&good[..good.len() - 1]).is_err());
        // Whatever is changed, a request that is read lies inside of its bytes.
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(ArchivedRequest::Load { id, .. }) = read(&bytes) {
                let range = bytes.as_ptr_range();
                assert!(id.is_empty() || range.contains(&id.as_ptr()));
                assert!(std::str::from_utf8(id.as_bytes()).is_ok());
            }
        }
        let mut bytes = AlignedVec::<16>::new();
        bytes.extend_from_slice(&[0]);
        bytes.extend_from_slice(&good);
        assert!(read(&bytes[1..]).is_err(), "it is not aligned");
    }
}
