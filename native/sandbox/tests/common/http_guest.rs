//! A `wasi:http` handler in core WebAssembly, made a component by the encoder of wit-component.
//!
//! What it does is told by the second character of the path: `/h` says hello, `/e` echoes the
//! body, `/s` streams a megabyte, `/t` traps after the first chunk, `/n` sets no response, `/f`
//! appends fields until that fails, `/l` loops for ever, `/b` streams a megabyte and then loops.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("http_guest.wit");
const CORE: &str = include_str!("http_guest.wat");

/// The component.
pub fn component() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("http_guest.wit", WIT).expect("WIT");
    let world = resolve
        .select_world(&[package], Some("handler"))
        .expect("world");
    let mut module = wat::parse_str(CORE).expect("WAT");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .expect("metadata");
    let mut encoder = ComponentEncoder::default();
    encoder
        .module(&module)
        .expect("module")
        .encode()
        .expect("component")
}
