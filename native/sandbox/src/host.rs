//! The core's side of the boundary, as methods.
//!
//! Owns: the calls into `atoll_host_t`. It must not know engines, components or WASI: everything
//! above this file handles a call through [`CallRef`] and never sees a raw pointer.

use std::ffi::c_void;
use std::ptr;

use crate::abi::{
    ATOLL_KIND_CREDIT, ATOLL_OK, ATOLL_PANIC, AtollExport, AtollGroupLimits, AtollHost, AtollStatus,
};

/// The table of the core. It lives as long as the process: the core is never unloaded.
pub type Host = &'static AtollHost;

/// A call of the core, usable until its reply.
#[derive(Clone, Copy)]
pub struct CallRef {
    host: Host,
    raw: *mut c_void,
}

// SAFETY: the core allows every function of its table from any thread, and the pointer is only
// handed back to it. Whoever moves a call to another thread calls `migrate` first.
unsafe impl Send for CallRef {}
// SAFETY: as above; no method needs exclusive access.
unsafe impl Sync for CallRef {}

impl CallRef {
    /// Wraps what `call_start` was given.
    pub fn new(host: Host, raw: *mut c_void) -> CallRef {
        CallRef { host, raw }
    }

    /// Says that another thread will go on with the call. `false`: its client has gone.
    pub fn migrate(self) -> bool {
        // SAFETY: the call is open, as for every method here: `Reply` is the only one to end it.
        unsafe { (self.host.call_migrate)(self.raw) == ATOLL_OK }
    }

    /// The payload in one piece, if it came in parts put together on this thread.
    pub fn payload(self) -> Result<*const u8, AtollStatus> {
        let mut bytes = ptr::null_mut();
        // SAFETY: the call is open and the out-parameter is valid for writing.
        match unsafe { (self.host.call_payload)(self.raw, &mut bytes) } {
            ATOLL_OK => Ok(bytes),
            other => Err(other),
        }
    }

    /// Sends HEAD, BODY or LOG; the bytes are copied. The status tells whether there was room.
    pub fn event(self, kind: u8, flags: u16, bytes: &[u8]) -> AtollStatus {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // SAFETY: the call is open and `bytes` is valid for `length` bytes.
        unsafe {
            (self.host.call_event)(
                self.raw,
                u32::from(kind),
                u32::from(flags),
                bytes.as_ptr(),
                length,
            )
        }
    }

    /// Says that the guest took so many chunks of the request's body.
    pub fn credit(self, chunks: u32) -> AtollStatus {
        // SAFETY: the call is open; CREDIT carries a number instead of bytes.
        unsafe {
            (self.host.call_event)(
                self.raw,
                u32::from(ATOLL_KIND_CREDIT),
                0,
                ptr::null(),
                chunks,
            )
        }
    }

    /// Gives back a chunk of the request's body.
    pub fn chunk_free(self, chunk: u32) {
        // SAFETY: the call is open and the chunk came from `call_chunk` of the same call.
        unsafe { (self.host.chunk_free)(self.raw, chunk) }
    }

    /// Takes a share of a blob of the call's client.
    pub fn blob_take(self, blob: u32) -> Result<Blob, AtollStatus> {
        let mut bytes = ptr::null_mut();
        let mut length = 0;
        // SAFETY: the call is open and both out-parameters are valid for writing.
        let status = unsafe { (self.host.blob_take)(self.raw, blob, &mut bytes, &mut length) };
        match status {
            ATOLL_OK => Ok(Blob {
                host: self.host,
                bytes,
                length,
            }),
            other => Err(other),
        }
    }
}

/// The duty to end a call: replies exactly once, when told or, if nobody did, when dropped.
pub struct Reply {
    call: Option<CallRef>,
}

impl Reply {
    /// Takes over the duty for an open call.
    pub fn new(call: CallRef) -> Reply {
        Reply { call: Some(call) }
    }

