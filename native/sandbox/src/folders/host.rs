//! What a guest has open of its granted folders.
//!
//! Owns: which folder a handle lies in, and the two ways to do something there: look, and change
//! what it holds while nobody else does. It must not know which function asks.
//!
//! Nothing here works on the caller's thread: whatever asks the system about a file does that on a
//! thread for blocking work.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::OpenMode;
use wasmtime_wasi::filesystem::{Descriptor, Dir, File as OpenFile, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::{DynOutputStream, FsError, FsResult};
use wasmtime_wasi::runtime::spawn_blocking;

use super::entries::{self, Opening, Place};
use super::ledger::{self, About, Sum};
use super::stream::Output;
use super::{Folder, Folders};
use crate::told::Teller;

/// What a store's guest has open.
pub struct Held {
    pub(super) folders: Arc<Folders>,
    /// The folder that each handle lies in.
    pub(super) handles: HashMap<u32, Arc<Folder>>,
    /// Entries of each list that it reads.
    pub(super) lists: HashMap<u32, usize>,
}

impl Held {
    /// Nothing yet.
    pub fn new(folders: &Arc<Folders>) -> Held {
        Held {
            folders: Arc::clone(folders),
            handles: HashMap::new(),
            lists: HashMap::new(),
        }
    }
}

/// The interfaces' functions, for the linker.
pub struct FolderHost;

impl HasData for FolderHost {
    type Data<'a> = Files<'a>;
}

/// What they work on.
pub struct Files<'a> {
    /// wasmtime's own; it knows of no folder.
    pub wasi: WasiFilesystemCtxView<'a>,
    /// None: no folder is granted.
    pub held: Option<&'a mut Held>,
    /// Who is told of what is denied.
    pub teller: Teller,
    /// How finely the guest is told time.
    pub resolution: Duration,
}

/// Does what asks the system, elsewhere.
pub(super) async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(task).await
}

/// The code that a guest is told.
pub(super) fn code(error: &io::Error) -> ErrorCode {
    match ledger::is_over_quota(error) {
        true => ErrorCode::Quota,
        false => ErrorCode::from(error),
    }
}

/// Changes what a folder holds while nobody else does.
pub(super) async fn change<T: Send + 'static>(
    teller: Teller,
    folder: Arc<Folder>,
    task: impl FnOnce((&mut Sum, u64)) -> io::Result<T> + Send + 'static,
) -> FsResult<T> {
    let Some((quota, ledger)) = &folder.quota else {
        return Err(read_only(&teller, &folder));
    };
    teller.folder_used(&folder, true);
    let (quota, mut sum) = (*quota, ledger.lock().await);
    let done = blocking(move || task((&mut sum, quota))).await;
    done.map_err(|error| {
        teller.refused(&folder, &error);
        code(&error).into()
    })
}

fn read_only(teller: &Teller, folder: &Folder) -> FsError {
    teller.read_only(folder);
    ErrorCode::NotPermitted.into()
}

/// A guest's handle of something open.
pub(super) type Handle = Resource<Descriptor>;

