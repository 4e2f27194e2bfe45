//! The library's function table, driven by a core that does nothing but remember the last reply.

use std::error::Error;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use atoll_sandbox::abi::*;

static BLOB: Mutex<Option<Vec<u8>>> = Mutex::new(None);
/// Status and payload of a CONTROL reply.
type Answer = (u32, Vec<u8>);

static CONTROL: Mutex<Option<mpsc::Sender<Answer>>> = Mutex::new(None);
static TARGETS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A call: status and length of its reply, written once.
struct Call {
    status: AtomicU32,
    length: AtomicU32,
}

unsafe extern "C" fn group_add(_: *const AtollGroupLimits, group: *mut u32) -> AtollStatus {
    // SAFETY: the engine passes a valid pointer.
    unsafe { *group = 1 };
    ATOLL_OK
}
unsafe extern "C" fn group_set(_: u32, _: *const AtollGroupLimits) -> AtollStatus {
    ATOLL_OK
}
unsafe extern "C" fn number_ok(_: u32) -> AtollStatus {
    ATOLL_OK
}
unsafe extern "C" fn target_add(_: u32, handle: u32, _: u32, target: *mut u32) -> AtollStatus {
    let mut targets = TARGETS.lock().unwrap_or_else(|e| e.into_inner());
    targets.push(handle);
    // SAFETY: the engine passes a valid pointer.
    unsafe { *target = targets.len() as u32 - 1 };
    ATOLL_OK
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
    ATOLL_OK
}
unsafe extern "C" fn blob_take(
    _: *mut c_void,
    _: u32,
    bytes: *mut *mut u8,
    length: *mut u64,
) -> AtollStatus {
    let Some(blob) = BLOB.lock().unwrap_or_else(|e| e.into_inner()).take() else {
        return ATOLL_NOT_FOUND;
    };
    let blob = Box::leak(blob.into_boxed_slice());
    // SAFETY: the engine passes valid pointers.
    unsafe {
        *length = blob.len() as u64;
        *bytes = blob.as_mut_ptr();
    }
    ATOLL_OK
}
unsafe extern "C" fn blob_free(bytes: *mut u8, length: u64) {
    // SAFETY: what blob_take leaked, given back once.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(bytes, length as usize)) });
}
unsafe extern "C" fn call_payload(_: *mut c_void, _: *mut *mut u8) -> AtollStatus {
    ATOLL_NOT_FOUND
}
unsafe extern "C" fn call_migrate(_: *mut c_void) -> AtollStatus {
    ATOLL_OK
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
    if !call.is_null() {
        // SAFETY: `Library::call` keeps it until the reply.
        let call = unsafe { &*call.cast::<Call>() };
        call.length.store(length, Ordering::Relaxed);
        call.status.store(status, Ordering::Release);
        return;
    }
    // SAFETY: the engine passes valid bytes.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, length as usize) }.to_vec();
    if let Some(sender) = CONTROL.lock().unwrap_or_else(|e| e.into_inner()).take() {
        let _ = sender.send((status, bytes));
    }
}
unsafe extern "C" fn chunk_free(_: *mut c_void, _: u32) {}

static HOST: AtollHost = AtollHost {
    abi_version: ATOLL_ABI_VERSION,
    reserved: 0,
    group_add,
    group_set,
    group_remove: number_ok,
    target_add,
    target_remove: number_ok,
    plugin_add,
    plugin_remove: number_ok,
    blob_take,
    blob_free,
    call_migrate,
    call_payload,
    call_event,
    call_reply,
    chunk_free,
};

/// An attached engine with one component.
pub struct Library {
    table: AtollEngine,
    context: *mut c_void,
    handle: u32,
    kept_handle: u32,
}

/// The engine's handle of a function in an answer.
fn handle(function: &serde_json::Value) -> Result<u32, Box<dyn Error>> {
    let target = function["target"].as_u64().ok_or("no target")?;
    Ok(TARGETS.lock().unwrap_or_else(|e| e.into_inner())[target as usize])
}

