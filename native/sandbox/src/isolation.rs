//! How long instances live: by the plugin's isolation, for each key by itself.
//!
//! Owns: the modes, what all keys of a component have in common (how many instances there are, when
//! idle ones end) and which instances give way when the pool is full. It must not know how a call
//! takes an instance or gives it back; `keyed` does.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rkyv::Archive;
use serde::Deserialize;
use tokio::runtime::Handle;
use wasmtime::component::InstancePre;
use wasmtime::{Error, PoolConcurrencyLimitError};

use crate::abi::{ATOLL_OK, AtollGroupLimits, AtollStatus};
use crate::engine::Engine;
use crate::host::{CallRef, Host};
use crate::instance::{self, Data};
use crate::kept::Alive;
use crate::keyed::Keyed;
use crate::limits::Limits;
use crate::plugin::Plugin;

/// What happens to an instance after a call.
#[derive(
    Archive,
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    PartialEq,
    Eq,
    rkyv::Deserialize,
    rkyv::Serialize,
)]
#[serde(
    tag = "mode",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Isolation {
    /// It is dropped: each call has a fresh one.
    #[default]
    Call,
    /// It serves so many calls of its key.
    Reuse {
        /// Calls an instance.
        calls: NonZeroU32,
        /// Milliseconds after which one that rests is dropped.
        idle_ms: u64,
    },
    /// It serves every call of its key, one at a time, until one does not end well.
    Actor {
        /// Milliseconds without a call after which it ends; none: never.
        idle_ms: Option<u64>,
    },
}

impl Isolation {
    /// Calls that one instance serves.
    pub fn calls(self) -> u32 {
        match self {
            Isolation::Call => 1,
            Isolation::Reuse { calls, .. } => calls.get(),
            Isolation::Actor { .. } => u32::MAX,
        }
    }

    /// How long an instance may rest.
    pub fn idle(self) -> Option<Duration> {
        match self {
            Isolation::Call => None,
            Isolation::Reuse { idle_ms, .. } => Some(Duration::from_millis(idle_ms)),
            Isolation::Actor { idle_ms } => idle_ms.map(Duration::from_millis),
        }
    }

    /// Whether a key has one instance, whose state counts.
    pub fn is_actor(self) -> bool {
        matches!(self, Isolation::Actor { .. })
    }
}

/// The keys of one component.
pub struct Family {
    /// What its calls do with their instances.
    pub isolation: Isolation,
    /// The core.
    pub host: Host,
    runtime: Handle,
    keys: Mutex<Vec<Weak<Keyed>>>,
    alive: AtomicU32,
    sweeping: AtomicBool,
    // Last: who unloads the component waits for the plugin.
    /// The component.
    pub plugin: Arc<Plugin>,
}

impl Family {
    /// That of a component; none where no instance outlives its call.
    pub fn of(engine: &Engine, plugin: &Arc<Plugin>, isolation: Isolation) -> Option<Arc<Family>> {
        if isolation == Isolation::Call {
            return None;
        }
        let family = Arc::new(Family {
            isolation,
            host: engine.host(),
            runtime: engine.runtime().clone(),
            keys: Mutex::default(),
            alive: AtomicU32::new(0),
            sweeping: AtomicBool::new(false),
            plugin: Arc::clone(plugin),
        });
        plugin.reserve().add(&family);
        plugin.memory().rests_in(Arc::downgrade(&family));
        Some(family)
    }

