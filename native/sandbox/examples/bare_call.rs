//! The peer of the `ffi_call` bench: the same engine configuration and linker as the library, used
//! directly. Prints the cost of one `list<u8>` call, in a fresh instance and in one that is kept.
//!
//! `bare_call COMPONENT EXPORT CALLS ROUNDS`: the export is `func(list<u8>) -> list<u8>`. Each round
//! prints one JSON line for `bare-async` (fibres, epoch on, as `wasmtime serve` does it) and one for
//! `bare-sync` (no fibre: cannot wait, cannot be moved), then `bare-async-warm` and `bare-sync-warm`,
//! the same calls of a function that was looked up once in an instance that was made once; and
//! `bare-hop`, each call of `bare-async` handed to another thread and awaited, one at a time.
//!
//! `bare_call COMPONENT EXPORT CALLS ROUNDS library` also drives the library's own function table,
//! which shows what the boundary itself costs.

use std::error::Error;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use atoll_sandbox::config;
use wasmtime::component::{
    Component, ComponentExportIndex, InstancePre, Linker, ResourceTable, TypedFunc,
};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

#[path = "bare_call/library.rs"]
mod library;

/// Payload of each call, in bytes.
const PAYLOAD: usize = 64;

/// The payload.
const INPUT: &[u8] = &[b'a'; PAYLOAD];

/// Warm calls for each fresh one: they are that much shorter.
const WARM_CALLS: usize = 10;

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
        let engine = Engine::new(&config::wasmtime(INSTANCES, config::Tasks::One))?;
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

type Reverse = TypedFunc<(&'static [u8],), (Vec<u8>,)>;

/// An instance that is called again and again.
struct Warm {
    store: Store<Data>,
    func: Reverse,
}

impl Warm {
    async fn of_async(bare: &Bare) -> wasmtime::Result<Warm> {
        let mut store = bare.store();
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(2);
        let instance = bare.pre.instantiate_async(&mut store).await?;
        let func = instance.get_typed_func(&mut store, bare.export)?;
        Ok(Warm { store, func })
    }

    fn of_sync(bare: &Bare) -> wasmtime::Result<Warm> {
        let mut store = bare.store();
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = bare.pre.instantiate(&mut store)?;
        let func = instance.get_typed_func(&mut store, bare.export)?;
        Ok(Warm { store, func })
    }

    async fn call_async(&mut self) -> wasmtime::Result<usize> {
        self.store.set_epoch_deadline(2);
        let (bytes,) = self.func.call_async(&mut self.store, (INPUT,)).await?;
        Ok(bytes.len())
    }

    fn call_sync(&mut self) -> wasmtime::Result<usize> {
        Ok(self.func.call(&mut self.store, (INPUT,))?.0.len())
    }
}

/// A thread that makes one fresh call for each payload it is sent, and answers with its length.
struct Hop {
    payloads: SyncSender<&'static [u8]>,
    lengths: Receiver<wasmtime::Result<usize>>,
}

impl Hop {
    /// The thread ends when the `Hop` is dropped.
    fn new(bare: Bare) -> Hop {
        let (payloads, asked) = sync_channel(1);
        let (answer, lengths) = sync_channel(1);
        thread::spawn(move || {
            let runtime = runtime().expect("a runtime for the other thread");
            while let Ok(payload) = asked.recv() {
                if answer
                    .send(runtime.block_on(bare.call_async(payload)))
                    .is_err()
                {
                    return;
                }
            }
        });
        Hop { payloads, lengths }
    }

    fn call(&self, payload: &'static [u8]) -> Result<usize, Box<dyn Error>> {
        self.payloads.send(payload)?;
        Ok(self.lengths.recv()??)
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
}

fn print(case: &str, round: usize, calls: usize, begin: Instant) {
    if round == 0 {
        return;
    }
    let ns = begin.elapsed().as_nanos() as f64 / calls as f64;
    println!("{{\"case\":\"{case}\",\"round\":{round},\"ns\":{ns:.1}}}");
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, export, calls, rounds, rest @ ..] = arguments.as_slice() else {
        return Err("usage: bare_call COMPONENT EXPORT CALLS ROUNDS [library]".into());
    };
    let (calls, rounds): (usize, usize) = (calls.parse()?, rounds.parse()?);
    let payload = INPUT;
    let bare = Bare::new(path, export, false)?;
    let sync = Bare::new(path, export, true)?;
    let library = match rest.first().map(String::as_str) {
        Some("library") => Some(library::Library::new(&std::fs::read(path)?, export)?),
        _ => None,
    };
    let hop = Hop::new(Bare::new(path, export, false)?);
    let runtime = runtime()?;
    let warm_calls = calls * WARM_CALLS;
    let mut warm = runtime.block_on(Warm::of_async(&bare))?;
    let mut warm_sync = Warm::of_sync(&sync)?;
    // Round 0 warms the pools and is not printed.
    for round in 0..=rounds {
        let begin = Instant::now();
        runtime.block_on(async {
            for _ in 0..calls {
                assert_eq!(bare.call_async(payload).await?, PAYLOAD);
            }
            Ok::<(), wasmtime::Error>(())
        })?;
        print("bare-async", round, calls, begin);
        let begin = Instant::now();
        for _ in 0..calls {
            assert_eq!(sync.call_sync(payload)?, PAYLOAD);
        }
        print("bare-sync", round, calls, begin);
        let begin = Instant::now();
        runtime.block_on(async {
            for _ in 0..warm_calls {
                assert_eq!(warm.call_async().await?, PAYLOAD);
            }
            Ok::<(), wasmtime::Error>(())
        })?;
        print("bare-async-warm", round, warm_calls, begin);
        let begin = Instant::now();
        for _ in 0..warm_calls {
            assert_eq!(warm_sync.call_sync()?, PAYLOAD);
        }
        print("bare-sync-warm", round, warm_calls, begin);
        let begin = Instant::now();
        for _ in 0..calls {
            assert_eq!(hop.call(payload)?, PAYLOAD);
        }
        print("bare-hop", round, calls, begin);
        if let Some(library) = &library {
            drive(library, false, round, calls)?;
            drive(library, true, round, warm_calls)?;
        }
    }
    Ok(())
}

/// A round of calls through the library's function table.
fn drive(
    library: &library::Library,
    warm: bool,
    round: usize,
    calls: usize,
) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let mut moved = 0;
    for _ in 0..calls {
        let (length, inline) = library.call(INPUT, warm)?;
        assert_eq!(length, PAYLOAD);
        moved += usize::from(!inline);
    }
    let case = if warm {
        "library-warm"
    } else {
        "library-inline"
    };
    print(case, round, calls, begin);
    if moved > 0 {
        eprintln!("{moved} of {calls} calls moved to the workers");
    }
    Ok(())
}
