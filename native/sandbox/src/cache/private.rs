//! Files that only this user can touch.
//!
//! Owns: how they are made, read and checked, and the key. It must not know what is in them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const KEY_BYTES: usize = 32;

/// What authenticates files.
pub type Key = [u8; KEY_BYTES];

/// A folder of this user that nobody else can enter.
pub fn folder(folder: &Path) -> io::Result<()> {
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
pub fn key(path: &Path) -> io::Result<Key> {
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    match read_key(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => make_key(path),
        read => read,
    }
}

fn read_key(path: &Path) -> io::Result<Key> {
    let (_, bytes) = read(path, KEY_BYTES as u64)?;
    bytes
        .try_into()
        .map_err(|_| io::Error::other("not a key of 32 bytes"))
}

/// Written aside and linked into place: whoever reads sees all of it, and of two processes that
/// start at once both take the first one's key.
fn make_key(path: &Path) -> io::Result<Key> {
    let key: Key = random()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(temporary(&name)?);
    let made = create(&aside).and_then(|mut file| {
        file.write_all(&key)?;
        file.sync_data()?;
        fs::hard_link(&aside, path)
    });
    let _ = fs::remove_file(&aside);
    match made {
        Ok(()) => Ok(key),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => read_key(path),
        Err(e) => Err(e),
    }
}

/// A name for what becomes the file of that name. It is random: processes of two containers may have
/// the same number.
pub fn temporary(name: &str) -> io::Result<String> {
    let unique: [u8; 8] = random()?;
    Ok(format!("{name}.{}", super::hex(&unique)))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        // A pipe of that name would have its opener wait.
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
}

fn check(meta: &fs::Metadata) -> io::Result<()> {
    check_owner(meta)?;
    if !meta.is_file() || meta.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "must be a plain file of mode 0600",
        ));
    }
    Ok(())
}

/// A whole file of at most so many bytes, refused unless it is a plain file of this user that others
/// cannot touch.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<(File, Vec<u8>)> {
    let mut file = open(path)?;
    let meta = file.metadata()?;
    check(&meta)?;
    if meta.len() > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    (&mut file).take(bytes_max).read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

/// A file that is there: a new one, or a plain one of this user that others cannot touch.
pub fn ensure(path: &Path) -> io::Result<()> {
    match create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let file = open(path)?;
            check(&file.metadata()?)
        }
        created => created.map(drop),
    }
}

/// A new file.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
}
