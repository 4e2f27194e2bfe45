//! How the engine is configured.
//!
//! Owns: the settings that the core passes on, wasmtime's configuration and the size of its pool. It
//! must not know calls.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::abi::{ATOLL_INVALID_ARGUMENT, ATOLL_UNSUPPORTED, AtollStatus};
use crate::limits::STACK_BYTES;

/// Kept in each memory slot between calls; without it a fresh instance costs three times as
/// much.
const MEMORY_KEEP_RESIDENT: usize = 256 * 1024;
const STACK_KEEP_RESIDENT: usize = 64 * 1024;
const TABLE_KEEP_RESIDENT: usize = 64 * 1024;

/// Bytes of a fibre's stack: the guest's part and as much again, and more, for the host functions.
const FIBRE_BYTES: usize = 2 * 1024 * 1024;

/// What the pool holds for each instance of a component: one memory, as many tables and core
/// instances as a component made of one program has (itself, two shims, an adapter).
const CORE_INSTANCES_EACH: u32 = 4;
const TABLES_EACH: u32 = 3;
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Most tables and most memories of one core module.
const PARTS_PER_MODULE_MAX: u32 = 8;

/// Instances where the configuration names no number.
pub const INSTANCES_USUAL: u32 = 1_000;

/// Fewest slots with which an engine is worth having.
const INSTANCES_MIN: u32 = 4;

/// Configuration of an engine, as JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the compiled components; none: nothing is kept.
    pub cache_dir: Option<PathBuf>,
    /// The key that authenticates them.
    pub key_file: Option<PathBuf>,
    /// Most bytes of compiled components; those used least lately go.
    pub cache_bytes: u64,
    /// Folder of what guests keep; none: they keep nothing.
    pub storage_dir: Option<PathBuf>,
    /// Instances that can exist at once; none: as many as are usual and fit.
    pub instances: Option<u32>,
    /// Certificates, as PEM, that servers may be signed by, besides those of the Web.
    pub ca_file: Option<PathBuf>,
    /// Threads for calls that wait or take long; 0: by the machine.
    pub worker_threads: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            cache_dir: None,
            key_file: None,
            cache_bytes: 2 * 1024 * 1024 * 1024,
            storage_dir: None,
            instances: None,
            ca_file: None,
            worker_threads: 0,
        }
    }
}

/// For how many instances the pool would hold what one instance of a component takes: 1 for one
/// program, more for a component that is made of several.
pub fn pool_share(memories: u32, tables: u32, core_instances: u64) -> u32 {
    let core_instances = u32::try_from(core_instances).unwrap_or(u32::MAX);
    memories
        .max(tables.div_ceil(TABLES_EACH))
        .max(core_instances.div_ceil(CORE_INSTANCES_EACH))
        .max(1)
}

/// What the guests of an engine can do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// One thing: components of WASI 0.2.
    One,
    /// Asynchronous functions, streams and futures: those of WASI 0.3.
    Many,
}

/// The wasmtime configuration for a pool of so many instances.
pub fn wasmtime(instances: u32, tasks: Tasks) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_EACH))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES_EACH))
        .total_stacks(match tasks {
            Tasks::One => instances,
            // One task of each instance nested in a component may wait in the midst of a call.
            Tasks::Many => instances.saturating_mul(CORE_INSTANCES_EACH),
        })
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_tables_per_module(PARTS_PER_MODULE_MAX)
        .max_memories_per_module(PARTS_PER_MODULE_MAX)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_map(true)
        .wasm_component_model_fixed_length_lists(true)
        // Costs state for each store, and an event loop for each call.
        .concurrency_support(tasks == Tasks::Many)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(FIBRE_BYTES)
        // A trap is named by its kind. One frame tells whether an error came out of the guest.
        .wasm_backtrace_max_frames(NonZeroUsize::new(1))
        .generate_address_map(false)
        .native_unwind_info(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// An engine and how many instances it has room for: as many as were asked for, or else as many of
/// the usual number as the address space has room for. The error is a status and a sentence.
pub fn engine(asked: Option<u32>, tasks: Tasks) -> Result<(Engine, u32), (AtollStatus, String)> {
    let wanted = asked.unwrap_or(INSTANCES_USUAL).max(INSTANCES_MIN);
    if let Ok(engine) = Engine::new(&wasmtime(wanted, tasks)) {
        return Ok((engine, wanted));
    }
    let possible = most_possible(wanted, tasks);
    if asked.is_some() && possible > 0 {
        let message = format!(
            "native.instances is {wanted}, and the address space has room for {possible}: lower it, \
             raise `ulimit -v`, or leave it out"
        );
        return Err((ATOLL_INVALID_ARGUMENT, message));
    }
    let instances = possible.max(INSTANCES_MIN);
    match Engine::new(&wasmtime(instances, tasks)) {
        Ok(engine) => Ok((engine, instances)),
        Err(error) => {
            let message = format!("wasmtime cannot be started: {error:#}");
            Err((ATOLL_UNSUPPORTED, message))
        }
    }
}

/// How many instances there is room for, to a sixteenth, when it is not so many. A pool reserves all
/// of its memory when it is made, so none is kept while another one is tried.
fn most_possible(instances: u32, tasks: Tasks) -> u32 {
    let (mut possible, mut too_many) = (0, instances);
    while too_many - possible > (possible / 16).max(1) {
        let middle = possible + (too_many - possible) / 2;
        match Engine::new(&wasmtime(middle, tasks)) {
            Ok(_) => possible = middle,
            Err(_) => too_many = middle,
        }
    }
    possible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_takes_as_much_of_the_pool_as_its_scarcest_part() {
        assert_eq!(pool_share(0, 0, 0), 1);
        assert_eq!(pool_share(1, 3, 4), 1);
        assert_eq!(pool_share(2, 3, 4), 2);
        assert_eq!(pool_share(1, 4, 4), 2);
        assert_eq!(pool_share(1, 3, 5), 2);
        assert_eq!(pool_share(64, 128, u64::MAX), u32::MAX.div_ceil(4));
    }
}