    /// Ends the call. Nothing of it, its payload included, may be used afterwards.
    pub fn send(mut self, status: AtollStatus, flags: u16, bytes: &[u8]) {
        if let Some(call) = self.call.take() {
            reply(call, status, flags, bytes);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            reply(
                call,
                ATOLL_PANIC,
                crate::abi::ATOLL_FLAG_JSON,
                crate::error::PANIC_JSON,
            );
        }
    }
}

fn reply(call: CallRef, status: AtollStatus, flags: u16, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    // SAFETY: the call is open, this is its one reply, and `bytes` is valid for `length` bytes.
    unsafe { (call.host.call_reply)(call.raw, status, u32::from(flags), bytes.as_ptr(), length) }
}

/// A share of bytes that the core keeps; given back when dropped.
pub struct Blob {
    host: Host,
    bytes: *mut u8,
    length: u64,
}

// SAFETY: nobody writes the bytes, and the core takes a share back on any thread.
unsafe impl Send for Blob {}

impl Blob {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        if self.length == 0 || self.bytes.is_null() {
            return &[];
        }
        // SAFETY: the core gave this pointer with this length; the bytes stay as they are until
        // this share is given back.
        unsafe { std::slice::from_raw_parts(self.bytes, self.length as usize) }
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        // SAFETY: what blob_take gave, given back once.
        unsafe { (self.host.blob_free)(self.bytes, self.length) }
    }
}

/// Makes a bulkhead for a plugin.
pub fn group_add(host: Host, limits: &AtollGroupLimits) -> Result<u32, AtollStatus> {
    let mut group = 0;
    // SAFETY: both pointers are valid for the call.
    match unsafe { (host.group_add)(limits, &mut group) } {
        ATOLL_OK => Ok(group),
        other => Err(other),
    }
}

/// Changes the limits of a bulkhead.
pub fn group_set(host: Host, group: u32, limits: &AtollGroupLimits) -> AtollStatus {
    // SAFETY: the pointer is valid for the call.
    unsafe { (host.group_set)(group, limits) }
}

/// Removes a bulkhead whose targets are removed and whose calls have ended.
pub fn group_remove(host: Host, group: u32) -> AtollStatus {
    // SAFETY: takes numbers only.
    unsafe { (host.group_remove)(group) }
}

/// Makes an export callable.
pub fn target_add(host: Host, engine: u32, handle: u32, group: u32) -> Result<u32, AtollStatus> {
    let mut target = 0;
    // SAFETY: the pointer is valid for the call.
    match unsafe { (host.target_add)(engine, handle, group, &mut target) } {
        ATOLL_OK => Ok(target),
        other => Err(other),
    }
}

/// Refuses new calls of an export.
pub fn target_remove(host: Host, target: u32) -> AtollStatus {
    // SAFETY: takes numbers only.
    unsafe { (host.target_remove)(target) }
}

/// Makes a plugin and the targets of its exports known by name.
pub fn plugin_add(
    host: Host,
    engine: u32,
    group: u32,
    id: &str,
    exports: &[(String, u32)],
) -> Result<u32, AtollStatus> {
    let bytes = |text: &str| (text.as_ptr(), u32::try_from(text.len()).unwrap_or(u32::MAX));
    let list: Vec<AtollExport> = exports
        .iter()
        .map(|(name, target)| {
            let (name, name_length) = bytes(name);
            AtollExport {
                name,
                name_length,
                target: *target,
            }
        })
        .collect();
    let (id, id_length) = bytes(id);
    let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let mut plugin = 0;
    // SAFETY: id, names and list are valid for the call with the lengths beside them; a length that
    // no u32 holds is refused before anything is read.
    let status = unsafe {
        (host.plugin_add)(
            engine,
            group,
            id,
            id_length,
            list.as_ptr(),
            length,
            &mut plugin,
        )
    };
    match status {
        ATOLL_OK => Ok(plugin),
        other => Err(other),
    }
}

/// Forgets the names of a plugin.
pub fn plugin_remove(host: Host, plugin: u32) -> AtollStatus {
    // SAFETY: takes numbers only.
    unsafe { (host.plugin_remove)(plugin) }
}

