//! Buffers for the bytes of replies.
//!
//! Owns: one buffer a thread. It must not know calls.

use std::cell::RefCell;

/// Buffers up to this size are kept for the next call of the thread.
const BUFFER_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer, the thread's own if it is there.
pub fn take_buffer() -> Vec<u8> {
    BUFFER.with(RefCell::take)
}

/// Keeps a buffer for the next call of the thread.
pub fn give_buffer(mut buffer: Vec<u8>) {
    if buffer.capacity() > 0 && buffer.capacity() <= BUFFER_BYTES {
        buffer.clear();
        BUFFER.with(|kept| kept.replace(buffer));
    }
}
