//! A loaded component as its calls see it: limits that may change, and how it has behaved.
//!
//! Owns: its group in the core, which is removed with it. It must not know its exports.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::oneshot;

use crate::abi::AtollStatus;
use crate::egress::Egress;
use crate::granted::Granted;
use crate::host::{self, Host};
use crate::isolation::Reserve;
use crate::keyvalue;
use crate::limits::Limits;
use crate::meter::Held;
use crate::plugin_memory::PluginMemory;

/// How long a plugin whose call overran its inline slice starts on the workers, in milliseconds.
const OVERRAN_MS: u64 = 1_000;

/// How long a plugin is suspected of holding its callers' thread, in milliseconds: short calls in
/// between clear nobody.
const SUSPECTED_MS: u64 = 10_000;

/// A loaded component.
pub struct Plugin {
    id: String,
    host: Host,
    group: u32,
    /// Shares of the pool that one call takes.
    pool_share: u32,
    limits: RwLock<Limits>,
    granted: Option<Arc<Granted>>,
    keyvalue: Option<Arc<keyvalue::Granted>>,
    egress: Option<Arc<Egress>>,
    reserve: Arc<Reserve>,
    memory: Arc<PluginMemory>,
    overran_until_ms: AtomicU64,
    suspected_until_ms: AtomicU64,
    ended: Mutex<Option<oneshot::Sender<()>>>,
}

/// What the instances of a plugin may reach.
pub struct Reach {
    /// None: nothing.
    pub granted: Option<Arc<Granted>>,
    /// Its namespaces; none: it has none.
    pub keyvalue: Option<Arc<keyvalue::Granted>>,
    /// What it may send; none: nothing.
    pub egress: Option<Arc<Egress>>,
}

impl Plugin {
    /// One whose calls the core's group counts, each as so many shares of the pool.
    pub fn new(
        id: &str,
        host: Host,
        (group, pool_share): (u32, u32),
        limits: Limits,
        Reach {
            granted,
            keyvalue,
            egress,
        }: Reach,
        reserve: Arc<Reserve>,
    ) -> Plugin {
        Plugin {
            id: id.to_owned(),
            host,
            group,
            pool_share,
            limits: RwLock::new(limits),
            granted,
            keyvalue,
            egress,
            reserve,
            memory: Arc::default(),
            overran_until_ms: AtomicU64::new(0),
            suspected_until_ms: AtomicU64::new(0),
            ended: Mutex::new(None),
        }
    }

    /// What its owner calls it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its limits at this moment.
    pub fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes its limits; running calls keep theirs. The core is still to be told.
    pub fn keep_limits(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Tells the core what its group takes from limits. The status is the core's.
    pub fn tell_limits(&self, limits: &Limits) -> AtollStatus {
        host::group_set(self.host, self.group, &limits.group(self.pool_share))
    }

    /// What it is granted; none: nothing.
    pub fn granted(&self) -> Option<&Arc<Granted>> {
        self.granted.as_ref()
    }

    /// Its namespaces; none: it has none.
    pub fn keyvalue(&self) -> Option<&Arc<keyvalue::Granted>> {
        self.keyvalue.as_ref()
    }

    /// What it may send; none: nothing.
    pub fn egress(&self) -> Option<&Arc<Egress>> {
        self.egress.as_ref()
    }

    /// Instances that may exist at once under limits: as many as calls may run.
    pub fn instances_max(&self, limits: &Limits) -> u32 {
        limits.group(self.pool_share).concurrency_max
    }

    /// What rests in the pool, its own and that of others.
    pub fn reserve(&self) -> &Reserve {
        &self.reserve
    }

    /// What its instances hold together.
    pub fn memory(&self) -> &Arc<PluginMemory> {
        &self.memory
    }

    /// Where its calls are counted.
    pub fn group(&self) -> u32 {
        self.group
    }

    /// Notes that a call needed more than its inline slice.
    pub fn overran(&self, now_ms: u64) {
        self.overran_until_ms
            .fetch_max(now_ms + OVERRAN_MS, Ordering::Relaxed);
    }

    /// Notes how long a call held its caller's thread; after a long one the plugin starts on the
    /// workers for a hundred times as long.
    pub fn held(&self, now_ms: u64, held: Held) {
        if let Held::Long(ms) = held {
            let until = now_ms + ms.saturating_mul(100).max(OVERRAN_MS);
            self.overran_until_ms.fetch_max(until, Ordering::Relaxed);
        }
        if !matches!(held, Held::Shortly) {
            self.suspected_until_ms
                .fetch_max(now_ms + SUSPECTED_MS, Ordering::Relaxed);
        }
    }

    /// Whether a call seemed to hold its caller's thread lately.
    pub fn suspected(&self, now_ms: u64) -> bool {
        now_ms < self.suspected_until_ms.load(Ordering::Relaxed)
    }

    /// Whether a call did so lately.
    pub fn overran_lately(&self, now_ms: u64) -> bool {
        now_ms < self.overran_until_ms.load(Ordering::Relaxed)
    }

    /// Asks to be told, by the end of the channel, when the last call has ended.
    pub fn on_end(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // The exports hold the plugin and each call holds its export: nothing of it runs any more.
        // Only then does the channel end, which tells whoever asked.
        host::group_remove(self.host, self.group);
    }
}
