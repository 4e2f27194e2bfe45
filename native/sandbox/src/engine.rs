//! The engine: wasmtime, its runtime and ticker, and what is loaded.
//!
//! Owns: the threads, and the tables of exports, components and kept instances. It must not know frames or how
//! calls are run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;

use crate::abi::{ATOLL_NOT_FOUND, ATOLL_OK, ATOLL_UNSUPPORTED, AtollStatus};
use crate::cache::Cache;
use crate::component::Loaded;
use crate::config::{INSTANCES_USUAL, Settings};
use crate::egress::{Network, RESOLVING_MAX};
use crate::exports::Exports;
use crate::host::{self, Host};
use crate::kept::{Plan, Registered};
use crate::keyvalue::Stores;
use crate::limits::Limits;
use crate::plugin::Plugin;
use crate::ticker::{Clock, Ticker};
use crate::wasm::{Wasm, Wasms};

/// How much less a worker's time counts than the caller's: guests that spin must not starve it.
const WORKER_NICE: i32 = 10;

/// How long closing waits for a compilation.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Threads for work that holds its thread: compilation, files, lookups of names.
pub const BLOCKING_THREADS: usize = 16;

/// Compilations at once. Each one uses every processor, and nothing ends one that takes for ever: the
/// other threads go on to describe components and to load those that were compiled before.
const COMPILING_MAX: usize = 2;

