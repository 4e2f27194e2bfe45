//! What a folder holds when it is granted.
//!
//! Owns: the walk through it. It must not know quotas. Guests make folders in folders by handles, as
//! deep as their quota lets them: no path is put together, nothing recurses, and few folders are open
//! at once.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use cap_primitives::fs;

use super::ledger::{About, ENTRY_BYTES, Inode, about};

/// Folders that a walk has open at once; those above them are opened again from below.
const OPEN_MAX: usize = 32;

/// A folder on the way from the root to where the walk is.
struct Step {
    inode: Inode,
    open: Option<File>,
    /// Folders in it that are not walked yet.
    rest: Vec<OsString>,
}

/// What was counted.
#[derive(Default)]
struct Count {
    bytes: u64,
    /// Files of several names, which count once.
    linked: HashSet<Inode>,
}

/// The bytes of all files below a folder, and of its entries.
pub fn folder(root: &File) -> io::Result<u64> {
    let mut count = Count::default();
    let mut way = vec![count.step(root.try_clone()?)?];
    while let Some(step) = way.last_mut() {
        let Some(name) = step.rest.pop() else {
            let done = way.pop();
            if let (Some(below), Some(step)) = (done.and_then(|d| d.open), way.last_mut()) {
                reopen(step, &below)?;
            }
            continue;
        };
        let here = step.open.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let below = fs::open_dir_nofollow(here, Path::new(&name)).and_then(|f| count.step(f));
        let Some(below) = unless_gone(below)? else {
            continue;
        };
        way.push(below);
        if let Some(above) = way.len().checked_sub(OPEN_MAX + 1) {
            way[above].open = None;
        }
    }
    Ok(count.bytes)
}

impl Count {
    /// Counts what is in a folder, but for what is in its folders.
    fn step(&mut self, open: File) -> io::Result<Step> {
        let inode = about(&open)?.inode;
        let mut rest = Vec::new();
        for entry in fs::read_base_dir(&open)? {
            let entry = entry?;
            let Some(metadata) = unless_gone(entry.metadata())? else {
                continue;
            };
            self.bytes = self.bytes.saturating_add(ENTRY_BYTES);
            let about = About::from(&metadata);
            if metadata.is_dir() {
                rest.push(entry.file_name());
            } else if about.is_file && (about.links == 1 || self.linked.insert(about.inode)) {
                self.bytes = self.bytes.saturating_add(about.bytes);
            }
        }
        let open = Some(open);
        Ok(Step { inode, open, rest })
    }
}

/// None: somebody removed it since its name was read.
fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

/// Opens a folder that was closed on the way down, from one in it.
fn reopen(step: &mut Step, below: &File) -> io::Result<()> {
    if step.open.is_some() {
        return Ok(());
    }
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the descriptor is open as long as `below` is borrowed, the path ends with a zero.
    let descriptor = unsafe { libc::openat(below.as_raw_fd(), c"..".as_ptr(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was opened just now and is nobody else's.
    let file = unsafe { File::from_raw_fd(descriptor) };
    // Moved meanwhile, it leads elsewhere, perhaps out of what is granted.
    if about(&file)?.inode != step.inode {
        return Err(io::Error::other(
            "its folders were moved while it was measured",
        ));
    }
    step.open = Some(file);
    Ok(())
}
