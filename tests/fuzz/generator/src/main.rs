//! Components made from seeds: what `deno task fuzz components` offers to load and call.
//!
//! `components FOLDER FIRST COUNT` writes, for each seed from FIRST on, its kind in one byte, the
//! component's length in four (little-endian) and its bytes. The same seed gives the same bytes for
//! the same components in FOLDER (`.wat` and `.wasm`), which are what mutations begin with.

use std::error::Error;
use std::fs;
use std::io::{self, Write};

mod lifted;
mod mutate;
mod random;

use random::Random;

/// What a component is made of, by the letter that is written.
const SMITH: u8 = b's';
const LIFTED: u8 = b'l';
const MUTATED: u8 = b'm';
const BYTES: u8 = b'b';

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, first, count] = arguments.as_slice() else {
        return Err("usage: components FOLDER FIRST COUNT".into());
    };
    let (first, count): (u64, u64) = (first.parse()?, count.parse()?);
    let valid = valid(folder)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for seed in first..first.saturating_add(count) {
        let (kind, bytes) = component(seed, &valid);
        out.write_all(&[kind])?;
        out.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
        out.write_all(&bytes)?;
    }
    Ok(out.flush()?)
}

/// Valid components, in the order of their names.
fn valid(folder: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let mut valid = Vec::new();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("wat") => valid.push(wat::parse_file(&path)?),
            Some("wasm") => valid.push(fs::read(&path)?),
            _ => {}
        }
    }
    match valid.is_empty() {
        true => Err("there is no component in the folder".into()),
        false => Ok(valid),
    }
}

fn component(seed: u64, valid: &[Vec<u8>]) -> (u8, Vec<u8>) {
    let mut random = Random::new(seed);
    match random.below(100) {
        0..40 => (LIFTED, lifted::component(&mut random)),
        40..65 => (SMITH, smith(&mut random)),
        65..80 => (MUTATED, mutate::component(&mut random, valid)),
        80..95 => {
            let mut from = valid.to_vec();
            // Mutations of what is made here are offered too; the two halves have common parts.
            from.splice(.., [lifted::component(&mut random), smith(&mut random)]);
            (MUTATED, mutate::component(&mut random, &from))
        }
        _ => (BYTES, bytes(&mut random)),
    }
}

/// A component of wasm-smith's own; every second one imports nothing, so that more of them link.
fn smith(random: &mut Random) -> Vec<u8> {
    let mut config = lifted::config();
    if random.below(2) == 0 {
        config.max_imports = 0;
    }
    loop {
        let bytes = random.bytes(4096);
        let mut input = arbitrary::Unstructured::new(&bytes);
        if let Ok(component) = wasm_smith::Component::new(config.clone(), &mut input) {
            return component.to_bytes();
        }
    }
}

/// Nothing at all, or a component's first bytes and then nothing that is one.
fn bytes(random: &mut Random) -> Vec<u8> {
    let length = random.below(2_000);
    let mut bytes = match random.below(3) {
        0 => Vec::new(),
        1 => b"\0asm\x01\0\0\0".to_vec(),
        _ => b"\0asm\x0d\0\x01\0".to_vec(),
    };
    bytes.extend(random.bytes(length));
    bytes
}
