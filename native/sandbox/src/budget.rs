//! What one store may make the host hold.
//!
//! Owns: the sum over everything that one store holds and its part in what its plugin holds. It must
//! not know what runs in the store.

use std::sync::Arc;

use wasmtime::{Error, ResourceLimiter, Result};

use crate::limits::{LimitExceeded, LimitKind, Limits};
use crate::plugin_memory::PluginMemory;

/// What one store holds; wasmtime asks it before anything grows.
pub struct Budget {
    limits: Limits,
    memory: u64,
    tables: u64,
    /// What all stores of the plugin hold, this one too until it is dropped.
    plugin: Arc<PluginMemory>,
}

impl Budget {
    /// An empty one.
    pub fn new(limits: Limits, plugin: Arc<PluginMemory>) -> Budget {
        Budget {
            limits,
            memory: 0,
            tables: 0,
            plugin,
        }
    }

    /// The limits it enforces.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes them; what is held stays counted.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The error for one of them.
    pub fn exceeded(&self, kind: LimitKind) -> LimitExceeded {
        LimitExceeded {
            kind,
            value: self.limits.value(kind),
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.plugin.give(self.memory);
    }
}

// No `*_grow_failed`: wasmtime also calls them for a size that overflows, without having asked before,
// so a refund there would take back an earlier growth that was done.
impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let sum = self.memory.saturating_add(more);
        if sum > self.limits.memory_bytes {
            return Err(Error::new(self.exceeded(LimitKind::Memory)));
        }
        // Beyond its own maximum it would fail after it was counted: the guest sees -1 at once.
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        if !self.plugin.take(more, self.limits.plugin_memory_bytes) {
            return Err(Error::new(self.exceeded(LimitKind::PluginMemory)));
        }
        self.memory = sum;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let sum = self.tables.saturating_add(more);
        if sum > self.limits.table_elements {
            return Err(Error::new(self.exceeded(LimitKind::Tables)));
        }
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        self.tables = sum;
        Ok(true)
    }

    fn instances(&self) -> usize {
        usize::try_from(self.limits.instances).unwrap_or(usize::MAX)
    }

    // As many as core instances have use for, a module's own table and the adapter's counted. They
    // are slots of the pool that all plugins share, which `Limits::group` sees to.
    fn memories(&self) -> usize {
        self.instances()
    }

    fn tables(&self) -> usize {
        self.instances().saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(memory_bytes: u64) -> Limits {
        Limits {
            memory_bytes,
            table_elements: 10,
            ..Limits::default()
        }
    }

    fn budget(memory_bytes: u64) -> Budget {
        Budget::new(limits(memory_bytes), Arc::default())
    }

    #[test]
    fn memories_are_summed() {
        let mut budget = budget(3 * 65536);
        assert!(budget.memory_growing(0, 65536, None).is_ok());
        assert!(budget.memory_growing(0, 65536, None).is_ok());
        assert!(budget.memory_growing(65536, 131072, None).is_ok());
        let error = budget.memory_growing(0, 65536, None).err();
        let limit = error
            .as_ref()
            .and_then(|e| e.downcast_ref::<LimitExceeded>());
        assert_eq!(
            limit,
            Some(&LimitExceeded {
                kind: LimitKind::Memory,
                value: 3 * 65536
            })
        );
    }

    #[test]
    fn a_growth_that_failed_is_not_counted() {
        let mut budget = budget(2 * 65536);
        assert!(!budget.memory_growing(0, 131072, Some(65536)).expect("-1"));
        assert!(budget.memory_growing(0, 131072, None).expect("fits"));
        assert!(!budget.table_growing(0, 10, Some(9)).expect("-1"));
        assert!(budget.table_growing(0, 10, None).is_ok());
        assert!(budget.table_growing(0, 1, None).is_err());
    }

    #[test]
    fn what_a_store_held_comes_back_to_the_plugin_with_its_end() {
        let plugin = Arc::new(PluginMemory::default());
        let limits = Limits {
            plugin_memory_bytes: 3 * 65536,
            ..limits(2 * 65536)
        };
        let new = || Budget::new(limits, Arc::clone(&plugin));
        let (mut one, mut other) = (new(), new());
        assert!(one.memory_growing(0, 131072, None).is_ok());
        assert!(other.memory_growing(0, 65536, None).is_ok());
        let error = other.memory_growing(65536, 131072, None).err();
        let limit = error
            .as_ref()
            .and_then(|e| e.downcast_ref::<LimitExceeded>());
        assert_eq!(
            limit,
            Some(&LimitExceeded {
                kind: LimitKind::PluginMemory,
                value: 3 * 65536
            })
        );
        // A growth that was refused, by whichever limit, is not counted.
        assert!(one.memory_growing(131072, 196608, None).is_err());
        assert!(
            !one.memory_growing(0, 65536, Some(1))
                .is_ok_and(|grown| grown)
        );
        drop(one);
        assert!(other.memory_growing(65536, 131072, None).is_ok());
        assert_eq!(plugin.held(), 131072);
        drop(other);
        assert_eq!(plugin.held(), 0);
    }
}