impl Library {
    /// Attaches and loads.
    pub fn new(component: &[u8], export: &str) -> Result<Library, Box<dyn Error>> {
        let config = format!("{{\"instances\":{}}}", super::INSTANCES);
        let mut table = MaybeUninit::uninit();
        let mut context = ptr::null_mut();
        let mut text = [0u8; 256];
        let mut length = 256;
        // SAFETY: every pointer is valid for what the function does with it.
        let status = unsafe {
            atoll_sandbox::atoll_engine_attach(
                ATOLL_ABI_VERSION,
                &HOST,
                1,
                config.as_ptr(),
                config.len() as u32,
                table.as_mut_ptr(),
                &mut context,
                text.as_mut_ptr(),
                &mut length,
            )
        };
        if status != ATOLL_OK {
            return Err(String::from_utf8_lossy(&text[..length as usize]).into());
        }
        // SAFETY: attach has filled it in.
        let table = unsafe { table.assume_init() };
        let mut library = Library {
            table,
            context,
            handle: 0,
            kept_handle: 0,
        };
        *BLOB.lock().unwrap_or_else(|e| e.into_inner()) = Some(component.to_vec());
        let loaded = library.control(r#"{"op":"load","id":"bench","blob":1}"#)?;
        let functions = loaded["functions"].as_array().ok_or("no functions")?;
        let place = functions
            .iter()
            .position(|f| f["name"] == export)
            .ok_or("no such function")?;
        library.handle = handle(&functions[place])?;
        let request = format!(
            "{{\"op\":\"instantiate\",\"component\":{}}}",
            loaded["component"]
        );
        let kept = library.control(&request)?;
        library.kept_handle = handle(&kept["functions"][place])?;
        Ok(library)
    }

    /// A CONTROL request and its answer.
    fn control(&self, text: &str) -> Result<serde_json::Value, Box<dyn Error>> {
        let (sender, receiver) = mpsc::channel();
        *CONTROL.lock().unwrap_or_else(|e| e.into_inner()) = Some(sender);
        let mut state = ptr::null_mut();
        let request = self.request(ATOLL_KIND_CONTROL, ATOLL_FLAG_JSON, 0, text.as_bytes());
        // SAFETY: the request and its payload outlive the reply, which is awaited below.
        unsafe { (self.table.call_start)(self.context, ptr::null_mut(), &request, &mut state) };
        let (status, bytes) = receiver.recv_timeout(Duration::from_secs(120))?;
        // SAFETY: the reply has come; nothing uses the state any more.
        unsafe { (self.table.state_free)(self.context, state) };
        let json: serde_json::Value = serde_json::from_slice(&bytes)?;
        match status {
            ATOLL_OK => Ok(json),
            _ => Err(json.to_string().into()),
        }
    }

    fn request(&self, kind: u8, flags: u16, handle: u32, payload: &[u8]) -> AtollRequest {
        AtollRequest {
            payload: payload.as_ptr(),
            deadline_ns: u64::MAX / 2,
            request_id: 1,
            payload_length: payload.len() as u32,
            handle,
            kind: u32::from(kind),
            flags: u32::from(flags),
            ticket: 1,
            inline_allowed: 1,
            trace: ptr::null(),
            parts: ptr::null(),
            parts_count: 0,
            deadline_is_limit: 0,
        }
    }

    /// One raw call, in a fresh instance or in the one that is kept; the length of its result, and
    /// whether it ended inline.
    pub fn call(&self, payload: &[u8], warm: bool) -> Result<(usize, bool), Box<dyn Error>> {
        let handle = if warm { self.kept_handle } else { self.handle };
        let request = self.request(ATOLL_KIND_CALL, 0, handle, payload);
        let call = Call {
            status: AtomicU32::new(u32::MAX),
            length: AtomicU32::new(0),
        };
        let mut state = ptr::null_mut();
        let raw = ptr::from_ref(&call).cast_mut().cast();
        // SAFETY: call and request are kept until the reply, which is awaited below.
        let started = unsafe { (self.table.call_start)(self.context, raw, &request, &mut state) };
        while call.status.load(Ordering::Acquire) == u32::MAX {
            std::thread::yield_now();
        }
        if started == ATOLL_PENDING {
            // SAFETY: the reply has come; nothing uses the state any more.
            unsafe { (self.table.state_free)(self.context, state) };
        }
        match call.status.load(Ordering::Relaxed) {
            ATOLL_OK => Ok((
                call.length.load(Ordering::Relaxed) as usize,
                started == ATOLL_OK,
            )),
            other => Err(format!("the call ended with status {other}").into()),
        }
    }
}
