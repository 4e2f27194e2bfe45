//! The table of a core: calls remember what they were told, blobs and targets are kept in maps.

use std::collections::{HashMap, VecDeque};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};

use atoll_sandbox::abi::*;
use serde_json::Value;

pub static BLOBS: Mutex<Option<HashMap<u32, Vec<u8>>>> = Mutex::new(None);
pub static NEXT: AtomicU32 = AtomicU32::new(1);
pub static GROUPS: AtomicI64 = AtomicI64::new(0);
/// Limits of groups, as they were set last.
pub static LIMITS: Mutex<Option<HashMap<u32, AtollGroupLimits>>> = Mutex::new(None);
/// Groups with such a queue are refused, too.
pub static REFUSED: AtomicU32 = AtomicU32::new(u32::MAX);
/// Groups of targets.
pub static TARGET_GROUPS: Mutex<Option<HashMap<u32, u32>>> = Mutex::new(None);
pub static CHUNKS: AtomicI64 = AtomicI64::new(0);
pub static TARGETS: Mutex<Option<HashMap<u32, u32>>> = Mutex::new(None);
/// Id and exports of the plugins that are known by name.
pub static PLUGINS: Mutex<Option<HashMap<u32, Named>>> = Mutex::new(None);

/// An id, and names with their targets.
pub type Named = (String, HashMap<String, u32>);

/// What a call has told so far.
#[derive(Default)]
pub struct Told {
    pub migrated: bool,
    pub events: VecDeque<Event>,
    pub reply: Option<Reply>,
    /// Events that still fit.
    pub window: u32,
    pub credited: u32,
}

/// One event of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: u32,
    pub flags: u32,
    pub bytes: Vec<u8>,
}

/// The end of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u32,
    pub flags: u32,
    pub bytes: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }
}

/// A call, alive until its reply was taken.
pub struct Call {
    pub told: Mutex<Told>,
    pub changed: Condvar,
    pub payload: Vec<u8>,
    pub request: AtollRequest,
}

// SAFETY: the pointer in `request` points into `payload`, which is never changed.
unsafe impl Send for Call {}
// SAFETY: as above.
unsafe impl Sync for Call {}

unsafe fn call_of<'a>(call: *mut c_void) -> &'a Call {
    // SAFETY: every pointer given to the engine is of a `Call` that its test keeps.
    unsafe { &*call.cast::<Call>() }
}

/// What the core accepts at most.
const COUNT_MAX: u32 = 0xff_ffff;

