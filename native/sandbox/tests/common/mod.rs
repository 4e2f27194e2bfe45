//! A core in the test's own process: just enough of `atoll_host_t` to drive the engine's table.
//!
//! Owns: calls, their events and replies, blobs, and the bookkeeping that shows leaks (chunks and
//! states given back, groups removed). It does what the boundary says and nothing more.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod core;
pub mod guests;
pub mod host_guests;
pub mod http_guest;

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use atoll_sandbox::abi::*;
use serde_json::{Value, json};

use self::core::{BLOBS, CHUNKS, Call, HOST, LIMITS, NEXT, REFUSED, TARGET_GROUPS, TARGETS, Told};
pub use self::core::{Event, Reply};

/// Longer than anything here takes; a test that reaches it has hung.
const WATCHDOG: Duration = Duration::from_secs(60);

/// An attached engine.
pub struct Rig {
    table: AtollEngine,
    context: *mut c_void,
}

// SAFETY: the engine's functions may be called from any thread.
unsafe impl Send for Rig {}
// SAFETY: as above.
unsafe impl Sync for Rig {}

/// A call in flight.
pub struct Started<'a> {
    rig: &'a Rig,
    call: Arc<Call>,
    state: *mut c_void,
    /// What `call_start` returned.
    pub status: u32,
}

/// How a call is asked for.
#[derive(Clone)]
pub struct Ask {
    pub kind: u8,
    pub flags: u16,
    pub inline: bool,
    pub budget: Duration,
    /// Whether the core took the budget from the group: no caller asked for less.
    pub budget_is_limit: bool,
    pub window: u32,
    /// Parts the payload comes in; the engine asks for one piece.
    pub parts: u32,
}

