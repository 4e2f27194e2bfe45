//! A component of a core module.

use anyhow::Result;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// A component of the functions that a module exports; `world` is that of a module without one.
pub fn of_reactor(mut module: Vec<u8>, world: Option<&(Resolve, WorldId)>) -> Result<Vec<u8>> {
    if let Some((resolve, world)) = world {
        embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8, false)?;
    }
    encode(&module, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
}

/// A component whose `wasi:cli/run` is the start of a module.
pub fn of_command(module: &[u8]) -> Result<Vec<u8>> {
    encode(module, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
}

/// What a module asks of WASI's first preview is answered by an adapter inside the component, which
/// asks for WASI 0.2.
fn encode(module: &[u8], adapter: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default()
        .module(module)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?
        .validate(true)
        .encode()
}
