//! A stream into a file, counted.
//!
//! Owns: one write at a time, on a thread for blocking work, each under the folder's sum. It must
//! not know guests' handles.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

use super::entries::{self, Place};
use super::host::blocking;
use super::{Folder, ledger::Locked};
use crate::told::Teller;

/// Most bytes of one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Bytes written, and where the next ones go.
type Written = AbortOnDropJoinHandle<io::Result<Place>>;

enum State {
    Ready,
    Writing(Written),
    Failed(io::Error),
    Closed,
}

/// A stream that writes to a file of a granted folder.
pub struct Output {
    file: Arc<File>,
    folder: Arc<Folder>,
    teller: Teller,
    place: Place,
    state: State,
}

impl Output {
    /// Begins at a place.
    pub fn new(file: Arc<File>, folder: Arc<Folder>, place: Place, teller: Teller) -> Output {
        Output {
            file,
            folder,
            teller,
            place,
            state: State::Ready,
        }
    }

    fn failure(&mut self) -> StreamError {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Failed(error) => StreamError::LastOperationFailed(error.into()),
            _ => StreamError::Closed,
        }
    }
}

async fn write(
    file: Arc<File>,
    folder: Arc<Folder>,
    place: Place,
    bytes: Bytes,
) -> io::Result<Place> {
    let Some((quota, ledger)) = &folder.quota else {
        return Err(io::ErrorKind::PermissionDenied.into());
    };
    let (quota, sum) = (*quota, ledger.lock().await);
    let task = move |mut sum: Locked| {
        let (mut place, mut rest) = (place, &bytes[..]);
        while !rest.is_empty() {
            let written = entries::write(&file, rest, place, (&mut sum, quota))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
            if let Place::At(offset) = &mut place {
                *offset += written as u64;
            }
        }
        Ok(place)
    };
    blocking(move || task(sum)).await
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match self.state {
            State::Ready => {}
            State::Closed => return Err(StreamError::Closed),
            State::Writing(_) | State::Failed(_) => {
                let message = "a stream was written to before it was ready";
                return Err(StreamError::Trap(wasmtime::Error::msg(message)));
            }
        }
        let (file, folder) = (Arc::clone(&self.file), Arc::clone(&self.folder));
        self.state = State::Writing(spawn(write(file, folder, self.place, bytes)));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        match self.state {
            State::Ready | State::Writing(_) => Ok(()),
            State::Failed(_) | State::Closed => Err(self.failure()),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match self.state {
            State::Ready => Ok(WRITE_BYTES_MAX),
            State::Writing(_) => Ok(0),
            State::Failed(_) | State::Closed => Err(self.failure()),
        }
    }

    /// Waits for the write that runs: a guest that drops streams has no more threads than one that
    /// does not.
    async fn cancel(&mut self) {
        self.ready().await;
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        let State::Writing(task) = &mut self.state else {
            return;
        };
        self.state = match task.await {
            Ok(place) => {
                self.place = place;
                State::Ready
            }
            Err(error) => {
                self.teller.refused(&self.folder, &error);
                State::Failed(error)
            }
        };
    }
}
