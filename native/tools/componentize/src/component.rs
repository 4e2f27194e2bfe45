//! A component of a core module.

use anyhow::Result;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// What the compilers' libraries ask of WASI's first preview is answered by an adapter inside the
/// component, which asks for WASI 0.2. `world` is that of a module that does not carry one.
pub fn of_module(mut module: Vec<u8>, world: Option<&(Resolve, WorldId)>) -> Result<Vec<u8>> {
    if let Some((resolve, world)) = world {
        embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8, false)?;
    }
    ComponentEncoder::default()
        .module(&module)?
        .adapter(
            WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )?
        .validate(true)
        .encode()
}
