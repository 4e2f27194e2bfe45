//! Command: bindings for plugins in C and Go, and components of what their compilers give.
//!
//! Owns: the options of wit-bindgen and wit-component. Must not know where a compiler is, nor run one.
//!
//! `bindings LANGUAGE WIT WORLD OUT` writes the source files that a program in `c` or `go` is
//! compiled with into a folder. `component CORE OUT [WIT WORLD]` makes the core module that the
//! compiler gave, for WASI's first preview, a component; a module of C carries its world already.
//! `command CORE OUT` does it with a program that has a start and no world.

mod bindings;
mod component;

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::ExitCode;
use wit_bindgen_core::wit_parser::{Resolve, WorldId};

const USAGE: &str = "usage: atoll-componentize bindings c|go WIT WORLD OUT
       atoll-componentize component CORE OUT [WIT WORLD]
       atoll-componentize command CORE OUT";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bindings", language, wit, world, out] => {
            let (mut resolve, world) = world_of(wit, world)?;
            bindings::write(language, &mut resolve, world, Path::new(out))
        }
        ["component", core, out] => {
            convert(core, out, |module| component::of_reactor(module, None))
        }
        ["component", core, out, wit, world] => {
            let world = world_of(wit, world)?;
            convert(core, out, |module| {
                component::of_reactor(module, Some(&world))
            })
        }
        ["command", core, out] => convert(core, out, |module| component::of_command(&module)),
        _ => bail!("{USAGE}"),
    }
}

/// Writes what `make` makes of a core module.
fn convert(core: &str, out: &str, make: impl FnOnce(Vec<u8>) -> Result<Vec<u8>>) -> Result<()> {
    let module = std::fs::read(core).with_context(|| format!("Cannot read \"{core}\""))?;
    let component =
        make(module).with_context(|| format!("Cannot make a component of \"{core}\""))?;
    std::fs::write(out, component).with_context(|| format!("Cannot write \"{out}\""))
}

/// A world of a file or folder of WIT.
fn world_of(wit: &str, world: &str) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    Ok((resolve, world))
}