impl Default for Ask {
    fn default() -> Ask {
        Ask {
            kind: ATOLL_KIND_CALL,
            flags: ATOLL_FLAG_JSON,
            inline: true,
            budget: Duration::from_secs(30),
            budget_is_limit: false,
            window: u32::MAX,
            parts: 0,
        }
    }
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(&json!({ "instances": 16, "workerThreads": 2 }))
    }

    pub fn with(config: &Value) -> Rig {
        Rig::attach(config).unwrap_or_else(|(status, text)| panic!("{status}: {text}"))
    }

    pub fn attach(config: &Value) -> Result<Rig, (u32, String)> {
        let config = config.to_string();
        let mut table = std::mem::MaybeUninit::<AtollEngine>::uninit();
        let mut context = ptr::null_mut();
        let mut text = [0u8; 512];
        let mut length = text.len() as u32;
        // SAFETY: every pointer is valid for what is done with it.
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
            let text = String::from_utf8_lossy(&text[..length as usize]).into_owned();
            return Err((status, text));
        }
        Ok(Rig {
            // SAFETY: the engine is attached and the state not freed.
            table: unsafe { table.assume_init() },
            context,
        })
    }

    /// A CONTROL request.
    pub fn control(&self, request: &Value) -> Reply {
        let ask = Ask {
            kind: ATOLL_KIND_CONTROL,
            ..Ask::default()
        };
        let started = self.start(0, request.to_string().as_bytes(), &ask);
        assert_eq!(started.status, ATOLL_PENDING, "CONTROL never runs inline");
        started.wait()
    }

    pub fn blob(bytes: &[u8]) -> u32 {
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        BLOBS
            .lock()
            .unwrap()
            .get_or_insert_default()
            .insert(number, bytes.to_vec());
        number
    }

    pub fn try_load(&self, bytes: &[u8], limits: Value) -> Reply {
        let blob = Rig::blob(bytes);
        self.control(&json!({ "op": "load", "id": "test", "blob": blob, "limits": limits }))
    }

    pub fn load(&self, bytes: &[u8], limits: Value) -> Loaded {
        let reply = self.try_load(bytes, limits);
        assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
        Loaded { json: reply.json() }
    }

    pub fn load_wat(&self, wat: &str, limits: Value) -> Loaded {
        self.load(&wat::parse_str(wat).unwrap(), limits)
    }

    /// An instance of a loaded component; its functions have the component's names.
    pub fn instantiate(&self, component: &Loaded) -> Loaded {
        let reply = self.try_instantiate(component.number());
        assert_eq!(reply.status, ATOLL_OK, "{}", reply.text());
        let mut json = reply.json();
        let functions = component.json["functions"].as_array().unwrap();
        assert_eq!(json["functions"].as_array().unwrap().len(), functions.len());
        for (at, function) in functions.iter().enumerate() {
            json["functions"][at]["name"] = function["name"].clone();
        }
        Loaded { json }
    }

    pub fn try_instantiate(&self, component: u64) -> Reply {
        self.control(&json!({ "op": "instantiate", "component": component }))
    }

    pub fn start(&self, handle: u32, payload: &[u8], ask: &Ask) -> Started<'_> {
        let payload = payload.to_vec();
        let now = monotonic_ns();
        let request = AtollRequest {
            payload: if ask.parts == 0 {
                payload.as_ptr()
            } else {
                ptr::null()
            },
            deadline_ns: now + ask.budget.as_nanos() as u64,
            request_id: 7,
            payload_length: payload.len() as u32,
            handle,
            kind: u32::from(ask.kind),
            flags: u32::from(ask.flags),
            ticket: 1,
            inline_allowed: u32::from(ask.inline),
            trace: ptr::null(),
            parts: ptr::null(),
            parts_count: ask.parts,
            deadline_is_limit: u32::from(ask.budget_is_limit),
        };
        let told = Told {
            window: ask.window,
            ..Told::default()
        };
        let call = Arc::new(Call {
            told: Mutex::new(told),
            changed: Condvar::new(),
            payload,
            request,
        });
        let mut state = ptr::null_mut();
        let raw = Arc::as_ptr(&call).cast_mut().cast();
        let status =
            // SAFETY: the engine is attached and the state not freed.
            unsafe { (self.table.call_start)(self.context, raw, &call.request, &mut state) };
        let started = Started {
            rig: self,
            call,
            state,
            status,
        };
        let told = started.call.told.lock().unwrap();
        match status {
            ATOLL_OK => assert!(told.reply.is_some() && !told.migrated && state.is_null()),
            ATOLL_PENDING => assert!(told.migrated && !state.is_null()),
            other => panic!("call_start returned {other}"),
        }
        drop(told);
        started
    }

    pub fn call(&self, target: u32, payload: &[u8]) -> Reply {
        self.call_as(target, payload, &Ask::default())
    }

    pub fn call_as(&self, target: u32, payload: &[u8], ask: &Ask) -> Reply {
        self.start(handle(target), payload, ask).wait()
    }

    pub fn stats(&self) -> Value {
        self.control(&json!({ "op": "stats" })).json()
    }

    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // SAFETY: the engine is attached and the state not freed.
        unsafe { (self.table.close)(self.context) };
    }
}

/// The handle that the engine gave for a target.
pub fn handle(target: u32) -> u32 {
    TARGETS
        .lock()
        .unwrap()
        .get_or_insert_default()
        .get(&target)
        .copied()
        .unwrap_or(u32::MAX)
}

/// The limits that the group of a target has.
pub fn group_limits(target: u32) -> AtollGroupLimits {
    let group = TARGET_GROUPS.lock().unwrap().as_ref().unwrap()[&target];
    LIMITS.lock().unwrap().as_ref().unwrap()[&group]
}

/// Has the core refuse groups with such a queue.
pub fn refuse_groups(queue: u32) {
    REFUSED.store(queue, Ordering::SeqCst);
}

pub fn chunks_out() -> i64 {
    CHUNKS.load(Ordering::SeqCst)
}

pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: every pointer is valid for what is done with it.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The answer to a load.
pub struct Loaded {
    pub json: Value,
}

impl Loaded {
    pub fn target(&self, name: &str) -> u32 {
        let functions = self.json["functions"].as_array().unwrap();
        let found = functions.iter().find(|f| f["name"] == name);
        found.unwrap_or_else(|| panic!("no function {name}"))["target"]
            .as_u64()
            .unwrap() as u32
    }

    pub fn http(&self) -> u32 {
        self.json["http"].as_u64().unwrap() as u32
    }

    pub fn number(&self) -> u64 {
        self.json["component"].as_u64().unwrap()
    }

