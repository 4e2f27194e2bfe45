//! A fresh instance for a call.
//!
//! Owns: the data of a store and how a store is set up so that everything its guest holds counts
//! against one budget. It must not know what is called.

use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, Result as HttpResult, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::host::CallRef;
use crate::limits::{Budget, Limits};
use crate::meter;
use crate::wasi;

/// What a result may cost the host above its own size, in bytes: bookkeeping of small values.
const FUEL_BASE: u64 = 1024 * 1024;

/// Size of a dynamic value for each byte of output: a nested `list<u8>` is one value a byte.
const FUEL_PER_OUTPUT_BYTE: u64 = 40;

/// Data of a store.
pub struct Data {
    call: CallRef,
    /// What the guest holds; wasmtime's limiter.
    pub budget: Budget,
    table: ResourceTable,
    wasi: Option<Box<WasiCtx>>,
    http: WasiHttpCtx,
    egress: NoEgress,
}

impl Data {
    /// The resource table of WASI.
    pub fn table_mut(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// The context of WASI, built on first use: most calls never ask for it.
    pub fn wasi(&mut self) -> &mut WasiCtx {
        let (call, budget) = (self.call, &self.budget);
        self.wasi
            .get_or_insert_with(|| Box::new(wasi::context(call, budget.limits())))
    }
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (call, budget) = (self.call, &self.budget);
        let ctx = self
            .wasi
            .get_or_insert_with(|| Box::new(wasi::context(call, budget.limits())));
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Data {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.egress,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// Outgoing HTTP is denied.
struct NoEgress;

type Sent = (
    http::Response<WasiBody>,
    Box<dyn Future<Output = HttpResult<()>> + Send>,
);

impl WasiHttpHooks for NoEgress {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _fut: Box<dyn Future<Output = HttpResult<()>> + Send>,
    ) -> Box<dyn Future<Output = HttpResult<Sent>> + Send> {
        Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)))
    }
}

/// A store for one call.
pub fn store(engine: &wasmtime::Engine, limits: &Limits, call: CallRef) -> Store<Data> {
    let mut table = ResourceTable::new();
    let resources = usize::try_from(limits.resources).unwrap_or(usize::MAX);
    table.set_max_capacity(resources);
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(usize::try_from(limits.field_bytes).unwrap_or(usize::MAX));
    let data = Data {
        call,
        budget: Budget::new(*limits),
        table,
        wasi: None,
        http,
        egress: NoEgress,
    };
    let mut store = Store::new(engine, data);
    store.limiter(|data| &mut data.budget);
    store.epoch_deadline_callback(|_| meter::on_epoch());
    // Without this the deadline of a new store has already passed.
    store.set_epoch_deadline(meter::FIRST_SLICE_TICKS);
    store.set_hostcall_fuel(fuel(limits));
    store.set_max_component_handles(resources);
    store
}

fn fuel(limits: &Limits) -> usize {
    let fuel = limits
        .output_bytes
        .saturating_mul(FUEL_PER_OUTPUT_BYTE)
        .saturating_add(FUEL_BASE);
    usize::try_from(fuel).unwrap_or(usize::MAX)
}
