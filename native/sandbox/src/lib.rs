//! The wasmtime engine of Atoll: `atoll_engine_attach` and the functions it hands to the core.
//!
//! Owns: the boundary in this direction. Every function is guarded: no panic crosses. It must not
//! know what an engine does with a call.

#![deny(
    clippy::expect_used,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    unsafe_op_in_unsafe_fn
)]
#![cfg_attr(test, allow(clippy::expect_used, clippy::unwrap_used))]

// The boundary's other side is C: what it may pass is written in `native/abi/atoll_abi.json`.
#[path = "abi.gen.rs"]
pub mod abi;
mod access;
mod address;
mod budget;
mod cache;
mod call;
mod census;
mod component;
pub mod config;
mod control;
mod crossing;
mod egress;
mod engine;
mod error;
mod exports;
mod folders;
mod function;
mod granted;
pub mod grants;
mod host;
mod http;
mod http3;
mod http_budget;
mod http_budget3;
mod http_head;
mod inline;
mod instance;
pub mod isolation;
mod kept;
mod keyed;
mod keyvalue;
pub mod limits;
mod logging;
mod meter;
mod output;
mod plugin;
mod plugin_memory;
mod progress;
mod reply;
pub mod request;
mod sockets;
mod sources;
mod state;
mod task;
mod ticker;
mod told;
mod used;
mod values;
mod views;
mod wasi;
mod wasi3;
mod wasi_config;
mod wasm;
mod wit;
mod wit_text;

use std::ffi::c_void;
use std::mem::size_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use abi::{
    ATOLL_ABI_VERSION, ATOLL_CLOSED, ATOLL_INVALID_ARGUMENT, ATOLL_OK, ATOLL_PANIC, ATOLL_VERSION,
    AtollEngine, AtollEngineAttach, AtollHost, AtollRequest, AtollStatus,
};
use config::Settings;
use engine::{Engine, Owner};
use host::CallRef;
use state::CallState;

// The signature below is the one of the boundary.
const _: AtollEngineAttach = atoll_engine_attach;

/// Runs `body`; a panic becomes `panicked`.
fn guard<T>(panicked: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(panic) => {
            // Dropping a panic's payload may panic again.
            std::mem::forget(panic);
            panicked
        }
    }
}

/// Starts an engine for the core.
///
/// # Safety
/// `host` must stay valid for the process; `config` must be valid for `config_length` bytes,
/// `table`, `context` and `text_length` for writing, `text` for as many bytes as `text_length`
/// says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atoll_engine_attach(
    abi_version: u32,
    host: *const AtollHost,
    engine: u32,
    config: *const u8,
    config_length: u32,
    table: *mut AtollEngine,
    context: *mut *mut c_void,
    text: *mut u8,
    text_length: *mut u32,
) -> AtollStatus {
    guard(ATOLL_PANIC, || {
        if abi_version != ATOLL_ABI_VERSION {
            return ATOLL_VERSION;
        }
        if host.is_null() || table.is_null() || context.is_null() {
            return ATOLL_INVALID_ARGUMENT;
        }
        let config = match config_length {
            0 => &b"{}"[..],
            // SAFETY: the caller's promise; null only with length 0.
            length => unsafe { std::slice::from_raw_parts(config, length as usize) },
        };
        // SAFETY: the caller's promise; the copy has no lifetime to keep.
        let host = Box::leak(Box::new(unsafe { *host }));
        let started = serde_json::from_slice::<Settings>(config)
            .map_err(|e| {
                (
                    ATOLL_INVALID_ARGUMENT,
                    format!("the engine's configuration: {e}"),
                )
            })
            .and_then(|s| Owner::start(host, engine, &s));
        match started {
            Ok(owner) => {
                let engine = Arc::clone(&owner.engine);
                let open = Box::new(Context {
                    engine,
                    owner: std::sync::Mutex::new(Some(owner)),
                });
                // SAFETY: both are valid for writing, as promised.
                unsafe {
                    *table = TABLE;
                    *context = Box::into_raw(open).cast();
                }
                ATOLL_OK
            }
            Err((status, message)) => {
                // SAFETY: as promised for text and text_length.
                unsafe { explain(&message, text, text_length) };
                status
            }
        }
    })
}

/// # Safety
/// `text` must be valid for writing as many bytes as `text_length` says.
unsafe fn explain(message: &str, text: *mut u8, text_length: *mut u32) {
    if text.is_null() || text_length.is_null() {
        return;
    }
    // SAFETY: promised by the caller; the copy is cut at the capacity.
    unsafe {
        let length = message.len().min(*text_length as usize);
        std::ptr::copy_nonoverlapping(message.as_ptr(), text, length);
        *text_length = u32::try_from(length).unwrap_or(0);
    }
}

