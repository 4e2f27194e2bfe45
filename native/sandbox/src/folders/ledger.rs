//! How much a folder holds, and how much more it may.
//!
//! Owns: the sum over a folder's files and entries, measured when the first plugin is granted it and
//! kept while any is, and what files that were removed still hold because a guest has them open. It
//! must not know paths, nor who writes.
//!
//! Everything that changes the sum is done by whoever has it locked, on a thread for blocking work:
//! what is counted is what the files really grew by.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use super::measure;

/// What an entry of a folder counts for besides its file's bytes, in bytes: a folder of empty files
/// fills a disk as well.
pub const ENTRY_BYTES: u64 = 4096;

/// A file, whatever its names are: device and number.
pub type Inode = (u64, u64);

/// What counts of a file or a folder.
#[derive(Clone, Copy)]
pub struct About {
    /// Which one it is.
    pub inode: Inode,
    /// How many names it has.
    pub links: u64,
    /// Its length.
    pub bytes: u64,
    /// No folder, link or device.
    pub is_file: bool,
}

impl About {
    /// Whether it has no name any more.
    pub fn is_removed(self) -> bool {
        self.links == 0
    }
}

impl From<&fs::Metadata> for About {
    fn from(metadata: &fs::Metadata) -> About {
        About {
            inode: (metadata.dev(), metadata.ino()),
            links: metadata.nlink(),
            bytes: metadata.len(),
            is_file: metadata.is_file(),
        }
    }
}

impl From<&cap_primitives::fs::Metadata> for About {
    fn from(metadata: &cap_primitives::fs::Metadata) -> About {
        use cap_primitives::fs::MetadataExt;
        About {
            inode: (metadata.dev(), metadata.ino()),
            links: metadata.nlink(),
            bytes: metadata.len(),
            is_file: metadata.is_file(),
        }
    }
}

/// Asks the system about an open file.
pub fn about(file: &File) -> io::Result<About> {
    Ok(About::from(&file.metadata()?))
}

/// A folder's sum. Folders of several grants that are one on the disk have one.
pub struct Ledger {
    sum: Arc<tokio::sync::Mutex<Sum>>,
}

/// The sum, for whoever has it locked.
pub type Locked = OwnedMutexGuard<Sum>;

static LEDGERS: Mutex<Vec<(Inode, Weak<Ledger>)>> = Mutex::new(Vec::new());

impl Ledger {
    /// That of a folder, which is measured unless that was done for another grant.
    pub fn of(root: &File) -> io::Result<Arc<Ledger>> {
        let inode = about(root)?.inode;
        let known = || lock(&LEDGERS).iter().find_map(|(i, l)| same(*i, inode, l));
        if let Some(ledger) = known() {
            return Ok(ledger);
        }
        let measured = Arc::new(Ledger {
            sum: Arc::new(tokio::sync::Mutex::new(Sum {
                bytes: measure::folder(root)?,
                removed: HashMap::new(),
            })),
        });
        let mut ledgers = lock(&LEDGERS);
        // Another load may have measured it meanwhile; what was written since is in its sum.
        if let Some(ledger) = ledgers.iter().find_map(|(i, l)| same(*i, inode, l)) {
            return Ok(ledger);
        }
        ledgers.retain(|(_, ledger)| ledger.strong_count() > 0);
        ledgers.push((inode, Arc::downgrade(&measured)));
        Ok(measured)
    }

    /// Waits for whoever changes it.
    pub async fn lock(&self) -> Locked {
        Arc::clone(&self.sum).lock_owned().await
    }
}

fn same(known: Inode, root: Inode, ledger: &Weak<Ledger>) -> Option<Arc<Ledger>> {
    (known == root).then(|| ledger.upgrade()).flatten()
}

/// The folder would hold more than it may.
#[derive(Debug)]
struct OverQuota;

impl fmt::Display for OverQuota {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("the folder would hold more than is granted")
    }
}

impl std::error::Error for OverQuota {}

/// Whether an error is that of [`Sum::room`], not of a disk.
pub fn is_over_quota(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<OverQuota>())
}

/// What a folder holds.
#[derive(Default)]
pub struct Sum {
    bytes: u64,
    /// Files without a name that are still open, with their bytes: part of the sum.
    removed: HashMap<Inode, u64>,
}

impl Sum {
    /// Whether so many bytes more fit into a quota.
    pub fn room(&mut self, quota: u64, more: u64) -> io::Result<()> {
        if self.bytes.saturating_add(more) > quota {
            self.forget_closed();
        }
        match self.bytes.saturating_add(more) > quota {
            true => Err(io::Error::new(io::ErrorKind::QuotaExceeded, OverQuota)),
            false => Ok(()),
        }
    }

    /// An entry was made.
    pub fn entry_added(&mut self) {
        self.bytes = self.bytes.saturating_add(ENTRY_BYTES);
    }

    /// A file was made: whatever had its number before is closed.
    pub fn file_made(&mut self, made: Inode) {
        self.entry_added();
        if let Some(old) = self.removed.remove(&made) {
            self.less(old);
        }
    }

    /// An entry was removed, of which that was known before.
    pub fn entry_removed(&mut self, before: About) {
        self.less(ENTRY_BYTES);
        if !before.is_file || before.links != 1 {
            return;
        }
        match is_open(before.inode) {
            true => {
                // Another one of that number was removed and closed before.
                if let Some(old) = self.removed.insert(before.inode, before.bytes) {
                    self.less(old);
                }
            }
            false => self.less(before.bytes),
        }
    }

    /// A file has another length than before.
    pub fn resized(&mut self, before: About, now: u64) {
        if before.is_removed()
            && let Some(bytes) = self.removed.get_mut(&before.inode)
        {
            *bytes = now;
        }
        self.bytes = self.bytes.saturating_add(now.saturating_sub(before.bytes));
        self.less(before.bytes.saturating_sub(now));
    }

    fn less(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn forget_closed(&mut self) {
        let mut freed = 0;
        self.removed.retain(|&inode, bytes| {
            let open = is_open(inode);
            if !open {
                freed += *bytes;
            }
            open
        });
        self.less(freed);
    }
}

/// Files that guests have open, by any plugin and any grant: removed ones go on taking room.
static OPEN: Mutex<Option<HashMap<Inode, Vec<Weak<File>>>>> = Mutex::new(None);

/// Notes that a guest has a file open, for as long as it is.
pub fn opened(file: &Arc<File>, about: About) {
    let mut open = lock(&OPEN);
    let open = open.get_or_insert_default();
    if open.len() >= 256 && open.len() == open.capacity() {
        open.retain(|_, files| files.iter().any(|f| f.strong_count() > 0));
    }
    let files = open.entry(about.inode).or_default();
    files.retain(|f| f.strong_count() > 0);
    files.push(Arc::downgrade(file));
}

fn is_open(inode: Inode) -> bool {
    let mut open = lock(&OPEN);
    let open = open.get_or_insert_default();
    let Some(files) = open.get(&inode) else {
        return false;
    };
    let alive = files.iter().any(|f| f.strong_count() > 0);
    if !alive {
        open.remove(&inode);
    }
    alive
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
