//! wasmtime twice: once for components of WASI 0.2, and once for those that run tasks side by side.
//!
//! Owns: which of the two a component needs, what each of them links, its pool and its part of the
//! cache. It must not know what is loaded.
//!
//! Support for concurrent tasks is a setting of a whole wasmtime engine: every store then has tables
//! of tasks, and every call is a task that an event loop drives. Components that have no use for it
//! are not to pay for it. So the second engine is made when the first component asks for it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::abi::{ATOLL_UNSUPPORTED, AtollStatus};
use crate::cache::Cache;
use crate::config::{self, Tasks};
use crate::instance::Data;
use crate::isolation::Reserve;
use crate::{wasi, wasi3};

/// A wasmtime engine and what goes with it.
pub struct Wasm {
    /// wasmtime.
    pub engine: Engine,
    /// All imports that there are.
    pub linker: Linker<Data>,
    /// Compiled components on disk, where that works.
    pub cache: Option<Cache>,
    /// Instances that its pool holds.
    pub instances: u32,
    /// Those of them that rest.
    pub reserve: Arc<Reserve>,
}

impl Wasm {
    fn new(asked: Option<u32>, tasks: Tasks) -> Result<Wasm, (AtollStatus, String)> {
        let (engine, instances) = config::engine(asked, tasks)?;
        let mut linker = Linker::new(&engine);
        let linked = wasi::link(&mut linker).and_then(|()| match tasks {
            Tasks::One => Ok(()),
            Tasks::Many => wasi3::link(&mut linker),
        });
        linked.map_err(|e| (ATOLL_UNSUPPORTED, format!("WASI cannot be linked: {e:#}")))?;
        Ok(Wasm {
            engine,
            linker,
            cache: None,
            instances,
            reserve: Arc::default(),
        })
    }
}

/// Both.
pub struct Wasms {
    one: Wasm,
    many: OnceLock<Wasm>,
    making: Mutex<()>,
    asked: Option<u32>,
}

impl Wasms {
    /// The first of them, for as many instances as were asked for. The error is a status and a
    /// sentence.
    pub fn new(asked: Option<u32>) -> Result<Wasms, (AtollStatus, String)> {
        Ok(Wasms {
            one: Wasm::new(asked, Tasks::One)?,
            many: OnceLock::new(),
            making: Mutex::new(()),
            asked,
        })
    }

    /// Has compiled components kept.
    pub fn set_cache(&mut self, cache: Cache) {
        self.one.cache = Some(cache);
    }

    /// The one for components of one task.
    pub fn one(&self) -> &Wasm {
        &self.one
    }

    /// The other one, if any component has asked for it.
    pub fn many(&self) -> Option<&Wasm> {
        self.many.get()
    }

    /// The one for components of so many tasks; made when it is first asked for.
    pub fn of(&self, tasks: Tasks) -> Result<&Wasm, String> {
        if tasks == Tasks::One {
            return Ok(&self.one);
        }
        // Two at a time would take the address space of two pools.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(many) = self.many.get() {
            return Ok(many);
        }
        let mut many = Wasm::new(self.asked, tasks).map_err(|(_, message)| message)?;
        let cache = self.one.cache.as_ref();
        many.cache = cache.map(|cache| cache.beside(&many.engine));
        Ok(self.many.get_or_init(|| many))
    }

    /// Interrupts the guests of both.
    pub fn tick(&self) {
        self.one.engine.increment_epoch();
        if let Some(many) = self.many.get() {
            many.engine.increment_epoch();
        }
    }
}
