//! Compiled components on disk.
//!
//! Owns: the file format and the message authentication code. Deserialising machine code trusts its
//! input, so a file is read once into private memory, authenticated there, and only those bytes are
//! used. Anything wrong means: compile again. It must not know what a component does, whose files
//! are taken (`private`) or which files have to go (`room`).

pub mod private;
mod room;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

/// First bytes of a file; changes with the format.
const MAGIC: &[u8; 8] = b"ATOLLCW1";
const MAC_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + MAC_BYTES;

/// A folder of compiled components and the key that authenticates them.
pub struct Cache {
    folder: PathBuf,
    key: private::Key,
    compatibility: String,
    bytes_max: u64,
}

impl Cache {
    /// Opens the folder and the key, making what is missing; files that are too many for `bytes_max`
    /// go. The error says why neither is used.
    pub fn open(
        folder: &Path,
        key_file: &Path,
        bytes_max: u64,
        engine: &Engine,
    ) -> Result<Cache, String> {
        if key_file.starts_with(folder) {
            return Err(format!(
                "the key file {} lies in the cache",
                key_file.display()
            ));
        }
        let error = |what: &Path, e: io::Error| format!("{}: {e}", what.display());
        private::folder(folder).map_err(|e| error(folder, e))?;
        let key = private::key(key_file).map_err(|e| error(key_file, e))?;
        room::make(folder, bytes_max);
        Ok(Cache {
            folder: folder.to_owned(),
            key,
            compatibility: compatibility(engine),
            bytes_max,
        })
    }

    /// The same folder and key for another engine of the process.
    pub fn beside(&self, engine: &Engine) -> Cache {
        Cache {
            folder: self.folder.clone(),
            key: self.key,
            compatibility: compatibility(engine),
            bytes_max: self.bytes_max,
        }
    }

    /// Bytes of all compiled components in the folder, those of other engines too.
    pub fn bytes(&self) -> u64 {
        room::taken(&self.folder)
    }

    /// The most that they may be together.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The compiled form of the component with that digest, if an authentic one is there.
    pub fn read(&self, digest: &str) -> Option<Artifact> {
        let name = self.name(digest);
        // Longer than what is ever written is damaged; its length is not believed.
        let (file, bytes) = private::read(&self.folder.join(&name), self.bytes_max).ok()?;
        let (header, artifact) = bytes.split_at_checked(HEADER_BYTES)?;
        let (magic, mac) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return None;
        }
        self.mac(&name, artifact)?.verify_slice(mac).ok()?;
        room::used(&file);
        Some(Artifact { file: bytes })
    }

    /// Stores a compiled component, and lets those go that were used least lately and are too many.
    /// A reader sees the old file or the whole new one. An error costs the next start its speed and
    /// nothing else.
    pub fn write(&self, digest: &str, artifact: &[u8]) -> io::Result<()> {
        let bytes = (HEADER_BYTES + artifact.len()) as u64;
        if bytes > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let name = self.name(digest);
        let mac = self
            .mac(&name, artifact)
            .ok_or(io::ErrorKind::InvalidInput)?
            .finalize();
        let temporary = self.folder.join(private::temporary(&name)?);
        let written = (|| {
            let mut file = private::create(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(&mac.into_bytes())?;
            file.write_all(artifact)?;
            file.sync_data()?;
            fs::rename(&temporary, self.folder.join(&name))
        })();
        if written.is_err() {
            // Nothing half-written stays; that the file may not even exist is fine.
            let _ = fs::remove_file(&temporary);
        }
        room::make(&self.folder, self.bytes_max);
        written
    }

    fn name(&self, digest: &str) -> String {
        format!("{digest}-{}{}", self.compatibility, room::SUFFIX)
    }

    /// Covers the name too: an authentic file under another component's name is not taken for it.
    fn mac(&self, name: &str, artifact: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(artifact);
        Some(mac)
    }
}

/// A compiled component that is authentic, in the memory that it was authenticated in.
pub struct Artifact {
    file: Vec<u8>,
}

impl Artifact {
    /// What wasmtime takes.
    pub fn as_slice(&self) -> &[u8] {
        self.file.get(HEADER_BYTES..).unwrap_or_default()
    }
}

/// SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// What an engine accepts: version, settings, CPU features.
fn compatibility(engine: &Engine) -> String {
    struct Sha(Sha256);
    impl std::hash::Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sha = Sha(Sha256::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut sha);
    hex(&sha.0.finalize()[..16])
}

#[cfg(test)]
mod tests;
