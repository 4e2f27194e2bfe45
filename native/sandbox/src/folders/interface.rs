//! `wasi:filesystem` for a guest that is granted folders, and for one that is not.
//!
//! Owns: its functions. Those that only look at what is open are wasmtime's. It must not know how
//! much a folder holds.

use std::io;
use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime::{Error, Result};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, Filesize,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult, ReaddirIterator};

use super::entries::{self, Opening, Place};
use super::host::{Files, Handle, blocking, change, code};
use super::ledger::Sum;
use super::times;

/// Most entries of folders that a guest lists at once: wasmtime keeps them in memory.
const ENTRIES_MAX: usize = 65_536;

impl preopens::Host for Files<'_> {
    fn get_directories(&mut self) -> Result<Vec<(Handle, String)>> {
        let Some(held) = &self.held else {
            self.teller.no_folders();
            return Ok(Vec::new());
        };
        let folders = Arc::clone(&held.folders);
        let mut named = Vec::with_capacity(folders.list.len());
        for folder in &folders.list {
            let handle = self.push(Descriptor::Dir(folder.dir.clone()), Arc::clone(folder));
            named.push((handle.map_err(Error::from)?, folder.at.clone()));
        }
        Ok(named)
    }
}

impl types::Host for Files<'_> {
    fn convert_error_code(&mut self, error: FsError) -> Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(&mut self, error: Resource<Error>) -> Result<Option<ErrorCode>> {
        let error = self.wasi.table.get(&error)?;
        Ok(error.downcast_ref::<io::Error>().map(code))
    }
}

impl types::HostDirectoryEntryStream for Files<'_> {
    async fn read_directory_entry(
        &mut self,
        list: Resource<ReaddirIterator>,
    ) -> FsResult<Option<DirectoryEntry>> {
        types::HostDirectoryEntryStream::read_directory_entry(&mut self.wasi, list).await
    }

    fn drop(&mut self, list: Resource<ReaddirIterator>) -> Result<()> {
        if let Some(held) = &mut self.held {
            held.lists.remove(&list.rep());
        }
        types::HostDirectoryEntryStream::drop(&mut self.wasi, list)
    }
}

