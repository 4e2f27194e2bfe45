//! Grants that are no rules of their own, told when they are used: environment, clocks, randomness.
//!
//! Owns: which function uses which. Where nobody observes it is a look at a flag. It must not know
//! what the functions do.

use serde_json::{Value, json};
use wasmtime::Result;
use wasmtime::component::HasData;
use wasmtime_wasi::cli::{WasiCliCtxView, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocksCtxView, WasiClocksView as _};
use wasmtime_wasi::p2::bindings::cli::environment;
use wasmtime_wasi::random::WasiRandomCtx;

use crate::grants::{Clocks, Grants};
use crate::instance::Data;

/// The clocks of a store.
pub fn clocks(data: &mut Data) -> WasiClocksCtxView<'_> {
    data.tell_used("clocks", "a clock", |grants| {
        let resolution = grants.clocks.resolution_us;
        let finer = grants.clocks != Clocks::default();
        finer.then(|| json!({ "resolutionUs": resolution }))
    });
    data.clocks()
}

/// Its randomness.
pub fn random(data: &mut Data) -> &mut WasiRandomCtx {
    data.tell_used("random", "randomness", |grants| {
        grants.random.as_ref().map(|r| json!({ "seed": r.seed }))
    });
    data.wasi().random()
}

/// `wasi:cli/environment`, for the linker.
pub struct Environment;

impl HasData for Environment {
    type Data<'a> = Own<'a>;
}

/// What it works on.
pub struct Own<'a>(&'a mut Data);

/// The environment of a store.
pub fn own(data: &mut Data) -> Own<'_> {
    Own(data)
}

impl Own<'_> {
    fn cli(&mut self) -> WasiCliCtxView<'_> {
        self.0.cli()
    }
}

impl environment::Host for Own<'_> {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        self.0.tell_used("env", "the environment", |grants| {
            (!grants.env.is_empty()).then(|| json!(grants.env))
        });
        self.cli().get_environment()
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        self.cli().get_arguments()
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        self.cli().initial_cwd()
    }
}

impl Data {
    fn tell_used(
        &mut self,
        capability: &'static str,
        asked: &str,
        used: impl FnOnce(&Grants) -> Option<Value>,
    ) {
        let Some(grants) = self.observed() else {
            return;
        };
        if let Some(grant) = used(grants) {
            let teller = self.teller();
            teller.allowed(
                capability,
                || asked.to_owned(),
                || json!({ capability: grant }),
            );
        }
    }
}
