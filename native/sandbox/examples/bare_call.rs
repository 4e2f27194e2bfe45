//! The peer of the `ffi_call` bench: the same engine configuration and linker as the library, used
//! directly. Prints the cost of a fresh instance and one `list<u8>` call.
//!
//! `bare_call COMPONENT EXPORT CALLS ROUNDS`: the export is `func(list<u8>) -> list<u8>`. Each round
//! prints one JSON line for `bare-async` (fibres, epoch on, as `wasmtime serve` does it) and one for
//! `bare-sync` (no fibre: cannot wait, cannot be moved).
//!
//! `bare_call COMPONENT EXPORT CALLS ROUNDS library` also drives the library's own function table,
//! which shows what the boundary itself costs.

use std::error::Error;
use std::time::Instant;

use atoll_sandbox::config;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

#[path = "bare_call/library.rs"]
mod library;

/// Payload of each call, in bytes.
const PAYLOAD: usize = 64;

/// Pool size of the bench.
const INSTANCES: u32 = 1_000;

struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

struct Bare {
    engine: Engine,
    pre: InstancePre<Data>,
    export: ComponentExportIndex,
}

impl Bare {
    fn new(path: &str, export: &str, sync: bool) -> Result<Bare, Box<dyn Error>> {
        let engine = Engine::new(&config::wasmtime(INSTANCES))?;
        let component = Component::from_file(&engine, path)?;
        let mut linker = Linker::new(&engine);
        if sync {
            wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        } else {
            wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        }
        let pre = linker.instantiate_pre(&component)?;
        let export = component
            .get_export_index(None, export)
            .ok_or("no such export")?;
        Ok(Bare {
            engine,
            pre,
            export,
        })
    }

    fn store(&self) -> Store<Data> {
        let data = Data {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
        };
        Store::new(&self.engine, data)
    }

    async fn call_async(&self, payload: &[u8]) -> wasmtime::Result<usize> {
        let mut store = self.store();
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(2);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let func = instance.get_typed_func::<(&[u8],), (Vec<u8>,)>(&mut store, &self.export)?;
        Ok(func.call_async(&mut store, (payload,)).await?.0.len())
    }

    fn call_sync(&self, payload: &[u8]) -> wasmtime::Result<usize> {
        let mut store = self.store();
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate(&mut store)?;
        let func = instance.get_typed_func::<(&[u8],), (Vec<u8>,)>(&mut store, &self.export)?;
        Ok(func.call(&mut store, (payload,))?.0.len())
    }
}

fn print(case: &str, round: usize, calls: usize, begin: Instant) {
    let ns = begin.elapsed().as_nanos() as f64 / calls as f64;
    println!("{{\"case\":\"{case}\",\"round\":{round},\"ns\":{ns:.1}}}");
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, export, calls, rounds, rest @ ..] = arguments.as_slice() else {
        return Err("usage: bare_call COMPONENT EXPORT CALLS ROUNDS [library]".into());
    };
    let (calls, rounds): (usize, usize) = (calls.parse()?, rounds.parse()?);
    let payload = vec![b'a'; PAYLOAD];
    let bare = Bare::new(path, export, false)?;
    let sync = Bare::new(path, export, true)?;
    let library = match rest.first().map(String::as_str) {
        Some("library") => Some(library::Library::new(&std::fs::read(path)?, export)?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    for round in 0..=rounds {
        let begin = Instant::now();
        runtime.block_on(async {
            for _ in 0..calls {
                assert_eq!(bare.call_async(&payload).await?, PAYLOAD);
            }
            Ok::<(), wasmtime::Error>(())
        })?;
        // Round 0 warms the pools and is not printed.
        if round > 0 {
            print("bare-async", round, calls, begin);
        }
        let begin = Instant::now();
        for _ in 0..calls {
            assert_eq!(sync.call_sync(&payload)?, PAYLOAD);
        }
        if round > 0 {
            print("bare-sync", round, calls, begin);
        }
        if let Some(library) = &library {
            let begin = Instant::now();
            let mut moved = 0;
            for _ in 0..calls {
                let (length, inline) = library.call(&payload)?;
                assert_eq!(length, PAYLOAD);
                moved += usize::from(!inline);
            }
            if round > 0 {
                print("library-inline", round, calls, begin);
            }
            if moved > 0 {
                eprintln!("{moved} of {calls} calls moved to the workers");
            }
        }
    }
    Ok(())
}
