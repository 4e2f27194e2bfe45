//! What the core's threads may do to a call that runs on the workers.
//!
//! Owns: cancellation, chunks of the request's body and credit for the response's, and the waker
//! of the task that polls the call. It must not know what the call does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;

use crate::abi::ATOLL_FLAG_END;
use crate::host::CallRef;

/// Shared by the task of a call and the functions of the engine's table.
pub struct CallState {
    call: CallRef,
    on_workers: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waker: Option<Waker>,
    /// Of whoever reads the request's body, which may be polled only when it is woken itself.
    reader: Option<Waker>,
    cancelled: bool,
    ended: bool,
    chunks: VecDeque<Chunk>,
}

struct Chunk {
    number: u32,
    bytes: *const u8,
    length: u32,
    end: bool,
}

// SAFETY: the bytes belong to the arena and are not written until the chunk is given back, which
// happens once, by whoever takes it out of the queue.
unsafe impl Send for Chunk {}

/// A piece of the request's body.
pub struct Piece {
    /// Its bytes; may be none.
    pub bytes: Bytes,
    /// Nothing follows.
    pub end: bool,
}

impl CallState {
    /// For an open call.
    pub fn new(call: CallRef) -> CallState {
        CallState {
            call,
            on_workers: AtomicBool::new(false),
            inner: Mutex::default(),
        }
    }

    /// The call.
    pub fn call(&self) -> CallRef {
        self.call
    }

    /// Says that the call has moved to the workers: events may be sent from now on.
    pub fn set_on_workers(&self) {
        self.on_workers.store(true, Ordering::Release);
    }

    /// Whether it has.
    pub fn on_workers(&self) -> bool {
        self.on_workers.load(Ordering::Acquire)
    }

    /// Asks for the end of the call.
    pub fn cancel(&self) {
        let mut inner = self.lock();
        inner.cancelled = true;
        wake(inner);
    }

    /// The client took chunks of the response: another event may fit now.
    pub fn credit(&self) {
        wake(self.lock());
    }

    /// Takes over a chunk of the request's body. `false`: the call is over, nothing was taken.
    pub fn chunk(&self, number: u32, bytes: *const u8, length: u32, flags: u32) -> bool {
        let mut inner = self.lock();
        if inner.ended {
            return false;
        }
        let end = flags & u32::from(ATOLL_FLAG_END) != 0;
        inner.chunks.push_back(Chunk {
            number,
            bytes,
            length,
            end,
        });
        let reader = inner.reader.take();
        wake(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// Before each poll of the task: who is to be woken. `true`: the call shall end.
    pub fn register(&self, waker: &Waker) -> bool {
        let mut inner = self.lock();
        match &inner.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => inner.waker = Some(waker.clone()),
        }
        inner.cancelled
    }

    /// The next piece of the request's body; gives the chunk back and credits it. None has come:
    /// whoever asks is woken by the next one.
    pub fn take_piece(&self, reader: &Waker) -> Option<Piece> {
        let mut inner = self.lock();
        let Some(chunk) = inner.chunks.pop_front() else {
            inner.reader = Some(reader.clone());
            return None;
        };
        drop(inner);
        let bytes = if chunk.length == 0 {
            Bytes::new()
        } else {
            // SAFETY: the core keeps these bytes in place until the chunk is given back, below.
            Bytes::copy_from_slice(unsafe {
                std::slice::from_raw_parts(chunk.bytes, chunk.length as usize)
            })
        };
        self.call.chunk_free(chunk.number);
        // A credit that finds no room is lost only with the client, which then sends nothing more.
        self.call.credit(1);
        Some(Piece {
            bytes,
            end: chunk.end,
        })
    }

    /// Before the reply: gives back what nobody took and refuses more.
    pub fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.waker = None;
        inner.reader = None;
        let chunks = std::mem::take(&mut inner.chunks);
        drop(inner);
        for chunk in chunks {
            self.call.chunk_free(chunk.number);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the task outside of the lock: waking may run it on this very thread.
fn wake(inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.clone();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}
