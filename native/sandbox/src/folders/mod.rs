//! Folders of the host that a plugin is granted.
//!
//! Owns: opening them when the plugin is loaded, and what one plugin may have open at once. It must
//! not know guests' handles. A folder is opened once: what its path names later changes nothing.

mod entries;
mod host;
mod interface;
mod ledger;
mod measure;
mod stream;
#[cfg(test)]
mod tests;
mod times;
mod told;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime_wasi::filesystem::Dir;
use wasmtime_wasi::{FsPerms, OpenMode};

use crate::grants::Folder as Grant;

pub use host::{Files, FolderHost, Held};

/// Files and folders that all instances of a plugin may have open at once: descriptors of the
/// process, which all plugins share. Fixed for the engine.
const OPEN_MAX: usize = 256;

/// A folder that is granted.
pub struct Folder {
    /// Its path for the guest.
    at: String,
    /// Its path for the host, as in the configuration.
    path: String,
    /// Its place among the grants, as in `folders[0]`.
    key: String,
    /// It, open.
    dir: Dir,
    /// Where it can be written: how much it may hold, and what counts that.
    quota: Option<(u64, Arc<ledger::Ledger>)>,
}

/// All folders of a plugin.
pub struct Folders {
    list: Vec<Arc<Folder>>,
    open: Mutex<Vec<Weak<File>>>,
}

impl Folders {
    /// Opens what is granted; the error is a sentence.
    pub fn open(grants: &[Grant]) -> Result<Folders, String> {
        let mut written: Vec<PathBuf> = Vec::new();
        let mut list = Vec::with_capacity(grants.len());
        for (index, grant) in grants.iter().enumerate() {
            let (folder, path) = open(index, grant)
                .map_err(|e| format!("the folder \"{}\" cannot be granted: {e}", grant.path))?;
            if list.iter().any(|f: &Arc<Folder>| f.at == folder.at) {
                return Err(format!("two folders are granted at \"{}\"", grant.at));
            }
            if grant.write {
                let inside = |one: &Path, other: &Path| one.starts_with(other);
                if let Some(other) = written
                    .iter()
                    .find(|other| inside(other, &path) || inside(&path, other))
                {
                    return Err(format!(
                        "the folder \"{}\" cannot be granted: it and \"{}\", one inside the other, \
                         would each count what is written",
                        grant.path,
                        other.display(),
                    ));
                }
                written.push(path);
            }
            list.push(Arc::new(folder));
        }
        Ok(Folders {
            list,
            open: Mutex::default(),
        })
    }

    /// Whether another file may be opened now.
    fn has_place(&self) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_MAX {
            open.retain(|file| file.strong_count() > 0);
        }
        open.len() < OPEN_MAX
    }

    /// Counts an open file until it is closed.
    fn count(&self, file: &Arc<File>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(Arc::downgrade(file));
    }
}

fn open(index: usize, grant: &Grant) -> std::io::Result<(Folder, PathBuf)> {
    let path = std::fs::canonicalize(&grant.path)?;
    let file = cap_primitives::fs::open_ambient_dir(&path, cap_primitives::ambient_authority())?;
    let quota = match grant.write {
        true => Some((grant.bytes, ledger::Ledger::of(&file)?)),
        false => None,
    };
    let (perms, mode) = match grant.write {
        true => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE),
        false => (FsPerms::ReadOnly, OpenMode::READ),
    };
    let folder = Folder {
        at: grant.at.clone(),
        path: grant.path.clone(),
        key: format!("folders[{index}]"),
        dir: Dir::new(file, perms, mode, false),
        quota,
    };
    Ok((folder, path))
}