/// # Safety
/// `limits` must be valid for reading.
unsafe fn set(group: u32, limits: *const AtollGroupLimits) -> AtollStatus {
    // SAFETY: promised by the caller.
    let limits = unsafe { *limits };
    let refused = limits.queue_max == REFUSED.load(Ordering::SeqCst);
    if refused || limits.concurrency_max > COUNT_MAX || limits.queue_max > COUNT_MAX {
        return ATOLL_INVALID_ARGUMENT;
    }
    LIMITS
        .lock()
        .unwrap()
        .get_or_insert_default()
        .insert(group, limits);
    ATOLL_OK
}
unsafe extern "C" fn group_add(limits: *const AtollGroupLimits, group: *mut u32) -> AtollStatus {
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    // SAFETY: every pointer is valid for what is done with it.
    let status = unsafe {
        *group = number;
        set(number, limits)
    };
    if status == ATOLL_OK {
        GROUPS.fetch_add(1, Ordering::SeqCst);
    }
    status
}
unsafe extern "C" fn group_set(group: u32, limits: *const AtollGroupLimits) -> AtollStatus {
    // SAFETY: as above.
    unsafe { set(group, limits) }
}
unsafe extern "C" fn group_remove(_: u32) -> AtollStatus {
    GROUPS.fetch_sub(1, Ordering::SeqCst);
    ATOLL_OK
}
unsafe extern "C" fn target_add(_: u32, handle: u32, group: u32, target: *mut u32) -> AtollStatus {
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    TARGET_GROUPS
        .lock()
        .unwrap()
        .get_or_insert_default()
        .insert(number, group);
    TARGETS
        .lock()
        .unwrap()
        .get_or_insert_default()
        .insert(number, handle);
    // SAFETY: every pointer is valid for what is done with it.
    unsafe { *target = number };
    ATOLL_OK
}
unsafe extern "C" fn target_remove(target: u32) -> AtollStatus {
    match TARGETS
        .lock()
        .unwrap()
        .get_or_insert_default()
        .remove(&target)
    {
        Some(_) => ATOLL_OK,
        None => ATOLL_NOT_FOUND,
    }
}
unsafe extern "C" fn plugin_add(
    _: u32,
    _: u32,
    id: *const u8,
    id_length: u32,
    exports: *const AtollExport,
    exports_length: u32,
    plugin: *mut u32,
) -> AtollStatus {
    // SAFETY: every pointer is valid for the length beside it.
    let text = |bytes: *const u8, length: u32| unsafe {
        String::from_utf8(std::slice::from_raw_parts(bytes, length as usize).to_vec()).unwrap()
    };
    // SAFETY: as above.
    let exports = unsafe { std::slice::from_raw_parts(exports, exports_length as usize) };
    let names = exports
        .iter()
        .map(|export| (text(export.name, export.name_length), export.target))
        .collect();
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    PLUGINS
        .lock()
        .unwrap()
        .get_or_insert_default()
        .insert(number, (text(id, id_length), names));
    // SAFETY: as above.
    unsafe { *plugin = number };
    ATOLL_OK
}
unsafe extern "C" fn plugin_remove(plugin: u32) -> AtollStatus {
    match PLUGINS
        .lock()
        .unwrap()
        .get_or_insert_default()
        .remove(&plugin)
    {
        Some(_) => ATOLL_OK,
        None => ATOLL_NOT_FOUND,
    }
}
unsafe extern "C" fn blob_take(
    _: *mut c_void,
    blob: u32,
    bytes: *mut *mut u8,
    length: *mut u64,
) -> AtollStatus {
    let Some(blob) = BLOBS.lock().unwrap().get_or_insert_default().remove(&blob) else {
        return ATOLL_NOT_FOUND;
    };
    let blob = Box::leak(blob.into_boxed_slice());
    // SAFETY: every pointer is valid for what is done with it.
    unsafe {
        *length = blob.len() as u64;
        *bytes = blob.as_mut_ptr();
    }
    ATOLL_OK
}
unsafe extern "C" fn blob_free(bytes: *mut u8, length: u64) {
    // SAFETY: what `blob_take` leaked, given back once.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(bytes, length as usize)) });
}
unsafe extern "C" fn call_migrate(call: *mut c_void) -> AtollStatus {
    // SAFETY: the engine passes a call that its test keeps.
    let call = unsafe { call_of(call) };
    let mut told = call.told.lock().unwrap();
    assert!(!told.migrated, "migrated twice");
    told.migrated = true;
    ATOLL_OK
}
unsafe extern "C" fn call_payload(call: *mut c_void, bytes: *mut *mut u8) -> AtollStatus {
    // SAFETY: the engine passes a call that its test keeps, and a place for the pointer.
    unsafe { *bytes = call_of(call).payload.as_ptr().cast_mut() };
    ATOLL_OK
}
unsafe extern "C" fn call_event(
    call: *mut c_void,
    kind: u32,
    flags: u32,
    bytes: *const u8,
    length: u32,
) -> AtollStatus {
    // SAFETY: the engine passes a call that its test keeps.
    let call = unsafe { call_of(call) };
    let mut told = call.told.lock().unwrap();
    assert!(told.reply.is_none(), "an event after the reply");
    if kind == u32::from(ATOLL_KIND_CREDIT) {
        told.credited += length;
    } else {
        let streamed = kind != u32::from(ATOLL_KIND_LOG);
        assert!(
            told.migrated || !streamed,
            "HEAD or BODY of a call that was not migrated"
        );
        if streamed {
            if told.window == 0 {
                return ATOLL_WOULD_BLOCK;
            }
            told.window -= 1;
        }
        let bytes = match length {
            0 => Vec::new(),
            // SAFETY: the engine passes valid bytes.
            _ => unsafe { std::slice::from_raw_parts(bytes, length as usize) }.to_vec(),
        };
        assert!(bytes.len() <= ATOLL_CHUNK_BYTES_MAX as usize);
        told.events.push_back(Event { kind, flags, bytes });
    }
    call.changed.notify_all();
    ATOLL_OK
}
unsafe extern "C" fn call_reply(
    call: *mut c_void,
    status: u32,
    flags: u32,
    bytes: *const u8,
    length: u32,
) {
    // SAFETY: the engine passes a call that its test keeps.
    let call = unsafe { call_of(call) };
    let bytes = match length {
        0 => Vec::new(),
        // SAFETY: the engine passes valid bytes.
        _ => unsafe { std::slice::from_raw_parts(bytes, length as usize) }.to_vec(),
    };
    let mut told = call.told.lock().unwrap();
    assert!(told.reply.is_none(), "two replies");
    told.reply = Some(Reply {
        status,
        flags,
        bytes,
    });
    call.changed.notify_all();
}
unsafe extern "C" fn chunk_free(_: *mut c_void, _: u32) {
    CHUNKS.fetch_sub(1, Ordering::SeqCst);
}

pub static HOST: AtollHost = AtollHost {
    abi_version: ATOLL_ABI_VERSION,
    reserved: 0,
    group_add,
    group_set,
    group_remove,
    target_add,
    target_remove,
    plugin_add,
    plugin_remove,
    blob_take,
    blob_free,
    call_migrate,
    call_payload,
    call_event,
    call_reply,
    chunk_free,
};
