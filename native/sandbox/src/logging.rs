//! `wasi:logging`: messages that a guest logs at a level.
//!
//! Owns: the interface. Messages go where the guest's other words go and count as they do. It must
//! not know how they are sent.

use wasmtime::component::{ComponentType, Lift, Linker};
use wasmtime::{Result, StoreContextMut};

use crate::abi::{
    ATOLL_LINE_CRITICAL, ATOLL_LINE_DEBUG, ATOLL_LINE_ERROR, ATOLL_LINE_INFO, ATOLL_LINE_TRACE,
    ATOLL_LINE_WARN, AtollLine,
};
use crate::instance::Data;

/// The names that guests import it by: the first form of the package had no version.
const NAMES: [&str; 2] = ["wasi:logging/logging", "wasi:logging/logging@0.1.0-draft"];

/// How much a message matters.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Level {
    /// For whoever follows the program's steps.
    #[component(name = "trace")]
    Trace,
    /// For whoever looks for a fault.
    #[component(name = "debug")]
    Debug,
    /// For whoever watches the program.
    #[component(name = "info")]
    Info,
    /// Something may go wrong.
    #[component(name = "warn")]
    Warn,
    /// Something went wrong.
    #[component(name = "error")]
    Error,
    /// Nothing goes on.
    #[component(name = "critical")]
    Critical,
}

impl Level {
    /// What its line is for the core.
    pub fn line(self) -> AtollLine {
        match self {
            Level::Trace => ATOLL_LINE_TRACE,
            Level::Debug => ATOLL_LINE_DEBUG,
            Level::Info => ATOLL_LINE_INFO,
            Level::Warn => ATOLL_LINE_WARN,
            Level::Error => ATOLL_LINE_ERROR,
            Level::Critical => ATOLL_LINE_CRITICAL,
        }
    }
}

/// Puts the interface into a linker.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    for name in NAMES {
        linker.instance(name)?.func_wrap(
            "log",
            |mut store: StoreContextMut<'_, Data>,
             (level, context, message): (Level, String, String)| {
                store.data_mut().output().log(level, &context, &message)
            },
        )?;
    }
    Ok(())
}
