//! The source files that a program in another language is compiled with.

use anyhow::{Context, Result, bail};
use std::path::Path;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::{Resolve, WorldId};

/// Files of Go's module `go.bytecodealliance.org/pkg`, by their paths in it.
const GO_PACKAGE: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/go_package.rs"));

/// Names a version of Go that is older than the one it was written with, and enough for it.
const GO_PACKAGE_MODULE: &str = "module go.bytecodealliance.org/pkg\n\ngo 1.25\n";

/// No module proxy has the package.
const GO_REPLACE: &str = "\nreplace go.bytecodealliance.org/pkg => ./pkg\n";

pub fn write(language: &str, resolve: &mut Resolve, world: WorldId, out: &Path) -> Result<()> {
    let mut files = Files::default();
    let mut generator = match language {
        "c" => wit_bindgen_c::Opts::default().build(),
        "go" => wit_bindgen_go::Opts {
            quiet: true,
            ..Default::default()
        }
        .build(),
        _ => bail!("There are bindings for c and go, not for \"{language}\""),
    };
    generator.generate(resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        if language == "go" && name == "go.mod" {
            write_file(out, name, &[content, GO_REPLACE.as_bytes()].concat())?;
        } else {
            write_file(out, name, content)?;
        }
    }
    if language == "go" {
        write_file(out, "pkg/go.mod", GO_PACKAGE_MODULE.as_bytes())?;
        for (name, content) in GO_PACKAGE {
            write_file(out, &format!("pkg/{name}"), content)?;
        }
    }
    Ok(())
}

fn write_file(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(&path, content))
        .with_context(|| format!("Cannot write \"{}\"", path.display()))
}
