//! The table from handles to what they call.
//!
//! Owns: which handle is free. A handle is an index with a generation and is never used again: a late
//! call cannot reach another export. It must not know what an export is for.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use crate::abi::ATOLL_IO;
use crate::component::{Export, ExportKind};
use crate::engine::Engine;
use crate::error::Outcome;
use crate::host;
use crate::kept::Kept;
use crate::keyed::Keyed;

/// Bits of a handle that are its index; the others are its generation.
const INDEX_BITS: u32 = 20;

const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

const LAST_GENERATION: u32 = u32::MAX >> INDEX_BITS;

/// What a handle calls. A call shares it with the table: counting one reference is cheaper than two.
pub struct Callee {
    /// The export.
    pub export: Arc<Export>,
    /// The instances that it is called in.
    pub instances: Instances,
}

/// Which instances a handle's calls have.
#[derive(Clone)]
pub enum Instances {
    /// A fresh one each.
    Fresh,
    /// This one.
    Kept(Arc<Kept>),
    /// One of those of a key.
    Keyed(Arc<Keyed>),
}

impl Instances {
    /// Says how a call ended that took an instance and did not put it back.
    pub fn ended_by(&self, outcome: &Outcome) {
        match self {
            Instances::Fresh => {}
            Instances::Kept(kept) => kept.ended_by(outcome),
            Instances::Keyed(keyed) => keyed.ended_by(outcome),
        }
    }

    /// Whether a call that is cancelled shall come to its end.
    pub fn finish_cancelled(&self) -> bool {
        match self {
            Instances::Fresh | Instances::Kept(_) => false,
            Instances::Keyed(keyed) => keyed.finishes_cancelled(),
        }
    }
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

/// A component's functions once more, each calling these instances: targets and handles. On failure
/// there are none.
pub fn add_exports(
    engine: &Engine,
    handles: &[u32],
    group: u32,
    instances: &Instances,
) -> Result<(Vec<u32>, Vec<u32>), Outcome> {
    let (mut targets, mut own) = (Vec::new(), Vec::new());
    for &handle in handles {
        let Some(callee) = engine.exports().get(handle) else {
            engine.remove_exports(&targets, &own);
            return Err(Outcome::not_found());
        };
        if matches!(callee.export.kind, ExportKind::Http(_)) {
            continue;
        }
        let callee = Callee {
            export: Arc::clone(&callee.export),
            instances: instances.clone(),
        };
        let added = engine.exports().add(callee).and_then(|handle| {
            own.push(handle);
            host::target_add(engine.host(), engine.number(), handle, group).ok()
        });
        match added {
            Some(target) => targets.push(target),
            None => {
                engine.remove_exports(&targets, &own);
                let message = "no target is left for another instance";
                return Err(Outcome::message(ATOLL_IO, message));
            }
        }
    }
    Ok((targets, own))
}
