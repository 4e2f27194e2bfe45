//! The store of an instance.
//!
//! Owns: the data of a store and how a store is set up so that everything its guest holds counts
//! against one budget. It must not know what is called, nor how long the instance lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::access::Accounts;
use crate::budget::Budget;
use crate::crossing::{Crossing, Fuel};
use crate::egress::{Egress, Hooks};
use crate::folders::{Files, Held};
use crate::granted::Granted;
use crate::grants::Grants;
use crate::host::CallRef;
use crate::http_budget::HttpBudget;
use crate::keyvalue;
use crate::limits::Limits;
use crate::meter::{self, Verdict};
use crate::output::Log;
use crate::plugin::Plugin;
use crate::progress::Progress;
use crate::sockets::Sockets;
use crate::sources;
use crate::ticker;
use crate::told::Teller;
use crate::wasi;

/// What a result may cost the host above its own size, in bytes: bookkeeping of small values.
const FUEL_BASE: u64 = 1024 * 1024;

/// Size of a dynamic value for each byte of output: a nested `list<u8>` is one value a byte.
const FUEL_PER_OUTPUT_BYTE: u64 = 40;

/// Data of a store.
pub struct Data {
    /// The call that runs; none while a kept instance rests.
    call: Option<CallRef>,
    /// What the guest holds; wasmtime's limiter.
    pub budget: Budget,
    /// What may be copied out of it.
    pub fuel: Fuel,
    /// The epoch's tick at which its time was looked at last.
    pub ticks_seen: u64,
    table: ResourceTable,
    granted: Option<Arc<Granted>>,
    wasi: Option<Box<wasi::Context>>,
    /// None of a call that has reported nothing.
    progress: Option<Box<Progress>>,
    /// What it has of the folders that are granted.
    held: Option<Box<Held>>,
    /// Who is told of what it asks for; none: it has asked for nothing yet.
    teller: Option<Teller>,
    http: WasiHttpCtx,
    /// What the messages that the guest makes come to.
    pub http_budget: HttpBudget,
    /// What it sends.
    pub egress: Hooks,
    keyvalue: keyvalue::Session,
}

impl Data {
    /// The resource table of WASI.
    pub fn table_mut(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// The context of WASI, built on first use: most calls never ask for it.
    pub fn wasi(&mut self) -> &mut WasiCtx {
        self.wasi_and_table().0
    }

    /// Where standard output and error go.
    pub fn log(&mut self) -> Arc<Mutex<Log>> {
        Arc::clone(&self.context().0.log)
    }

    fn wasi_and_table(&mut self) -> (&mut WasiCtx, &mut ResourceTable) {
        let (context, table) = self.context();
        (&mut context.ctx, table)
    }

    fn context(&mut self) -> (&mut wasi::Context, &mut ResourceTable) {
        let granted = self.granted.as_deref();
        let context = context_of(
            &mut self.wasi,
            &mut self.teller,
            (self.call, self.budget.limits()),
            granted,
            self.egress.egress(),
        );
        (context, &mut self.table)
    }

    /// What is granted, where the operator observes how it is used.
    pub fn observed(&self) -> Option<&Grants> {
        let grants = self.granted.as_deref().map(|g| &g.grants);
        grants.filter(|grants| grants.observe)
    }

    /// Who is told of what the guest asks for.
    pub fn teller(&mut self) -> Teller {
        teller_of(&mut self.teller, self.call, self.granted.as_deref())
    }

    /// What the functions of `wasi:filesystem` work on.
    pub fn files(&mut self) -> Files<'_> {
        let granted = self.granted.as_deref();
        let call = (self.call, self.budget.limits());
        let context = context_of(
            &mut self.wasi,
            &mut self.teller,
            call,
            granted,
            self.egress.egress(),
        );
        if let Some(folders) = granted.and_then(|g| g.folders.as_ref())
            && self.held.is_none()
        {
            self.held = Some(Box::new(Held::new(folders)));
        }
        Files {
            wasi: WasiFilesystemCtxView {
                ctx: context.ctx.filesystem(),
                table: &mut self.table,
            },
            held: self.held.as_deref_mut(),
            teller: teller_of(&mut self.teller, self.call, granted),
            resolution: sources::resolution(granted.map(|g| &g.grants.clocks)),
        }
    }

    /// What is known of the network, where any of it is granted, and who is told.
    pub fn sockets_state(&mut self) -> (Option<Arc<Sockets>>, Teller) {
        let sockets = self.context().0.sockets.clone();
        (sockets, self.teller())
    }

    /// Where the guest's words go.
    pub fn output(&mut self) -> &wasi::Context {
        self.context().0
    }

    /// The guest says how far it is.
    pub fn report(&mut self, report: (f64, Option<f64>, Option<String>), now: Instant) {
        let progress = self
            .progress
            .get_or_insert_with(|| Box::new(Progress::new(now)));
        if let Some(line) = progress.take(report, now) {
            self.output().progress(&line);
        }
    }

    /// The call ends: what was held back of its reports is passed on.
    fn end_progress(&mut self) {
        let held = self.progress.take().and_then(|mut all| all.rest());
        if let Some(line) = held {
            self.output().progress(&line);
        }
    }

    /// What the plugin's own configuration says; none: it says nothing.
    pub fn config(&self) -> Option<&BTreeMap<String, String>> {
        self.granted.as_ref().map(|granted| &granted.grants.config)
    }

