//! The cache by itself: what its key is made of, what goes first, and faults of the file system.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::{Config, Engine};

use super::{Cache, HEADER_BYTES, digest};
use crate::config::{self, Tasks};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("atoll-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn files(&self) -> PathBuf {
        self.0.join("cache")
    }

    fn open(&self, bytes_max: u64, engine: &Engine) -> Cache {
        Cache::open(&self.files(), &self.0.join("key"), bytes_max, engine).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn engine() -> Engine {
    Engine::new(&config::wasmtime(4, Tasks::One)).unwrap()
}

/// Makes a file look as if it was used so many seconds ago.
fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn an_engine_with_another_option_or_for_another_processor_finds_nothing() {
    let folder = Folder::new("cache-key");
    let write = folder.open(1 << 20, &engine());
    let digest = digest(b"component");
    write.write(&digest, b"code").unwrap();
    let found = |config: &Config| {
        let cache = folder.open(1 << 20, &Engine::new(config).unwrap());
        cache.read(&digest).map(|found| found.as_slice().to_vec())
    };
    assert_eq!(
        found(&config::wasmtime(4, Tasks::One)).as_deref(),
        Some(&b"code"[..])
    );
    // How many instances there may be changes no code.
    assert!(found(&config::wasmtime(8, Tasks::One)).is_some());
    assert!(found(&config::wasmtime(4, Tasks::Many)).is_none(), "tasks");
    let mut other = config::wasmtime(4, Tasks::One);
    other.epoch_interruption(false);
    assert!(found(&other).is_none(), "epoch interruption");
    let mut other = config::wasmtime(4, Tasks::One);
    other.cranelift_opt_level(wasmtime::OptLevel::None);
    assert!(found(&other).is_none(), "optimisation");
    let mut other = config::wasmtime(4, Tasks::One);
    other.wasm_simd(false).wasm_relaxed_simd(false);
    assert!(found(&other).is_none(), "instructions of guests");
    // With the target named, no feature is taken from the processor that is there.
    let mut other = config::wasmtime(4, Tasks::One);
    other
        .target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .unwrap();
    assert!(found(&other).is_none(), "features of the processor");
}

#[test]
fn files_used_least_lately_go_when_they_are_too_many() {
    let folder = Folder::new("cache-cap");
    let artifact = [7; 1000];
    let each = (HEADER_BYTES + artifact.len()) as u64;
    let cache = folder.open(3 * each, &engine());
    let digests = [b"a", b"b", b"c", b"d"].map(|name| digest(name));
    let path = |digest: &str| folder.files().join(cache.name(digest));
    for (index, digest) in digests[..3].iter().enumerate() {
        cache.write(digest, &artifact).unwrap();
        age(&path(digest), 100 - index as u64);
    }
    assert_eq!(cache.bytes(), 3 * each);
    // The oldest is used, and so is the youngest from now on.
    assert!(cache.read(&digests[0]).is_some());
    cache.write(&digests[3], &artifact).unwrap();
    assert_eq!(cache.bytes(), 3 * each);
    let there = digests.each_ref().map(|digest| path(digest).exists());
    assert_eq!(there, [true, false, true, true]);
    // More than everything may take is not written, and drives nothing out.
    let error = cache.write(&digests[1], &[7; 4000]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    assert_eq!(cache.bytes(), 3 * each);
    // A smaller cap holds from the next start on.
    age(&path(&digests[0]), 50);
    let smaller = folder.open(each, &engine());
    assert_eq!(smaller.bytes(), each);
    assert!(smaller.read(&digests[3]).is_some());
}

#[test]
fn what_is_not_the_caches_own_neither_counts_nor_goes() {
    let folder = Folder::new("cache-foreign");
    let cache = folder.open(1 << 20, &engine());
    let foreign = folder.files().join("notes.txt");
    fs::write(&foreign, b"mine").unwrap();
    // Cannot be removed as a file is.
    fs::create_dir(folder.files().join("folder.cwasm")).unwrap();
    let abandoned = folder.files().join("x.cwasm.0011");
    let written_now = folder.files().join("y.cwasm.2233");
    fs::write(&abandoned, b"part").unwrap();
    age(&abandoned, 2 * 60 * 60);
    fs::write(&written_now, b"part").unwrap();
    assert_eq!(cache.bytes(), 8);
    cache.write(&digest(b"a"), b"code").unwrap();
    assert!(cache.read(&digest(b"a")).is_some());
    let none = folder.open(0, &engine());
    assert_eq!(none.bytes(), 4);
    assert!(none.write(&digest(b"a"), b"code").is_err());
    assert!(foreign.exists() && written_now.exists() && !abandoned.exists());
}

#[test]
fn two_caches_of_one_folder_evict_side_by_side() {
    let folder = Folder::new("cache-two");
    let artifact = [7; 1000];
    let each = (HEADER_BYTES + artifact.len()) as u64;
    let engine = engine();
    std::thread::scope(|scope| {
        for name in ["left", "right"] {
            let cache = folder.open(5 * each, &engine);
            scope.spawn(move || {
                for number in 0..200 {
                    let digest = digest(format!("{name} {number}").as_bytes());
                    cache.write(&digest, &artifact).unwrap();
                    // The other one may have driven it out; what is there is whole.
                    if let Some(found) = cache.read(&digest) {
                        assert_eq!(found.as_slice(), artifact);
                    }
                }
            });
        }
    });
    let cache = folder.open(5 * each, &engine);
    assert!(cache.bytes() <= 5 * each && cache.bytes() > 0);
    let files = fs::read_dir(folder.files()).unwrap();
    for file in files {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(name.ends_with(".cwasm"), "{name}");
    }
}

#[test]
fn a_length_that_cannot_be_is_not_believed() {
    let folder = Folder::new("cache-sparse");
    let cache = folder.open(1 << 20, &engine());
    let digest = digest(b"component");
    cache.write(&digest, b"code").unwrap();
    let path = folder.files().join(cache.name(&digest));
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 42).unwrap();
    assert!(cache.read(&digest).is_none());
    cache.write(&digest, b"code").unwrap();
    assert!(cache.read(&digest).is_some());
}