/// A core that only remembers replies, for the tests of other files.
#[cfg(test)]
pub mod fake {
    use std::ffi::c_void;
    use std::sync::mpsc::Sender;

    use super::*;
    use crate::abi::{ATOLL_ABI_VERSION, ATOLL_NOT_FOUND};

    /// What a reply carried.
    pub type Replied = (AtollStatus, Vec<u8>);

    unsafe extern "C" fn group_add(_: *const AtollGroupLimits, _: *mut u32) -> AtollStatus {
        ATOLL_NOT_FOUND
    }
    unsafe extern "C" fn group_set(_: u32, _: *const AtollGroupLimits) -> AtollStatus {
        ATOLL_OK
    }
    unsafe extern "C" fn number(_: u32) -> AtollStatus {
        ATOLL_OK
    }
    unsafe extern "C" fn target_add(_: u32, _: u32, _: u32, _: *mut u32) -> AtollStatus {
        ATOLL_NOT_FOUND
    }
    unsafe extern "C" fn plugin_add(
        _: u32,
        _: u32,
        _: *const u8,
        _: u32,
        _: *const AtollExport,
        _: u32,
        _: *mut u32,
    ) -> AtollStatus {
        ATOLL_NOT_FOUND
    }
    unsafe extern "C" fn blob_take(
        _: *mut c_void,
        _: u32,
        _: *mut *mut u8,
        _: *mut u64,
    ) -> AtollStatus {
        ATOLL_NOT_FOUND
    }
    unsafe extern "C" fn blob_free(_: *mut u8, _: u64) {}
    unsafe extern "C" fn call_migrate(_: *mut c_void) -> AtollStatus {
        ATOLL_OK
    }
    unsafe extern "C" fn call_payload(_: *mut c_void, _: *mut *mut u8) -> AtollStatus {
        ATOLL_NOT_FOUND
    }
    unsafe extern "C" fn call_event(
        _: *mut c_void,
        _: u32,
        _: u32,
        _: *const u8,
        _: u32,
    ) -> AtollStatus {
        ATOLL_OK
    }
    unsafe extern "C" fn call_reply(
        call: *mut c_void,
        status: u32,
        _: u32,
        bytes: *const u8,
        length: u32,
    ) {
        // SAFETY: `open` made it, and a call is replied to once.
        let sender = unsafe { Box::from_raw(call.cast::<Sender<Replied>>()) };
        // SAFETY: the engine passes valid bytes.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, length as usize) }.to_vec();
        sender.send((status, bytes)).expect("the test waits");
    }
    unsafe extern "C" fn chunk_free(_: *mut c_void, _: u32) {}

    /// Its table.
    pub static HOST: AtollHost = AtollHost {
        abi_version: ATOLL_ABI_VERSION,
        reserved: 0,
        group_add,
        group_set,
        group_remove: number,
        target_add,
        target_remove: number,
        plugin_add,
        plugin_remove: number,
        blob_take,
        blob_free,
        call_migrate,
        call_payload,
        call_event,
        call_reply,
        chunk_free,
    };

    /// An open call whose reply goes to `sender`.
    pub fn open(sender: Sender<Replied>) -> CallRef {
        CallRef::new(&HOST, Box::into_raw(Box::new(sender)).cast())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_duty_to_reply_that_is_dropped_is_fulfilled() {
        let (sender, receiver) = channel();
        drop(Reply::new(fake::open(sender)));
        assert_eq!(
            receiver.recv(),
            Ok((ATOLL_PANIC, crate::error::PANIC_JSON.to_vec()))
        );
        assert!(receiver.recv().is_err(), "there is one reply");
    }

    #[test]
    fn a_reply_is_sent_once() {
        let (sender, receiver) = channel();
        Reply::new(fake::open(sender)).send(ATOLL_OK, 0, b"done");
        assert_eq!(receiver.recv(), Ok((ATOLL_OK, b"done".to_vec())));
        assert!(receiver.recv().is_err());
    }
}