    /// Adds a key.
    pub fn add(&self, keyed: &Arc<Keyed>) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|key| key.strong_count() > 0);
        keys.push(Arc::downgrade(keyed));
    }

    /// Its keys. Dropping one may call the core, which nobody does with a lock held.
    fn keys(&self) -> Vec<Arc<Keyed>> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().filter_map(Weak::upgrade).collect()
    }

    /// Changes what the mailboxes of actors take from the component's limits.
    pub fn set_limits(&self, limits: &Limits) -> AtollStatus {
        self.keys()
            .iter()
            .map(|keyed| keyed.set_limits(limits))
            .find(|&status| status != ATOLL_OK)
            .unwrap_or(ATOLL_OK)
    }

    /// What an actor's mailbox takes from the component's limits.
    pub fn part(&self, limits: &Limits) -> AtollGroupLimits {
        limits.part(self.plugin.group())
    }

    /// Instances that rest.
    pub fn resting(&self) -> usize {
        self.keys().iter().map(|keyed| keyed.resting()).sum()
    }

    /// A place for another instance: as many as calls may run at once. One that rests gives way;
    /// an actor never does.
    pub fn place(self: &Arc<Family>, limits: &Limits) -> Option<Place> {
        let most = self.plugin.instances_max(limits);
        loop {
            let before = self.alive.fetch_add(1, Ordering::Relaxed);
            let place = Place(Arc::clone(self));
            if before < most {
                return Some(place);
            }
            if self.isolation.is_actor() {
                return None;
            }
            drop(place);
            if !end_longest(self.keys()) {
                // Limits became less while instances are out: the core holds the calls back.
                self.alive.fetch_add(1, Ordering::Relaxed);
                return Some(Place(Arc::clone(self)));
            }
        }
    }

    /// Drops the instance that has rested longest; `false`: none rests whose state may be lost.
    pub fn make_room(&self) -> bool {
        !self.isolation.is_actor() && end_longest(self.keys())
    }

    /// An instance rests from now on: sees to its end.
    pub fn rested(self: &Arc<Family>) {
        let Some(idle) = self.isolation.idle() else {
            return;
        };
        if !self.sweeping.swap(true, Ordering::SeqCst) {
            self.runtime.spawn(sweep(Arc::downgrade(self), idle));
        }
    }

    /// Drops what has rested for so long; when the next one will have.
    fn end_idle(&self, idle: Duration) -> Option<Instant> {
        let now = Instant::now();
        self.keys()
            .iter()
            .filter_map(|keyed| keyed.end_idle(now, idle))
            .min()
    }
}

/// Ends idle instances for as long as any rests.
async fn sweep(family: Weak<Family>, idle: Duration) {
    loop {
        let Some(family) = family.upgrade() else {
            return;
        };
        if let Some(next) = family.end_idle(idle) {
            drop(family);
            tokio::time::sleep_until(next.into()).await;
            continue;
        }
        family.sweeping.store(false, Ordering::SeqCst);
        // One that came to rest in between relied on this task.
        if family.resting() == 0 || family.sweeping.swap(true, Ordering::SeqCst) {
            return;
        }
    }
}

/// An instance's place among those of its component.
pub struct Place(Arc<Family>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The resting instances of all components.
#[derive(Default)]
pub struct Reserve {
    families: Mutex<Vec<Weak<Family>>>,
}

impl Reserve {
    fn add(&self, family: &Arc<Family>) {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.retain(|family| family.strong_count() > 0);
        families.push(Arc::downgrade(family));
    }

    /// Drops the instance that has rested longest, of any component; `false`: none rests whose state
    /// may be lost.
    pub fn make_room(&self) -> bool {
        let families: Vec<Arc<Family>> = {
            let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
            families.iter().filter_map(Weak::upgrade).collect()
        };
        let keys = families
            .iter()
            .filter(|family| !family.isolation.is_actor())
            .flat_map(|family| family.keys())
            .collect();
        end_longest(keys)
    }
}

/// Drops the instance that has rested longest; `false`: none rests.
fn end_longest(keys: Vec<Arc<Keyed>>) -> bool {
    loop {
        let longest = keys
            .iter()
            .filter_map(|keyed| Some((keyed.rests_since()?, keyed)))
            .min_by_key(|(since, _)| *since);
        match longest {
            None => return false,
            // A call may have taken it meanwhile.
            Some((_, keyed)) if keyed.end_first() => return true,
            Some(_) => {}
        }
    }
}

/// A fresh instance. When the pool is full, what rests gives way.
pub async fn instantiate(
    pre: &InstancePre<Data>,
    plugin: &Plugin,
    limits: &Limits,
    call: CallRef,
) -> Result<Alive, Error> {
    loop {
        let mut store = instance::store(pre.engine(), plugin, limits, call);
        match pre.instantiate_async(&mut store).await {
            Ok(instance) => return Ok(Alive { store, instance }),
            Err(error) if !is_full(&error) || !plugin.reserve().make_room() => return Err(error),
            Err(_) => {}
        }
    }
}

/// Whether the pool had no place.
pub fn is_full(error: &Error) -> bool {
    error.downcast_ref::<PoolConcurrencyLimitError>().is_some()
}