/// Sets the nice value of the calling thread; left as it is where that is not allowed.
pub fn set_priority(nice: i32) {
    // SAFETY: takes numbers only; 0 means the calling thread on Linux.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// Everything the functions of the table share.
pub struct Engine {
    host: Host,
    number: u32,
    wasms: Arc<Wasms>,
    runtime: Handle,
    clock: Arc<Clock>,
    ticker: Thread,
    cache_error: Option<String>,
    stores: Stores,
    instances_asked: u32,
    exports: Exports,
    compiling: Arc<Semaphore>,
    network: Arc<Network>,
    components: Mutex<Components>,
    calls_migrated: AtomicU64,
    closing: AtomicBool,
}

#[derive(Default)]
struct Components {
    last: u32,
    loaded: HashMap<u32, Loaded>,
    last_instance: u32,
    instances: HashMap<u32, Registered>,
}

/// An engine and its threads.
pub struct Owner {
    /// The engine.
    pub engine: Arc<Engine>,
    runtime: Runtime,
    ticker: Ticker,
    /// Threads of the runtime that live.
    threads: Arc<AtomicUsize>,
}

impl Owner {
    /// Starts an engine. The error is a status and a sentence.
    pub fn start(
        host: Host,
        number: u32,
        settings: &Settings,
    ) -> Result<Owner, (AtollStatus, String)> {
        let mut wasms = Wasms::new(settings.instances)?;
        let mut cache_error = None;
        if let (Some(folder), Some(key)) = (&settings.cache_dir, &settings.key_file) {
            match Cache::open(folder, key, settings.cache_bytes, &wasms.one().engine) {
                Ok(cache) => wasms.set_cache(cache),
                Err(error) => cache_error = Some(error),
            }
        }
        let wasms = Arc::new(wasms);
        let ticker = Ticker::start(Arc::clone(&wasms))
            .map_err(|e| unsupported(format!("no thread for the epoch: {e}")))?;
        let ticker_thread = ticker
            .thread()
            .ok_or_else(|| unsupported("no thread for the epoch"))?;
        let threads = Arc::default();
        let runtime = runtime(settings.worker_threads, &threads)
            .map_err(|e| unsupported(format!("no threads for the workers: {e}")))?;
        let network = Network::new(runtime.handle().clone(), settings.ca_file.as_deref())
            .map_err(unsupported)?;
        let engine = Arc::new(Engine {
            host,
            number,
            wasms,
            runtime: runtime.handle().clone(),
            clock: ticker.clock(),
            ticker: ticker_thread,
            cache_error,
            stores: Stores::new(settings.storage_dir.clone()),
            instances_asked: settings.instances.unwrap_or(INSTANCES_USUAL),
            exports: Exports::default(),
            compiling: Arc::new(Semaphore::new(COMPILING_MAX)),
            network: Arc::new(network),
            components: Mutex::default(),
            calls_migrated: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        });
        Ok(Owner {
            engine,
            runtime,
            ticker,
            threads,
        })
    }

    /// Ends every call and joins every thread; false: some did not end in time, and may still use
    /// what the engine's calls use.
    pub fn close(self) -> bool {
        let Owner {
            engine,
            runtime,
            ticker,
            threads,
        } = self;
        engine.closing.store(true, Ordering::SeqCst);
        // Tasks are dropped, which replies to their calls. Guests that spin are interrupted by the
        // ticker, so it goes last.
        runtime.shutdown_timeout(CLOSE_TIMEOUT);
        engine.clear();
        let closed = engine.stores.close(CLOSE_TIMEOUT);
        drop(engine);
        drop(ticker);
        closed && threads.load(Ordering::SeqCst) == 0
    }
}

fn unsupported(message: impl Into<String>) -> (AtollStatus, String) {
    (ATOLL_UNSUPPORTED, message.into())
}

/// Few workers, each less important than the thread that runs JavaScript. Counts the threads that
/// live.
fn runtime(worker_threads: usize, alive: &Arc<AtomicUsize>) -> std::io::Result<Runtime> {
    let (begun, ended) = (Arc::clone(alive), Arc::clone(alive));
    let threads = match worker_threads {
        0 => std::thread::available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, 8),
        some => some.min(256),
    };
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(BLOCKING_THREADS + RESOLVING_MAX)
        .thread_name("atoll-worker")
        .enable_all()
        // With every worker busy in a guest, timers are looked at after this many polls.
        .event_interval(4)
        .global_queue_interval(3)
        .on_thread_start(move || {
            begun.fetch_add(1, Ordering::SeqCst);
            set_priority(WORKER_NICE);
        })
        .on_thread_stop(move || {
            ended.fetch_sub(1, Ordering::SeqCst);
        })
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
    pub fn wasms(&self) -> &Wasms {
        &self.wasms
    }

    /// The workers.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The ticker's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What guests keep.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Places for compilations.
    pub fn compiling(&self) -> Arc<Semaphore> {
        Arc::clone(&self.compiling)
    }

    /// What plugins send over.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
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

    /// What handles call.
    pub fn exports(&self) -> &Exports {
        &self.exports
    }

    /// Refuses new calls of exports.
    pub fn remove_exports(&self, targets: &[u32], handles: &[u32]) {
        for &target in targets {
            host::target_remove(self.host, target);
        }
        drop(self.exports.remove(handles));
    }

    fn components(&self) -> MutexGuard<'_, Components> {
        self.components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a loaded component; returns its number.
    pub fn add_component(&self, loaded: Loaded) -> u32 {
        let mut components = self.components();
        components.last += 1;
        let number = components.last;
        components.loaded.insert(number, loaded);
        number
    }

    /// Takes a component out, and its kept instances; none of them takes a call any more.
    pub fn take_component(&self, number: u32) -> Option<(Loaded, Vec<Registered>)> {
        let mut components = self.components();
        let loaded = components.loaded.remove(&number)?;
        let kept: Vec<Registered> = components
            .instances
            .extract_if(|_, registered| registered.component == number)
            .map(|(_, registered)| registered)
            .collect();
        drop(components);
        for registered in &kept {
            self.remove_exports(&registered.targets, &registered.handles);
        }
        for view in loaded.views.values() {
            self.remove_exports(&view.targets, &view.handles);
        }
        host::plugin_remove(self.host, loaded.named);
        self.remove_exports(&loaded.targets, &loaded.handles);
        Some((loaded, kept))
    }

    /// The component with that number.
    pub fn plugin(&self, number: u32) -> Option<Arc<Plugin>> {
        let components = self.components();
        let loaded = components.loaded.get(&number)?;
        Some(Arc::clone(&loaded.plugin))
    }

    /// Changes the limits of a component and of its kept instances. The status is the core's, or
    /// NOT_FOUND.
    pub fn set_limits(&self, number: u32, limits: Limits) -> AtollStatus {
        let Some(plugin) = self.plugin(number) else {
            return ATOLL_NOT_FOUND;
        };
        plugin.keep_limits(limits);
        // Whoever changes them at the same time may tell the core first or last: the last to tell
        // must have told what is kept.
        loop {
            let limits = plugin.limits();
            let status = self.tell_limits(number, &plugin, &limits);
            if plugin.limits() == limits {
                return status;
            }
        }
    }

    /// Tells the core what each group of a component takes from its limits.
    fn tell_limits(&self, number: u32, plugin: &Plugin, limits: &Limits) -> AtollStatus {
        let mut status = plugin.tell_limits(limits);
        let family = self
            .components()
            .loaded
            .get(&number)
            .and_then(|l| l.family.clone());
        if let Some(family) = family
            && let other @ 1.. = family.set_limits(limits)
        {
            status = other;
        }
        let kept: Vec<_> = self
            .components()
            .instances
            .values()
            .filter(|registered| registered.component == number)
            .map(|registered| Arc::clone(&registered.kept))
            .collect();
        for kept in kept {
            status = match kept.set_limits(limits) {
                ATOLL_OK => status,
                other => other,
            };
        }
        status
    }

    /// What an instance of a component is made of.
    pub fn plan(&self, number: u32) -> Option<Plan> {
        let components = self.components();
        let loaded = components.loaded.get(&number)?;
        Some(Plan {
            component: number,
            plugin: Arc::clone(&loaded.plugin),
            pre: loaded.pre.clone(),
            handles: loaded.handles.clone(),
            limits: loaded.plugin.limits(),
        })
    }

    /// Does something with the component of that number; none: there is no such one. It runs under a
    /// lock, so it calls nothing of the core's.
    pub fn with_component<T>(
        &self,
        number: u32,
        apply: impl FnOnce(&mut Loaded) -> T,
    ) -> Option<T> {
        self.components().loaded.get_mut(&number).map(apply)
    }

    /// Adds a kept instance; returns its number, or the instance when its component has gone.
    pub fn add_instance(&self, registered: Registered) -> Result<u32, Box<Registered>> {
        let mut components = self.components();
        if !components.loaded.contains_key(&registered.component) {
            return Err(Box::new(registered));
        }
        components.last_instance += 1;
        let number = components.last_instance;
        components.instances.insert(number, registered);
        Ok(number)
    }

    /// Takes a kept instance out; it takes no call any more.
    pub fn take_instance(&self, number: u32) -> Option<Registered> {
        let registered = self.components().instances.remove(&number)?;
        self.remove_exports(&registered.targets, &registered.handles);
        Some(registered)
    }

    /// Counters, and what is degraded and why.
    pub fn stats(&self) -> Value {
        let wasm = self.wasms.one();
        let (components, kept, families) = {
            let components = self.components();
            let families: Vec<_> = components
                .loaded
                .values()
                .filter_map(|l| l.family.clone())
                .collect();
            (
                components.loaded.len(),
                components.instances.len(),
                families,
            )
        };
        let mut stats = json!({
            "components": components,
            "instancesKept": kept,
            "instancesResting": families.iter().map(|family| family.resting()).sum::<usize>(),
            "callsRunning": self.clock.running(),
            "callsMigrated": self.calls_migrated.load(Ordering::Relaxed),
            "instances": wasm.instances,
            "instancesAsked": self.instances_asked,
            "cache": wasm.cache.is_some(),
            "cacheError": self.cache_error,
            "cacheBytes": wasm.cache.as_ref().map(Cache::bytes),
            "cacheBytesMax": wasm.cache.as_ref().map(Cache::bytes_max),
        });
        if let Some(pool) = pool(wasm) {
            stats["pool"] = pool;
        }
        if let Some(many) = self.wasms.many() {
            stats["instancesWasi3"] = many.instances.into();
            if let Some(pool) = pool(many) {
                stats["poolWasi3"] = pool;
            }
        }
        stats
    }

    fn clear(&self) {
        let numbers: Vec<u32> = self.components().loaded.keys().copied().collect();
        for number in numbers {
            drop(self.take_component(number));
        }
    }
}

/// What of a pool is taken.
fn pool(wasm: &Wasm) -> Option<Value> {
    let pool = wasm.engine.pooling_allocator_metrics()?;
    Some(json!({
        "componentInstances": pool.component_instances(),
        "coreInstances": pool.core_instances(),
        "memories": pool.memories(),
        "tables": pool.tables(),
        "stacks": pool.stacks(),
        "memoryBytesResident": pool.unused_memory_bytes_resident(),
    }))
}
