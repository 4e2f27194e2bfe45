//! How much the compiled components on disk may take.
//!
//! Owns: which files count, which go first. Several processes may share a folder: each looks at what
//! is there now, a file that is gone already is as good as removed, and whoever reads one has it
//! open. Nothing here fails: a folder that is too large is no reason to refuse a load.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How names of compiled components end.
pub const SUFFIX: &str = ".cwasm";

/// Age from which a file that was never given its name is left over from a process that died.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Notes that a file is used now; the time of its last change tells.
pub fn used(file: &File) {
    // A file system without times has the files go in any order.
    let _ = file.set_modified(SystemTime::now());
}

/// Bytes of all files that count.
pub fn taken(folder: &Path) -> u64 {
    entries(folder).iter().map(|entry| entry.bytes).sum()
}

/// Removes files until the others fit, those first that were used least lately.
pub fn make(folder: &Path, bytes_max: u64) {
    let mut entries = entries(folder);
    let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    entries.sort_by_key(|entry| entry.used);
    let now = SystemTime::now();
    for entry in entries {
        let whole = entry.path.to_string_lossy().ends_with(SUFFIX);
        let old = now.duration_since(entry.used).unwrap_or_default() > ABANDONED;
        // What another process is writing is left to it.
        let goes = if whole { bytes > bytes_max } else { old };
        if goes && gone(&entry.path) {
            bytes -= entry.bytes;
        }
    }
}

fn gone(path: &Path) -> bool {
    match fs::remove_file(path) {
        Ok(()) => true,
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Compiled components, and what becomes one. What else lies in the folder is somebody else's.
fn entries(folder: &Path) -> Vec<Entry> {
    let Ok(files) = fs::read_dir(folder) else {
        return Vec::new();
    };
    files
        .flatten()
        .filter_map(|file| {
            if !file.file_name().to_string_lossy().contains(SUFFIX) {
                return None;
            }
            // Of the entry itself: a link is not followed.
            let meta = file.metadata().ok()?;
            meta.is_file().then_some(Entry {
                path: file.path(),
                bytes: meta.len(),
                used: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            })
        })
        .collect()
}
