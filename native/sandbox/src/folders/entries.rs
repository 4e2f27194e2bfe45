//! What is done below a folder by path, on a thread for blocking work.
//!
//! Owns: opening without ever waiting for the other end of a pipe, and the counting of what is made
//! and removed. cap-primitives keeps every path below its folder, links and `..` included. It must
//! not know guests' handles.

use std::fs::File;
use std::io;
use std::path::Path;

use cap_primitives::fs::{self, DirOptions, FollowSymlinks, OpenOptions};

use super::ledger::{self, About, ENTRY_BYTES, Sum};

/// How a file or folder is to be opened.
#[derive(Clone, Copy)]
pub struct Opening {
    /// The file behind a link, too.
    pub follow: bool,
    /// It is made if there is none.
    pub create: bool,
    /// There must be none.
    pub exclusive: bool,
    /// It loses what it holds.
    pub truncate: bool,
    /// It is to be a folder.
    pub directory: bool,
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
}

impl Opening {
    fn follows(self) -> FollowSymlinks {
        match self.follow {
            true => FollowSymlinks::Yes,
            false => FollowSymlinks::No,
        }
    }

    /// For cap-primitives.
    pub fn options(self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(self.read).write(self.write);
        // Both are for the crate cap-fs-ext, which is these two lines; the version is fixed. What
        // was a file when it was looked at may be a pipe by now, whose other end nobody opens.
        options
            ._cap_fs_ext_follow(self.follows())
            ._cap_fs_ext_nonblock(true);
        options
    }
}

/// Opens what is there, if it is a file or a folder. A device is not even opened: that alone makes
/// some of them do something.
fn open_existing(dir: &File, path: &Path, opening: Opening) -> io::Result<(File, About)> {
    let before = fs::stat(dir, path, opening.follows())?;
    if !before.is_file() && !before.is_dir() && !before.is_symlink() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let file = fs::open(dir, path, &opening.options())?;
    let metadata = file.metadata()?;
    let about = About::from(&metadata);
    if !about.is_file && !metadata.is_dir() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    if opening.directory && about.is_file {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    Ok((file, about))
}

/// Opens for reading, or for writing to what there is.
pub fn open(dir: &File, path: &Path, opening: Opening) -> io::Result<(File, About)> {
    open_existing(dir, path, opening)
}

/// Opens where that may make a file or empty one.
pub fn open_changing(
    dir: &File,
    path: &Path,
    opening: Opening,
    (sum, quota): (&mut Sum, u64),
) -> io::Result<(File, About)> {
    let make = |sum: &mut Sum| {
        sum.room(quota, ENTRY_BYTES)?;
        let file = fs::open(dir, path, opening.options().create_new(true))?;
        let about = ledger::about(&file).inspect_err(|_| sum.entry_added())?;
        sum.file_made(about.inode);
        Ok((file, about))
    };
    if opening.create && opening.exclusive {
        return make(sum);
    }
    let (file, about) = match open_existing(dir, path, opening) {
        Err(none) if opening.create && none.kind() == io::ErrorKind::NotFound => return make(sum),
        other => other?,
    };
    if opening.truncate && about.is_file && about.bytes > 0 {
        resize(&file, 0, (sum, quota))?;
    }
    Ok((file, about))
}

/// Sets a file's length.
pub fn resize(file: &File, bytes: u64, (sum, quota): (&mut Sum, u64)) -> io::Result<()> {
    let before = ledger::about(file)?;
    sum.room(quota, bytes.saturating_sub(before.bytes))?;
    file.set_len(bytes)?;
    sum.resized(before, bytes);
    Ok(())
}

/// Where bytes are written to.
#[derive(Clone, Copy)]
pub enum Place {
    /// There.
    At(u64),
    /// Behind what the file holds.
    End,
}

/// Writes some of the bytes; how many. A hole before them counts as if it were written.
pub fn write(
    file: &File,
    bytes: &[u8],
    place: Place,
    (sum, quota): (&mut Sum, u64),
) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let before = ledger::about(file)?;
    let from = match place {
        Place::At(offset) => offset,
        Place::End => before.bytes,
    };
    let end = from.saturating_add(bytes.len() as u64);
    sum.room(quota, end.saturating_sub(before.bytes))?;
    let written = file.write_at(bytes, from)?;
    let now = match written {
        0 => before.bytes,
        some => before.bytes.max(from.saturating_add(some as u64)),
    };
    sum.resized(before, now);
    Ok(written)
}

/// Makes a folder.
pub fn create_directory(dir: &File, path: &Path, (sum, quota): (&mut Sum, u64)) -> io::Result<()> {
    sum.room(quota, ENTRY_BYTES)?;
    fs::create_dir(dir, path, &DirOptions::new())?;
    sum.entry_added();
    Ok(())
}

/// Makes a link to a path.
pub fn symlink(
    to: &Path,
    dir: &File,
    path: &Path,
    (sum, quota): (&mut Sum, u64),
) -> io::Result<()> {
    sum.room(quota, ENTRY_BYTES)?;
    fs::symlink(to, dir, path)?;
    sum.entry_added();
    Ok(())
}

/// Gives a file another name.
pub fn link(
    (from, old): (&File, &Path),
    (to, new): (&File, &Path),
    (sum, quota): (&mut Sum, u64),
) -> io::Result<()> {
    sum.room(quota, ENTRY_BYTES)?;
    fs::hard_link(from, old, to, new)?;
    sum.entry_added();
    Ok(())
}

/// Moves a file or folder; what was there before is gone.
pub fn rename(
    (from, old): (&File, &Path),
    (to, new): (&File, &Path),
    sum: &mut Sum,
) -> io::Result<()> {
    let look = |dir: &File, path: &Path| {
        let metadata = fs::stat(dir, path, FollowSymlinks::No).ok()?;
        Some(About::from(&metadata))
    };
    let (source, replaced) = (look(from, old), look(to, new));
    fs::rename(from, old, to, new)?;
    // Of two names of one file both stay.
    if let Some(replaced) = replaced.filter(|r| source.is_none_or(|s| s.inode != r.inode)) {
        sum.entry_removed(replaced);
    }
    Ok(())
}

/// Removes a file or a link.
pub fn remove_file(dir: &File, path: &Path, sum: &mut Sum) -> io::Result<()> {
    let before = About::from(&fs::stat(dir, path, FollowSymlinks::No)?);
    fs::remove_file(dir, path)?;
    sum.entry_removed(before);
    Ok(())
}

/// Removes an empty folder.
pub fn remove_directory(dir: &File, path: &Path, sum: &mut Sum) -> io::Result<()> {
    let before = About::from(&fs::stat(dir, path, FollowSymlinks::No)?);
    fs::remove_dir(dir, path)?;
    sum.entry_removed(before);
    Ok(())
}

/// How many entries a folder has, counted no further than `most`.
pub fn count(dir: &File, most: usize) -> io::Result<usize> {
    Ok(fs::read_base_dir(dir)?.take(most).count())
}