    /// What the interfaces of namespaces need.
    pub fn keyvalue(&mut self) -> keyvalue::View<'_> {
        keyvalue::View {
            session: &mut self.keyvalue,
            table: &mut self.table,
            accounts: self.egress.accounts.as_mut(),
        }
    }

    /// What it takes to count the messages.
    pub fn http_parts(&mut self) -> (&mut HttpBudget, &mut ResourceTable, &Limits) {
        let limits = self.budget.limits();
        (&mut self.http_budget, &mut self.table, limits)
    }

    /// A call of a kept instance has ended: what is written from now on has nobody to go to.
    pub fn rest(&mut self) {
        self.end_progress();
        self.call = None;
        self.egress.rest();
        self.http_budget.rest();
        if let Some(teller) = &self.teller {
            teller.renew(None);
        }
        if let Some(context) = &self.wasi {
            context.rest();
        }
    }

    /// Another call of it begins.
    fn renew(&mut self, limits: &Limits, call: CallRef) {
        self.call = Some(call);
        let accounts = accounts(call, self.granted.as_deref());
        self.egress.renew(accounts, limits);
        self.budget.set_limits(*limits);
        self.table.set_max_capacity(size(limits.resources));
        self.http.set_field_size_limit(size(limits.field_bytes));
        if let Some(teller) = &self.teller {
            teller.renew(Some(accounts));
        }
        if let Some(context) = &mut self.wasi {
            context.renew(call, limits, self.granted.as_deref());
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        self.end_progress();
    }
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (ctx, table) = self.wasi_and_table();
        WasiCtxView { ctx, table }
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

fn accounts(call: CallRef, granted: Option<&Granted>) -> Accounts {
    Accounts::new(call, granted.is_some_and(|g| g.grants.observe))
}

/// Built on first use.
fn context_of<'a>(
    wasi: &'a mut Option<Box<wasi::Context>>,
    teller: &mut Option<Teller>,
    (call, limits): (Option<CallRef>, &Limits),
    granted: Option<&Granted>,
    egress: Option<&Egress>,
) -> &'a mut wasi::Context {
    wasi.get_or_insert_with(|| {
        let teller = || teller_of(teller, call, granted);
        Box::new(wasi::context(call, limits, granted, egress, teller))
    })
}

fn teller_of(
    teller: &mut Option<Teller>,
    call: Option<CallRef>,
    granted: Option<&Granted>,
) -> Teller {
    teller
        .get_or_insert_with(|| Teller::new(call.map(|call| accounts(call, granted))))
        .clone()
}

/// A store for a fresh instance of a plugin and its first call.
pub fn store(
    engine: &wasmtime::Engine,
    plugin: &Plugin,
    limits: &Limits,
    call: CallRef,
) -> Store<Data> {
    let granted = plugin.granted();
    let accounts = accounts(call, granted.map(Arc::as_ref));
    let mut table = ResourceTable::new();
    table.set_max_capacity(size(limits.resources));
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(size(limits.field_bytes));
    let data = Data {
        call: Some(call),
        budget: Budget::new(*limits, Arc::clone(plugin.memory())),
        fuel: fuel(limits),
        ticks_seen: 0,
        table,
        granted: granted.cloned(),
        wasi: None,
        progress: None,
        held: None,
        teller: None,
        http,
        http_budget: HttpBudget::default(),
        egress: Hooks::new(plugin.egress(), accounts, limits),
        keyvalue: keyvalue::Session::new(plugin.keyvalue().cloned()),
    };
    let mut store = Store::new(engine, data);
    store.limiter(|data| &mut data.budget);
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().ticks_seen = ticker::ticks();
        Ok(match meter::on_epoch()? {
            Verdict::GoOn => UpdateDeadline::Continue(meter::SLICE_TICKS),
            Verdict::Yield => UpdateDeadline::Yield(meter::SLICE_TICKS),
        })
    });
    store.call_hook_async(Crossing);
    begin(&mut store, limits);
    store
}

/// Sets the store of a kept instance up for another call: time, output and log begin afresh, what
/// the guest holds goes on being counted.
pub fn renew(store: &mut Store<Data>, limits: &Limits, call: CallRef) {
    store.data_mut().renew(limits, call);
    begin(store, limits);
}

fn begin(store: &mut Store<Data>, limits: &Limits) {
    // Without this the deadline has already passed.
    store.set_epoch_deadline(meter::SLICE_TICKS);
    store.set_max_component_handles(size(limits.resources));
    if let Some(table) = store.concurrent_resource_table() {
        table.set_max_capacity(size(tasks_max(limits)));
    }
    let data = store.data_mut();
    data.ticks_seen = ticker::ticks();
    data.fuel = fuel(limits);
    data.keyvalue.renew();
}

/// Says that the next call's results are lifted as bytes, not as dynamic values that are many times
/// as large: what is over the limit is refused before it is copied.
pub fn expect_plain(store: &mut Store<Data>, limits: &Limits) {
    let data = store.data_mut();
    data.fuel = data.fuel.with_result(result(limits, 1));
}

/// Says that the next call's result is lifted in a call of the host by the guest: that may copy as
/// much as a result may have.
pub fn expect_returned(store: &mut Store<Data>) {
    let data = store.data_mut();
    data.fuel = data.fuel.with_returned();
}

/// Entries in wasmtime's table of tasks and of ends of streams and futures. Most things that a guest
/// has a handle to are three or four entries, and its own call is a few; but a task that has returned
/// goes on without a handle.
fn tasks_max(limits: &Limits) -> u64 {
    limits.resources.saturating_mul(4).saturating_add(16)
}

fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn fuel(limits: &Limits) -> Fuel {
    Fuel::new(limits, result(limits, FUEL_PER_OUTPUT_BYTE))
}

fn result(limits: &Limits, each: u64) -> usize {
    let fuel = limits
        .output_bytes
        .saturating_mul(each)
        .saturating_add(FUEL_BASE);
    size(fuel)
}
