//! The table from handles to what they call.
//!
//! Owns: which handle is free. A handle is an index with a generation and is never used again: a late
//! call cannot reach another export. It must not know what an export is for.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use crate::component::Export;
use crate::kept::Kept;

/// Bits of a handle that are its index; the others are its generation.
const INDEX_BITS: u32 = 20;

const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

const LAST_GENERATION: u32 = u32::MAX >> INDEX_BITS;

/// What a handle calls. A call shares it with the table: counting one reference is cheaper than two.
pub struct Callee {
    /// The export.
    pub export: Arc<Export>,
    /// The instance whose export it is; none: each call has a fresh one.
    pub kept: Option<Arc<Kept>>,
}

/// The table.
#[derive(Default)]
pub struct Exports {
    entries: RwLock<Entries>,
}

#[derive(Default)]
struct Entries {
    slots: Vec<Slot>,
    free: VecDeque<u32>,
}

struct Slot {
    generation: u32,
    callee: Option<Arc<Callee>>,
}

impl Exports {
    /// What that handle calls.
    pub fn get(&self, handle: u32) -> Option<Arc<Callee>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let slot = entries.slots.get((handle & INDEX_MASK) as usize)?;
        if slot.generation != handle >> INDEX_BITS {
            return None;
        }
        slot.callee.clone()
    }

    /// Adds an entry; none: the table is full.
    pub fn add(&self, callee: Callee) -> Option<u32> {
        let callee = Arc::new(callee);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = entries.free.pop_front() {
            let slot = entries.slots.get_mut(index as usize)?;
            slot.callee = Some(callee);
            return Some(slot.generation << INDEX_BITS | index);
        }
        let index = u32::try_from(entries.slots.len())
            .ok()
            .filter(|&index| index <= INDEX_MASK)?;
        entries.slots.push(Slot {
            generation: 0,
            callee: Some(callee),
        });
        Some(index)
    }

    /// Removes entries. What they held is returned, because dropping it may call the core, which
    /// nobody does with a lock held.
    #[must_use = "to be dropped outside of every lock"]
    pub fn remove(&self, handles: &[u32]) -> Vec<Arc<Callee>> {
        let mut removed = Vec::with_capacity(handles.len());
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Entries { slots, free } = &mut *entries;
        for &handle in handles {
            let index = handle & INDEX_MASK;
            let Some(slot) = slots.get_mut(index as usize) else {
                continue;
            };
            if slot.generation != handle >> INDEX_BITS {
                continue;
            }
            let Some(callee) = slot.callee.take() else {
                continue;
            };
            removed.push(callee);
            // A slot whose generations are used up stays empty for ever.
            if slot.generation < LAST_GENERATION {
                slot.generation += 1;
                free.push_back(index);
            }
        }
        removed
    }
}
