//! What a component's binary says about itself: its WIT, imports and exported functions.
//!
//! Owns: reading that without compiling, and refusing what is not a component. It must not know
//! engines or limits.

use std::panic::catch_unwind;

use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{FunctionKind, Resolve, TypeDefKind, WorldItem, WorldKey};

use crate::census::{self, Census};
use crate::config::Tasks;
use crate::error::forget_panic;
use crate::wit_text;

/// Largest component that is accepted, in bytes.
pub const COMPONENT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Longest name of an import, an interface or a function, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Most exported functions, and most imports. A tool server that offers as many has long been
/// useless; the lists of them go to every client.
const NAMES_MAX: usize = 1_000;

/// An exported function.
pub struct ExportedFunction {
    /// Interface as in WIT, `demo:text/api@0.1.0`; none for a function of the world itself.
    pub interface: Option<String>,
    /// Function as in WIT, `simple-text`.
    pub name: String,
}

/// What a component says about itself.
pub struct Description {
    /// What it comes to.
    pub census: Census,
    /// Its WIT with documentation.
    pub wit: String,
    /// Imported interfaces and functions, `wasi:io/streams@0.2.6`.
    pub imports: Vec<String>,
    /// Exported functions outside `wasi:*`, in order.
    pub functions: Vec<ExportedFunction>,
    /// The newest `wasi:http` that it exports a handler of.
    pub http: Option<HttpVersion>,
}

/// A version of `wasi:http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpVersion {
    /// Its handler is `wasi:http/incoming-handler`.
    V02,
    /// Its handler is `wasi:http/handler`.
    V03,
}

impl HttpVersion {
    /// That of an exported interface, if it is a handler.
    fn of(interface: &str) -> Option<HttpVersion> {
        if interface.starts_with("wasi:http/incoming-handler@0.2") {
            Some(HttpVersion::V02)
        } else if interface.starts_with("wasi:http/handler@0.3") {
            Some(HttpVersion::V03)
        } else {
            None
        }
    }
}

impl Description {
    /// What its guests can do at a time.
    pub fn tasks(&self) -> Tasks {
        // Those imports are only there where tasks are.
        let asks = |import: &String| import.starts_with("wasi:") && import.contains("@0.3.");
        match self.census.concurrent || self.imports.iter().any(asks) {
            false => Tasks::One,
            true => Tasks::Many,
        }
    }
}

/// Reads a component. The error is a sentence that says what the bytes are instead.
pub fn describe(bytes: &[u8]) -> Result<Description, String> {
    check_preamble(bytes)?;
    // First of all: whatever follows writes types or instances out.
    let census = census::take(bytes).map_err(|e| format!("the component {}", first_line(&e)))?;
    // The decoder panics at some valid components; what it was building is gone with it.
    let decoded = catch_unwind(|| decode(bytes))
        .map_err(|panic| {
            forget_panic(panic);
            "the component exports what WIT has no words for".to_owned()
        })?
        .map_err(|e| format!("the component is broken: {}", first_line(&format!("{e:#}"))))?;
    let (resolve, world) = match &decoded {
        DecodedWasm::Component(resolve, world) => (resolve, *world),
        DecodedWasm::WitPackage(..) => {
            return Err("the file is a WIT package in binary form, not a component".into());
        }
    };
    let mut imports = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        if let Some(name) = import_name(resolve, key, item) {
            imports.push(name);
        }
    }
    let (functions, http) = exports(resolve, world);
    check_names("imports", imports.len(), imports.iter().map(String::as_str))?;
    let interfaces = functions.iter().filter_map(|f| f.interface.as_deref());
    let names = functions.iter().map(|f| f.name.as_str());
    check_names("functions", functions.len(), names.chain(interfaces))?;
    Ok(Description {
        census,
        wit: wit_text::print(resolve, decoded.package())?,
        imports,
        functions,
        http,
    })
}

fn check_preamble(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(format!(
            "the component has {} bytes, the most that is accepted is {COMPONENT_BYTES_MAX}",
            bytes.len()
        ));
    }
    match bytes {
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(
            "the file is a core WebAssembly module, not a component; build it for wasm32-wasip2 \
             or wrap it with `wasm-tools component new`"
                .into(),
        ),
        [b'\0', b'a', b's', b'm', _, _, _, _, ..] => {
            Err("the file is WebAssembly of a version or layer that is not supported".into())
        }
        _ if bytes.len() < 8 => Err("the file is too short to be a component".into()),
        _ => Err("the file is not WebAssembly".into()),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

/// An import that has to be linked; none for one that only brings types.
fn import_name(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> Option<String> {
    match item {
        WorldItem::Type { .. } => None,
        WorldItem::Function(function) => Some(function.name.clone()),
        WorldItem::Interface { id, .. } => {
            let interface = &resolve.interfaces[*id];
            let resources = interface
                .types
                .values()
                .any(|ty| matches!(resolve.types[*ty].kind, TypeDefKind::Resource));
            let name = resolve.name_world_key(key);
            (resources || !interface.functions.is_empty() || crate::wasi::is_known(&name))
                .then_some(name)
        }
    }
}

fn exports(
    resolve: &Resolve,
    world: wit_parser::WorldId,
) -> (Vec<ExportedFunction>, Option<HttpVersion>) {
    let mut functions = Vec::new();
    let mut http = None;
    for (key, item) in &resolve.worlds[world].exports {
        match item {
            WorldItem::Type { .. } => {}
            WorldItem::Function(function) => functions.push(ExportedFunction {
                interface: None,
                name: function.name.clone(),
            }),
            WorldItem::Interface { id, .. } => {
                let interface = resolve.name_world_key(key);
                if interface.starts_with("wasi:") {
                    http = http.max(HttpVersion::of(&interface));
                    continue;
                }
                for function in resolve.interfaces[*id].functions.values() {
                    // A method belongs to a resource, which no call of its own has.
                    let plain = FunctionKind::Freestanding;
                    if [plain, FunctionKind::AsyncFreestanding].contains(&function.kind) {
                        functions.push(ExportedFunction {
                            interface: Some(interface.clone()),
                            name: function.name.clone(),
                        });
                    }
                }
            }
        }
    }
    (functions, http)
}

/// They are repeated in every answer about the component.
fn check_names<'a>(
    what: &str,
    count: usize,
    mut names: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    if count > NAMES_MAX {
        return Err(format!(
            "the component has {count} {what}, the most that are accepted are {NAMES_MAX}"
        ));
    }
    match names.find(|name| name.len() > NAME_BYTES_MAX) {
        Some(name) => {
            let start = &name[..name.floor_char_boundary(64)];
            Err(format!(
                "the name `{start}…` of the component has {} bytes, the most that are accepted are \
                 {NAME_BYTES_MAX}",
                name.len()
            ))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_component_is_named() {
        let refused = |bytes: &[u8]| describe(bytes).err().unwrap_or_default();
        assert!(refused(b"\0asm\x01\0\0\0").contains("core WebAssembly module"));
        assert!(refused(b"\0as").contains("too short"));
        assert!(refused(b"#!/bin/sh\necho").contains("not WebAssembly"));
        assert!(refused(b"\0asm\x0e\0\x01\0").contains("version or layer"));
    }

    #[test]
    fn an_empty_component_is_described() {
        let description = describe(b"\0asm\x0d\0\x01\0").expect("a component");
        assert!(description.imports.is_empty());
        assert!(description.functions.is_empty());
        assert_eq!(description.http, None);
        assert!(description.wit.starts_with("package root:component;"));
    }
}