const TABLE: AtollEngine = AtollEngine {
    abi_version: ATOLL_ABI_VERSION,
    reserved: 0,
    call_start,
    call_cancel,
    call_chunk,
    call_credit,
    state_free,
    close,
};

const _: () = assert!(size_of::<AtollEngine>() == 56);

/// What the core keeps for the engine.
struct Context {
    engine: Arc<Engine>,
    owner: std::sync::Mutex<Option<Owner>>,
}

/// # Safety
/// As in the boundary: `engine` comes from attach and is not closed, `call` is open, `request` is
/// valid until the reply, `state` is valid for writing.
unsafe extern "C" fn call_start(
    engine: *mut c_void,
    call: *mut c_void,
    request: *const AtollRequest,
    state: *mut *mut c_void,
) -> AtollStatus {
    // A panic in here has replied: whoever unwinds drops the duty to reply, which fulfils it.
    guard(ATOLL_OK, || {
        // SAFETY: the caller's promise.
        let (context, request, state) =
            unsafe { (&*engine.cast::<Context>(), &*request, &mut *state) };
        let call = CallRef::new(context.engine.host(), call);
        inline::start(&context.engine, call, request, state)
    })
}

/// # Safety
/// `state` is one that `call_start` stored and `state_free` has not taken.
unsafe fn state_of<'a>(state: *mut c_void) -> Option<&'a CallState> {
    // SAFETY: the caller's promise; a call that ended inline stored null.
    unsafe { state.cast_const().cast::<CallState>().as_ref() }
}

/// # Safety
/// As [`state_of`].
unsafe extern "C" fn call_cancel(_engine: *mut c_void, state: *mut c_void) {
    guard((), || {
        // SAFETY: the caller's promise.
        if let Some(state) = unsafe { state_of(state) } {
            state.cancel();
        }
    });
}

/// # Safety
/// As [`state_of`]; `bytes` is valid for `length` bytes until `chunk_free`.
unsafe extern "C" fn call_chunk(
    _engine: *mut c_void,
    state: *mut c_void,
    chunk: u32,
    bytes: *const u8,
    length: u32,
    flags: u32,
) -> AtollStatus {
    guard(ATOLL_PANIC, || {
        // SAFETY: the caller's promise.
        match unsafe { state_of(state) } {
            Some(state) if state.chunk(chunk, bytes, length, flags) => ATOLL_OK,
            _ => ATOLL_CLOSED,
        }
    })
}

/// # Safety
/// As [`state_of`].
unsafe extern "C" fn call_credit(_engine: *mut c_void, state: *mut c_void, _chunks: u32) {
    guard((), || {
        // SAFETY: the caller's promise.
        if let Some(state) = unsafe { state_of(state) } {
            state.credit();
        }
    });
}

/// # Safety
/// As [`state_of`]; nothing uses the state afterwards.
unsafe extern "C" fn state_free(_engine: *mut c_void, state: *mut c_void) {
    guard((), || {
        if !state.is_null() {
            // SAFETY: `call_start` made it with `Arc::into_raw`, and this is called once for each.
            drop(unsafe { Arc::from_raw(state.cast_const().cast::<CallState>()) });
        }
    });
}

/// # Safety
/// `engine` comes from attach; this is called once, and of the table's functions only `state_free`
/// follows, but for `call_start` by a worker whose reply let the core start a waiting call.
unsafe extern "C" fn close(engine: *mut c_void) {
    guard((), || {
        let context = engine.cast::<Context>();
        // SAFETY: the caller's promise. Shared: a worker may still be in `call_start`.
        let owner = unsafe { &(*context).owner }
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if owner.is_some_and(Owner::close) {
            // SAFETY: attach made it, and no thread is left that could use it.
            drop(unsafe { Box::from_raw(context) });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_does_not_cross() {
        assert_eq!(guard(7, || panic!("in an exported function")), 7);
        assert_eq!(guard(7, || 8), 8);
    }

    #[test]
    fn another_version_and_null_are_refused() {
        // SAFETY: nothing is dereferenced before these two checks.
        let attach = |version| unsafe {
            atoll_engine_attach(
                version,
                std::ptr::null(),
                1,
                std::ptr::null(),
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        assert_eq!(attach(ATOLL_ABI_VERSION + 1), ATOLL_VERSION);
        assert_eq!(attach(ATOLL_ABI_VERSION), ATOLL_INVALID_ARGUMENT);
    }
}
