//! The engine: wasmtime, its runtime and ticker, and what is loaded.
//!
//! Owns: the threads, and the tables of exports and components. It must not know frames or how
//! calls are run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::Thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle, Runtime};
use wasmtime::component::Linker;

use crate::cache::Cache;
use crate::component::{Export, Loaded, Plugin};
use crate::config::{self, Settings};
use crate::host::{self, Host};
use crate::instance::Data;
use crate::ticker::{Clock, Ticker};
use crate::wasi;

/// How much less a worker's time counts than the caller's: guests that spin must not starve it.
const WORKER_NICE: i32 = 10;

/// How long closing waits for a compilation.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sets the nice value of the calling thread; left as it is where that is not allowed.
pub fn set_priority(nice: i32) {
    // SAFETY: takes numbers only; 0 means the calling thread on Linux.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// Everything the functions of the table share.
pub struct Engine {
    host: Host,
    number: u32,
    wasm: wasmtime::Engine,
    linker: Linker<Data>,
    runtime: Handle,
    clock: Arc<Clock>,
    ticker: Thread,
    cache: Option<Cache>,
    cache_error: Option<String>,
    instances: u32,
    instances_asked: u32,
    exports: RwLock<Vec<Option<Arc<Export>>>>,
    components: Mutex<Components>,
    calls_migrated: AtomicU64,
    closing: AtomicBool,
}

#[derive(Default)]
struct Components {
    last: u32,
    loaded: HashMap<u32, Loaded>,
}

/// An engine and its threads.
pub struct Owner {
    /// The engine.
    pub engine: Arc<Engine>,
    runtime: Runtime,
    ticker: Ticker,
}

impl Owner {
    /// Starts an engine. The error is a sentence.
    pub fn start(host: Host, number: u32, settings: &Settings) -> Result<Owner, String> {
        let (wasm, instances) = config::engine(settings.instances)?;
        let mut linker = Linker::new(&wasm);
        wasi::link(&mut linker).map_err(|e| format!("WASI cannot be linked: {e:#}"))?;
        let ticker =
            Ticker::start(wasm.clone()).map_err(|e| format!("no thread for the epoch: {e}"))?;
        let ticker_thread = ticker.thread().ok_or("no thread for the epoch")?;
        let runtime = runtime(settings.worker_threads)
            .map_err(|e| format!("no threads for the workers: {e}"))?;
        let (cache, cache_error) = match (&settings.cache_dir, &settings.key_file) {
            (Some(folder), Some(key)) => match Cache::open(folder, key, &wasm) {
                Ok(cache) => (Some(cache), None),
                Err(error) => (None, Some(error)),
            },
            _ => (None, None),
        };
        let engine = Arc::new(Engine {
            host,
            number,
            wasm,
            linker,
            runtime: runtime.handle().clone(),
            clock: ticker.clock(),
            ticker: ticker_thread,
            cache,
            cache_error,
            instances,
            instances_asked: settings.instances,
            exports: RwLock::default(),
            components: Mutex::default(),
            calls_migrated: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        });
        Ok(Owner {
            engine,
            runtime,
            ticker,
        })
    }

    /// Ends every call and joins every thread.
    pub fn close(self) {
        let Owner {
            engine,
            runtime,
            ticker,
        } = self;
        engine.closing.store(true, Ordering::SeqCst);
        // Tasks are dropped, which replies to their calls. Guests that spin are interrupted by the
        // ticker, so it goes last.
        runtime.shutdown_timeout(CLOSE_TIMEOUT);
        engine.clear();
        drop(engine);
        drop(ticker);
    }
}

/// Few workers, each less important than the thread that runs JavaScript.
fn runtime(worker_threads: usize) -> std::io::Result<Runtime> {
    let threads = match worker_threads {
        0 => std::thread::available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, 8),
        some => some.min(256),
    };
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(4)
        .thread_name("atoll-worker")
        .enable_time()
        // With every worker busy in a guest, timers are looked at after this many polls.
        .event_interval(4)
        .global_queue_interval(3)
        .on_thread_start(|| set_priority(WORKER_NICE))
        .build()
}