impl types::HostDescriptor for Files<'_> {
    fn read_via_stream(
        &mut self,
        handle: Handle,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        self.wasi.read_via_stream(handle, offset)
    }

    fn write_via_stream(
        &mut self,
        handle: Handle,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.stream(&handle, Place::At(offset))
    }

    fn append_via_stream(&mut self, handle: Handle) -> FsResult<Resource<DynOutputStream>> {
        self.stream(&handle, Place::End)
    }

    async fn advise(
        &mut self,
        handle: Handle,
        offset: Filesize,
        length: Filesize,
        advice: Advice,
    ) -> FsResult<()> {
        self.wasi.advise(handle, offset, length, advice).await
    }

    async fn sync_data(&mut self, handle: Handle) -> FsResult<()> {
        self.wasi.sync_data(handle).await
    }

    async fn get_flags(&mut self, handle: Handle) -> FsResult<DescriptorFlags> {
        self.wasi.get_flags(handle).await
    }

    async fn get_type(&mut self, handle: Handle) -> FsResult<DescriptorType> {
        self.wasi.get_type(handle).await
    }

    async fn set_size(&mut self, handle: Handle, size: Filesize) -> FsResult<()> {
        let (file, folder) = self.writable(&handle)?;
        change(self.teller.clone(), folder, move |room| {
            entries::resize(&file, size, room)
        })
        .await
    }

    async fn set_times(
        &mut self,
        handle: Handle,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let [accessed, modified] = [accessed, modified].map(|t| times::stamped(t, self.resolution));
        self.wasi.set_times(handle, accessed, modified).await
    }

    async fn read(
        &mut self,
        handle: Handle,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.wasi.read(handle, length, offset).await
    }

    async fn write(
        &mut self,
        handle: Handle,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        let (file, folder) = self.writable(&handle)?;
        let write =
            move |room: (&mut Sum, u64)| entries::write(&file, &bytes, Place::At(offset), room);
        Ok(change(self.teller.clone(), folder, write).await? as Filesize)
    }

    async fn read_directory(&mut self, handle: Handle) -> FsResult<Resource<ReaddirIterator>> {
        let (dir, folder) = self.dir(&handle)?;
        let held = self.held.as_ref();
        let known: usize = held.map_or(0, |held| held.lists.values().sum());
        let most = ENTRIES_MAX.saturating_sub(known) + 1;
        let entries = blocking(move || entries::count(&dir.dir, most)).await;
        let entries = entries.map_err(|error| code(&error))?;
        if known + entries > ENTRIES_MAX {
            return Err(ErrorCode::InsufficientMemory.into());
        }
        self.teller.folder_used(&folder, false);
        let list = self.wasi.read_directory(handle).await?;
        if let Some(held) = &mut self.held {
            held.lists.insert(list.rep(), entries);
        }
        Ok(list)
    }

    async fn sync(&mut self, handle: Handle) -> FsResult<()> {
        self.wasi.sync(handle).await
    }

    async fn create_directory_at(&mut self, handle: Handle, path: String) -> FsResult<()> {
        let (dir, folder) = self.dir(&handle)?;
        let make =
            move |room: (&mut Sum, u64)| entries::create_directory(&dir.dir, path.as_ref(), room);
        change(self.teller.clone(), folder, make).await
    }

    async fn stat(&mut self, handle: Handle) -> FsResult<DescriptorStat> {
        let stat = self.wasi.stat(handle).await?;
        Ok(times::told(stat, self.resolution))
    }

    async fn stat_at(
        &mut self,
        handle: Handle,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let (_, folder) = self.dir(&handle)?;
        self.teller.folder_used(&folder, false);
        let stat = self.wasi.stat_at(handle, flags, path).await?;
        Ok(times::told(stat, self.resolution))
    }

    async fn set_times_at(
        &mut self,
        handle: Handle,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let [accessed, modified] = [accessed, modified].map(|t| times::stamped(t, self.resolution));
        self.wasi
            .set_times_at(handle, flags, path, accessed, modified)
            .await
    }

    async fn link_at(
        &mut self,
        handle: Handle,
        flags: PathFlags,
        old: String,
        to: Handle,
        new: String,
    ) -> FsResult<()> {
        if flags.contains(PathFlags::SYMLINK_FOLLOW) {
            return Err(ErrorCode::Invalid.into());
        }
        let (from, to, folder) = self.two(&handle, &to)?;
        let link = move |room: (&mut Sum, u64)| {
            entries::link((&from, old.as_ref()), (&to, new.as_ref()), room)
        };
        change(self.teller.clone(), folder, link).await
    }

    async fn open_at(
        &mut self,
        handle: Handle,
        follow: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Handle> {
        let opening = opening(follow, how, flags)?;
        self.open(&handle, path, opening).await
    }

    async fn readlink_at(&mut self, handle: Handle, path: String) -> FsResult<String> {
        let (_, folder) = self.dir(&handle)?;
        self.teller.folder_used(&folder, false);
        self.wasi.readlink_at(handle, path).await
    }

    async fn remove_directory_at(&mut self, handle: Handle, path: String) -> FsResult<()> {
        let (dir, folder) = self.dir(&handle)?;
        let remove = move |(sum, _): (&mut Sum, u64)| {
            entries::remove_directory(&dir.dir, path.as_ref(), sum)
        };
        change(self.teller.clone(), folder, remove).await
    }

    async fn rename_at(
        &mut self,
        handle: Handle,
        old: String,
        to: Handle,
        new: String,
    ) -> FsResult<()> {
        let (from, to, folder) = self.two(&handle, &to)?;
        let rename = move |(sum, _): (&mut Sum, u64)| {
            entries::rename((&from, old.as_ref()), (&to, new.as_ref()), sum)
        };
        change(self.teller.clone(), folder, rename).await
    }

    async fn symlink_at(&mut self, handle: Handle, to: String, path: String) -> FsResult<()> {
        let (dir, folder) = self.dir(&handle)?;
        let link = move |room: (&mut Sum, u64)| {
            entries::symlink(to.as_ref(), &dir.dir, path.as_ref(), room)
        };
        change(self.teller.clone(), folder, link).await
    }

    async fn unlink_file_at(&mut self, handle: Handle, path: String) -> FsResult<()> {
        let (dir, folder) = self.dir(&handle)?;
        let remove =
            move |(sum, _): (&mut Sum, u64)| entries::remove_file(&dir.dir, path.as_ref(), sum);
        change(self.teller.clone(), folder, remove).await
    }

    async fn is_same_object(&mut self, one: Handle, other: Handle) -> Result<bool> {
        self.wasi.is_same_object(one, other).await
    }

    async fn metadata_hash(&mut self, handle: Handle) -> FsResult<MetadataHashValue> {
        self.wasi.metadata_hash(handle).await
    }

    async fn metadata_hash_at(
        &mut self,
        handle: Handle,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.wasi.metadata_hash_at(handle, flags, path).await
    }

    fn drop(&mut self, handle: Handle) -> Result<()> {
        if let Some(held) = &mut self.held {
            held.handles.remove(&handle.rep());
        }
        types::HostDescriptor::drop(&mut self.wasi, handle)
    }
}

/// The flags of WASI as one question; those that no system has are refused.
fn opening(follow: PathFlags, how: OpenFlags, flags: DescriptorFlags) -> FsResult<Opening> {
    let synchronous = DescriptorFlags::FILE_INTEGRITY_SYNC
        | DescriptorFlags::DATA_INTEGRITY_SYNC
        | DescriptorFlags::REQUESTED_WRITE_SYNC;
    if flags.intersects(synchronous) {
        return Err(ErrorCode::Unsupported.into());
    }
    let makes = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
    let directory = how.contains(OpenFlags::DIRECTORY);
    if directory && how.intersects(makes) {
        return Err(ErrorCode::Invalid.into());
    }
    let create = how.contains(OpenFlags::CREATE);
    let truncate = how.contains(OpenFlags::TRUNCATE);
    Ok(Opening {
        follow: follow.contains(PathFlags::SYMLINK_FOLLOW),
        create,
        exclusive: how.contains(OpenFlags::EXCLUSIVE),
        truncate,
        directory,
        // What is not written to is read, so that the system has a way to open it.
        read: flags.contains(DescriptorFlags::READ) || !flags.contains(DescriptorFlags::WRITE),
        write: create || truncate || flags.contains(DescriptorFlags::WRITE),
    })
}
