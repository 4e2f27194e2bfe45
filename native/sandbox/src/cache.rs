//! Compiled components on disk.
//!
//! Owns: the file format, the message authentication code and the folder's checks. Deserialising
//! machine code trusts its input, so a file is read once into private memory, authenticated there,
//! and only those bytes are used. Anything wrong means: compile again. It must not know what a
//! component does.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

/// First bytes of a file; changes with the format.
const MAGIC: &[u8; 8] = b"ATOLLCW1";
const MAC_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + MAC_BYTES;
const KEY_BYTES: usize = 32;

/// A folder of compiled components and the key that authenticates them.
pub struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    compatibility: String,
}

impl Cache {
    /// Opens the folder and the key, making what is missing. The error says why neither is used.
    pub fn open(folder: &Path, key_file: &Path, engine: &Engine) -> Result<Cache, String> {
        if key_file.starts_with(folder) {
            return Err(format!(
                "the key file {} lies in the cache",
                key_file.display()
            ));
        }
        let error = |what: &Path, e: io::Error| format!("{}: {e}", what.display());
        private_folder(folder).map_err(|e| error(folder, e))?;
        let key = key(key_file).map_err(|e| error(key_file, e))?;
        Ok(Cache {
            folder: folder.to_owned(),
            key,
            compatibility: compatibility(engine),
        })
    }

    /// The compiled form of the component with that digest, if an authentic one is there.
    pub fn read(&self, digest: &str) -> Option<Artifact> {
        let name = self.name(digest);
        let bytes = read_private(&self.folder.join(&name)).ok()?;
        let (header, artifact) = bytes.split_at_checked(HEADER_BYTES)?;
        let (magic, mac) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return None;
        }
        self.mac(&name, artifact)?.verify_slice(mac).ok()?;
        Some(Artifact { file: bytes })
    }

    /// Stores a compiled component; a reader sees the old file or the whole new one.
    pub fn write(&self, digest: &str, artifact: &[u8]) -> io::Result<()> {
        static UNIQUE: AtomicU32 = AtomicU32::new(0);
        let name = self.name(digest);
        let mac = self
            .mac(&name, artifact)
            .ok_or(io::ErrorKind::InvalidInput)?
            .finalize();
        let unique = UNIQUE.fetch_add(1, Ordering::Relaxed);
        let temporary = self
            .folder
            .join(format!("{name}.{}-{unique}", std::process::id()));
        let written = (|| {
            let mut file = create_private(&temporary)?;
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
        written
    }

    fn name(&self, digest: &str) -> String {
        format!("{digest}-{}.cwasm", self.compatibility)
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

/// A folder of this user that nobody else can enter.
fn private_folder(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let meta = fs::symlink_metadata(folder)?;
    if !meta.is_dir() {
        return Err(io::Error::other("not a folder"));
    }
    check_owner(&meta)?;
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn check_owner(meta: &fs::Metadata) -> io::Result<()> {
    // SAFETY: takes nothing and cannot fail.
    if meta.uid() == unsafe { libc::geteuid() } {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "belongs to another user",
        ))
    }
}

/// The key, made on first use.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    match read_private(path) {
        Ok(bytes) => bytes
            .try_into()
            .map_err(|_| io::Error::other("not a key of 32 bytes")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; KEY_BYTES];
            let mut random = File::open("/dev/urandom")?;
            random.read_exact(&mut key)?;
            // Written aside and linked into place: whoever reads sees all of it, and of two
            // processes that start at once both take the first one's key.
            // Its name is random: processes of two containers may have the same number.
            let mut unique = [0; 8];
            random.read_exact(&mut unique)?;
            let temporary = path.with_extension(format!("new-{}", hex(&unique)));
            let made = create_private(&temporary).and_then(|mut file| {
                file.write_all(&key)?;
                file.sync_data()?;
                fs::hard_link(&temporary, path)
            });
            let _ = fs::remove_file(&temporary);
            match made {
                Ok(()) => Ok(key),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => read_private(path)?
                    .try_into()
                    .map_err(|_| io::Error::other("not a key of 32 bytes")),
                Err(e) => Err(e),
            }
        }
        Err(e) => Err(e),
    }
}

/// A whole file, refused unless it is a plain file of this user that others cannot touch.
fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    let meta = file.metadata()?;
    check_owner(&meta)?;
    if !meta.is_file() || meta.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "must be a plain file of mode 0600",
        ));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
}