impl Engine {
    /// The core's table.
    pub fn host(&self) -> Host {
        self.host
    }

    /// The number to be used in `target_add`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// wasmtime.
    pub fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// All imports that there are.
    pub fn linker(&self) -> &Linker<Data> {
        &self.linker
    }

    /// The workers.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The ticker's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Compiled components on disk, where that works.
    pub fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// Whether the core is shutting down: nothing may be registered with it any more.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Counts a call that is about to run and has the ticker tick.
    pub fn begin(&self) {
        self.clock.begin(&self.ticker);
    }

    /// Counts a call that ended on the workers.
    pub fn count_migrated(&self) {
        self.calls_migrated.fetch_add(1, Ordering::Relaxed);
    }

    /// The export with that handle.
    pub fn export(&self, handle: u32) -> Option<Arc<Export>> {
        let exports = self.exports.read().unwrap_or_else(PoisonError::into_inner);
        exports.get(handle as usize)?.clone()
    }

    /// Adds an export. Handles are never used again: a late call cannot reach another export.
    pub fn add_export(&self, export: Arc<Export>) -> Option<u32> {
        let mut exports = self.exports.write().unwrap_or_else(PoisonError::into_inner);
        let handle = u32::try_from(exports.len()).ok()?;
        exports.push(Some(export));
        Some(handle)
    }

    /// Refuses new calls of a component's exports.
    pub fn remove_exports(&self, loaded: &Loaded) {
        for &target in &loaded.targets {
            host::target_remove(self.host, target);
        }
        let mut removed = Vec::with_capacity(loaded.handles.len());
        let mut exports = self.exports.write().unwrap_or_else(PoisonError::into_inner);
        for &handle in &loaded.handles {
            if let Some(export) = exports.get_mut(handle as usize) {
                removed.push(export.take());
            }
        }
        // Dropping the last export of a component calls the core: outside of the lock.
        drop(exports);
        drop(removed);
    }

    /// Adds a loaded component; returns its number.
    pub fn add_component(&self, loaded: Loaded) -> u32 {
        let mut components = self
            .components
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        components.last += 1;
        let number = components.last;
        components.loaded.insert(number, loaded);
        number
    }

    /// Takes a component out.
    pub fn take_component(&self, number: u32) -> Option<Loaded> {
        self.components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .loaded
            .remove(&number)
    }

    /// Takes a component out that nobody knows.
    pub fn discard_component(&self, number: u32) {
        if let Some(loaded) = self.take_component(number) {
            self.remove_exports(&loaded);
        }
    }

    /// The component with that number.
    pub fn plugin(&self, number: u32) -> Option<Arc<Plugin>> {
        let components = self
            .components
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        components
            .loaded
            .get(&number)
            .map(|loaded| Arc::clone(&loaded.plugin))
    }

    /// Counters, and what is degraded and why.
    pub fn stats(&self) -> Value {
        let components = self
            .components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .loaded
            .len();
        let mut stats = json!({
            "components": components,
            "callsRunning": self.clock.running(),
            "callsMigrated": self.calls_migrated.load(Ordering::Relaxed),
            "instances": self.instances,
            "instancesAsked": self.instances_asked,
            "cache": self.cache.is_some(),
            "cacheError": self.cache_error,
        });
        if let Some(pool) = self.wasm.pooling_allocator_metrics() {
            stats["pool"] = json!({
                "componentInstances": pool.component_instances(),
                "coreInstances": pool.core_instances(),
                "memories": pool.memories(),
                "tables": pool.tables(),
                "stacks": pool.stacks(),
                "memoryBytesResident": pool.unused_memory_bytes_resident(),
            });
        }
        stats
    }

    fn clear(&self) {
        let loaded: Vec<Loaded> = {
            let mut components = self
                .components
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            components
                .loaded
                .drain()
                .map(|(_, loaded)| loaded)
                .collect()
        };
        for loaded in loaded {
            self.remove_exports(&loaded);
        }
    }
}
