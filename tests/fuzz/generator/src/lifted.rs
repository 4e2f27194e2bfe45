//! Components with functions of random types, each with a random body.
//!
//! wasm-smith's own components hardly ever export a function that can be called. So random WIT is
//! written, wasm-smith makes a core module with the exports that this WIT asks for, and the encoder
//! makes a component of it. What such a guest answers rarely fits its types: the host has to notice.

use std::fmt::Write as _;

use wasm_smith::{Config, Module};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

use crate::random::Random;

/// Bytes that a module's code is made from; more of them are more functions and longer ones.
const MODULE_BYTES: usize = 3_000;

/// Types nested deeper than this are written nowhere.
const DEPTH_MAX: usize = 3;

/// What the engine runs: no proposal that it has not.
pub fn config() -> Config {
    Config {
        max_memories: 1,
        max_memory32_bytes: 1 << 24,
        max_tables: 1,
        max_funcs: 20,
        max_instructions: 60,
        max_components: 5,
        max_modules: 5,
        max_instances: 5,
        exceptions_enabled: false,
        // The engine is built without a collector, and so without externref and funcref as values.
        gc_enabled: false,
        reference_types_enabled: false,
        memory64_enabled: false,
        custom_page_sizes_enabled: false,
        shared_everything_threads_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        compact_imports_enabled: false,
        ..Config::default()
    }
}

/// Such a component.
pub fn component(random: &mut Random) -> Vec<u8> {
    loop {
        let wit = world(random);
        if let Some(bytes) = implementation(random, &wit) {
            return bytes;
        }
    }
}

/// None where what was made does not fit together; the caller tries again with other bytes.
fn implementation(random: &mut Random, wit: &str) -> Option<Vec<u8>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("random.wit", wit).ok()?;
    let world = resolve.select_world(&[package], Some("w")).ok()?;
    let mangling = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
    let mut config = config();
    config.max_imports = 0;
    config.allow_start_export = random.below(4) == 0;
    config.exports = Some(dummy_module(&resolve, world, mangling));
    let bytes = random.bytes(MODULE_BYTES);
    let mut input = arbitrary::Unstructured::new(&bytes);
    let mut module = Module::new(config, &mut input).ok()?.to_bytes();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).ok()?;
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).ok()?.encode().ok()
}

/// A world that exports up to four functions.
fn world(random: &mut Random) -> String {
    let mut text = String::from("package fuzz:random;\nworld w {\n");
    let mut named = 0;
    let mut functions = String::new();
    for function in 0..=random.below(4) {
        let parameters: Vec<String> = (0..random.below(4))
            .map(|number| {
                let ty = self::ty(random, &mut text, &mut named, 0);
                format!("p{number}: {ty}")
            })
            .collect();
        let result = match random.below(4) {
            0 => String::new(),
            _ => format!(" -> {}", ty(random, &mut text, &mut named, 0)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            functions,
            "export f{function}: func({}){result};",
            parameters.join(", ")
        );
    }
    text + &functions + "}\n"
}

/// A type; those that WIT wants named are declared in `text` first.
fn ty(random: &mut Random, text: &mut String, named: &mut usize, depth: usize) -> String {
    const PLAIN: [&str; 13] = [
        "bool", "u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64", "char",
        "string",
    ];
    if depth >= DEPTH_MAX {
        return random.pick(&PLAIN).to_owned();
    }
    let mut inner = |random: &mut Random, text: &mut String| ty(random, text, named, depth + 1);
    match random.below(20) {
        0 | 1 => format!("list<{}>", inner(random, text)),
        2 => format!("option<{}>", inner(random, text)),
        3 => format!("tuple<{}, {}>", inner(random, text), inner(random, text)),
        4 => format!("result<{}, {}>", inner(random, text), inner(random, text)),
        5 => "list<u8>".to_owned(),
        6 => {
            let fields = format!("a: {}, b-c: {}", inner(random, text), inner(random, text));
            declare(text, named, "record", &fields)
        }
        7 => {
            let cases = format!("a({}), b, c({})", inner(random, text), inner(random, text));
            declare(text, named, "variant", &cases)
        }
        8 => declare(text, named, "enum", "red, green, blue"),
        9 => declare(text, named, "flags", "read, write, run"),
        _ => random.pick(&PLAIN).to_owned(),
    }
}

fn declare(text: &mut String, named: &mut usize, keyword: &str, body: &str) -> String {
    *named += 1;
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{keyword} t{named} {{ {body} }}");
    format!("t{named}")
}