    pub fn instance(&self) -> u64 {
        self.json["instance"].as_u64().unwrap()
    }
}

impl Started<'_> {
    /// Waits for the reply.
    pub fn wait(&self) -> Reply {
        self.until(|told| told.reply.clone())
    }

    /// Waits for the next event; none: the reply came instead.
    pub fn event(&self) -> Option<Event> {
        self.until(|told| match told.events.pop_front() {
            Some(event) => Some(Some(event)),
            None => told.reply.is_some().then_some(None),
        })
    }

    pub fn events(&self) -> Vec<Event> {
        self.call.told.lock().unwrap().events.drain(..).collect()
    }

    pub fn replied(&self) -> bool {
        self.call.told.lock().unwrap().reply.is_some()
    }

    pub fn credited(&self) -> u32 {
        self.call.told.lock().unwrap().credited
    }

    pub fn wait_credited(&self, chunks: u32) {
        self.until(|told| (told.credited >= chunks).then_some(()));
    }

    fn until<T>(&self, mut ready: impl FnMut(&mut Told) -> Option<T>) -> T {
        let begin = Instant::now();
        let mut told = self.call.told.lock().unwrap();
        loop {
            if let Some(value) = ready(&mut told) {
                return value;
            }
            assert!(begin.elapsed() < WATCHDOG, "the call never ended");
            told = self.call.changed.wait_timeout(told, WATCHDOG).unwrap().0;
        }
    }

    pub fn cancel(&self) {
        // SAFETY: the engine is attached and the state not freed.
        unsafe { (self.rig.table.call_cancel)(self.rig.context, self.state) };
    }

    /// Sends a chunk of the request's body.
    pub fn chunk(&self, bytes: &'static [u8], end: bool) -> u32 {
        CHUNKS.fetch_add(1, Ordering::SeqCst);
        let flags = if end { u32::from(ATOLL_FLAG_END) } else { 0 };
        // SAFETY: every pointer is valid for what is done with it.
        let status = unsafe {
            (self.rig.table.call_chunk)(
                self.rig.context,
                self.state,
                1,
                bytes.as_ptr(),
                bytes.len() as u32,
                flags,
            )
        };
        if status != ATOLL_OK {
            CHUNKS.fetch_sub(1, Ordering::SeqCst);
        }
        status
    }

    /// Makes room for so many more events.
    pub fn credit(&self, chunks: u32) {
        {
            let mut told = self.call.told.lock().unwrap();
            told.window = told.window.saturating_add(chunks);
        }
        // SAFETY: the engine is attached and the state not freed.
        unsafe { (self.rig.table.call_credit)(self.rig.context, self.state, chunks) };
    }
}

/// A call whose engine may be gone.
pub struct Detached(Arc<Call>);

impl Detached {
    /// The reply, if it has come.
    pub fn reply(&self) -> Option<Reply> {
        self.0.told.lock().unwrap().reply.clone()
    }
}

impl Started<'_> {
    /// Keeps the call and leaves its state to the engine's end.
    pub fn detach(self) -> Detached {
        let call = Arc::clone(&self.call);
        std::mem::forget(self);
        Detached(call)
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if self.status == ATOLL_PENDING {
            self.wait();
            // SAFETY: the engine is attached and the state not freed.
            unsafe { (self.rig.table.state_free)(self.rig.context, self.state) };
        }
    }
}

/// The call ended at this limit, which is named with its value and its key.
pub fn assert_limit(reply: &Reply, limit: &str, value: u64, key: &str) {
    assert_eq!(reply.status, ATOLL_LIMIT, "{}", reply.text());
    let json = reply.json();
    assert_eq!(json["limit"], limit, "{json}");
    assert_eq!(json["value"], value, "{json}");
    assert_eq!(json["key"], key, "{json}");
    assert!(json["message"].as_str().unwrap().contains(key), "{json}");
}

/// A plugin of `guests::echo` answers.
pub fn works(rig: &Rig, echo: &Loaded) {
    let reply = rig.call(echo.target("sum"), br#"{"a":40,"b":2}"#);
    assert_eq!((reply.status, reply.text().as_str()), (ATOLL_OK, "42"));
}
