//! Command: bindings for plugins in C and Go, and components of what their compilers give.
//!
//! Owns: the options of wit-bindgen and wit-component. Must not know where a compiler is, nor run one.
//!
//! `bindings LANGUAGE WIT WORLD OUT` writes the source files that a program in `c` or `go` is
//! compiled with into a folder. `component CORE OUT [WIT WORLD]` makes the core module that the
//! compiler gave, for WASI's first preview, a component; a module of C carries its world already.

mod bindings;
mod component;

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::ExitCode;
use wit_bindgen_core::wit_parser::{Resolve, WorldId};

const USAGE: &str = "usage: atoll-componentize bindings c|go WIT WORLD OUT
       atoll-componentize component CORE OUT [WIT WORLD]";

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
        ["component", core, out] => write_component(core, out, None),
        ["component", core, out, wit, world] => {
            write_component(core, out, Some(&world_of(wit, world)?))
        }
        _ => bail!("{USAGE}"),
    }
}

fn write_component(core: &str, out: &str, world: Option<&(Resolve, WorldId)>) -> Result<()> {
    let module = std::fs::read(core).with_context(|| format!("Cannot read \"{core}\""))?;
    let component = component::of_module(module, world)
        .with_context(|| format!("Cannot make a component of \"{core}\""))?;
    std::fs::write(out, component).with_context(|| format!("Cannot write \"{out}\""))
}

/// A world of a file or folder of WIT.
fn world_of(wit: &str, world: &str) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    Ok((resolve, world))
}