impl Files<'_> {
    /// The folder that a handle lies in.
    pub(super) fn folder(&self, handle: &Handle) -> FsResult<Arc<Folder>> {
        let held = self.held.as_ref();
        let folder = held.and_then(|held| held.handles.get(&handle.rep()));
        Ok(folder.map(Arc::clone).ok_or(ErrorCode::BadDescriptor)?)
    }

    /// A folder, and the granted one that it lies in.
    pub(super) fn dir(&self, handle: &Handle) -> FsResult<(Dir, Arc<Folder>)> {
        match self.wasi.table.get(handle)? {
            Descriptor::Dir(dir) => Ok((dir.clone(), self.folder(handle)?)),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// A file that may be changed.
    pub(super) fn writable(&mut self, handle: &Handle) -> FsResult<(Arc<File>, Arc<Folder>)> {
        let folder = self.folder(handle)?;
        match self.wasi.table.get(handle)? {
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor.into()),
            Descriptor::File(_) if folder.quota.is_none() => Err(read_only(&self.teller, &folder)),
            Descriptor::File(file) if !file.open_mode.contains(OpenMode::WRITE) => {
                Err(ErrorCode::BadDescriptor.into())
            }
            Descriptor::File(file) => Ok((Arc::clone(&file.file), folder)),
        }
    }

    /// A stream into a file.
    pub(super) fn stream(
        &mut self,
        handle: &Handle,
        place: Place,
    ) -> FsResult<Resource<DynOutputStream>> {
        let (file, folder) = self.writable(handle)?;
        let stream: DynOutputStream =
            Box::new(Output::new(file, folder, place, self.teller.clone()));
        Ok(self.wasi.table.push(stream)?)
    }

    /// Two handles of one granted folder; between two of them nothing is moved or linked.
    pub(super) fn two(
        &self,
        one: &Handle,
        other: &Handle,
    ) -> FsResult<(Arc<File>, Arc<File>, Arc<Folder>)> {
        let ((from, folder), (to, same)) = (self.dir(one)?, self.dir(other)?);
        match Arc::ptr_eq(&folder, &same) {
            true => Ok((from.dir, to.dir, folder)),
            false => Err(ErrorCode::CrossDevice.into()),
        }
    }

    /// Gives the guest a handle.
    pub(super) fn push(&mut self, descriptor: Descriptor, folder: Arc<Folder>) -> FsResult<Handle> {
        let handle = self.wasi.table.push(descriptor)?;
        if let Some(held) = &mut self.held {
            held.handles.insert(handle.rep(), folder);
        }
        Ok(handle)
    }

    /// Opens what is at a path below a handle.
    pub(super) async fn open(
        &mut self,
        handle: &Handle,
        path: String,
        opening: Opening,
    ) -> FsResult<Handle> {
        let (dir, folder) = self.dir(handle)?;
        if opening.write && folder.quota.is_none() {
            return Err(read_only(&self.teller, &folder));
        }
        let folders = self.held.as_ref().map(|held| Arc::clone(&held.folders));
        let folders = folders.ok_or(ErrorCode::BadDescriptor)?;
        if !folders.has_place() {
            self.teller.too_many_open();
            return Err(ErrorCode::InsufficientMemory.into());
        }
        let path = PathBuf::from(path);
        self.teller.folder_used(&folder, opening.write);
        let (descriptor, file) = match opening.create || opening.truncate {
            true => {
                let open = move |room: (&mut Sum, u64)| {
                    let opened = entries::open_changing(&dir.dir, &path, opening, room)?;
                    hand_out(opened, &dir, opening)
                };
                change(self.teller.clone(), Arc::clone(&folder), open).await?
            }
            false => {
                let open =
                    move || hand_out(entries::open(&dir.dir, &path, opening)?, &dir, opening);
                blocking(open).await.map_err(|error| code(&error))?
            }
        };
        folders.count(&file);
        self.push(descriptor, folder)
    }
}

/// Makes something open a guest's, and known as open. What was removed before it was known is let
/// go: it does not count any more.
fn hand_out(
    (file, about): (File, About),
    below: &Dir,
    opening: Opening,
) -> io::Result<(Descriptor, Arc<File>)> {
    let mut mode = OpenMode::empty();
    mode.set(OpenMode::READ, opening.read);
    mode.set(OpenMode::WRITE, opening.write);
    if !about.is_file {
        let dir = Dir::new(file, below.perms, mode, false);
        let shared = Arc::clone(&dir.dir);
        return Ok((Descriptor::Dir(dir), shared));
    }
    let file = OpenFile::new(file, below.perms, mode, false);
    let shared = Arc::clone(&file.file);
    ledger::opened(&shared, about);
    match ledger::about(&shared)?.is_removed() {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Ok((Descriptor::File(file), shared)),
    }
}
