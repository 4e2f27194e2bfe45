//! Puts Go's side of the bindings into the program: the module that generated code imports.
//!
//! The generator's crate carries its source, which no module proxy has, so it is found where cargo
//! unpacked that crate.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The folders that generated code imports, and the licence they come under.
const PARTS: [&str; 4] = ["LICENSE", "wit/async", "wit/runtime", "wit/types"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.lock");
    let package = generator()?.join("src/pkg");
    let mut text = String::from("&[\n");
    for path in PARTS.iter().map(|part| package.join(part)) {
        for file in files(&path)? {
            let name = file.strip_prefix(&package)?;
            writeln!(text, "    ({name:?}, include_bytes!({file:?})),")?;
        }
    }
    text.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("go_package.rs"), text)?;
    Ok(())
}

/// Where cargo unpacked wit-bindgen-go.
fn generator() -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .arg("--filter-platform")
        .arg(env::var("TARGET")?)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|each| each["name"] == "wit-bindgen-go")
        .and_then(|each| each["manifest_path"].as_str())
        .ok_or("cargo metadata names no wit-bindgen-go")?;
    Ok(Path::new(manifest)
        .parent()
        .ok_or("a manifest without a folder")?
        .to_owned())
}

/// A file, or all files of a folder.
fn files(path: &Path) -> Result<BTreeSet<PathBuf>, Box<dyn Error>> {
    if path.is_file() {
        return Ok(BTreeSet::from([path.to_owned()]));
    }
    fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
}
