//! The linear memory of all instances of one plugin.
//!
//! Owns: its sum, and which instances give way when it is at its limit. It must not know why a store
//! grows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};

use crate::isolation::Family;

/// What they hold together. It is counted without a limit too: one may be set while they live.
#[derive(Default)]
pub struct PluginMemory {
    held: AtomicU64,
    /// Where they rest; none where no instance outlives its call.
    family: OnceLock<Weak<Family>>,
}

impl PluginMemory {
    /// Says where instances rest, once.
    pub fn rests_in(&self, family: Weak<Family>) {
        let _ = self.family.set(family);
    }

    /// Bytes.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts so many bytes more, of at most so many (0: any amount). Instances that rest give way;
    /// `false`: there are none, or they are actors, and nothing was counted.
    pub fn take(&self, more: u64, most: u64) -> bool {
        let sum = |held: u64| {
            let sum = held.saturating_add(more);
            (most == 0 || sum <= most).then_some(sum)
        };
        // Relaxed: the sum stands for no memory that another thread reads.
        let counted = || {
            self.held
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum)
        };
        while counted().is_err() {
            let family = self.family.get().and_then(Weak::upgrade);
            // What could not fit into an empty sum either is not worth anybody's instance.
            if more > most || !family.is_some_and(|family| family.make_room()) {
                return false;
            }
        }
        true
    }

    /// Counts so many bytes less.
    pub fn give(&self, less: u64) {
        self.held.fetch_sub(less, Ordering::Relaxed);
    }
}
