//! Compiled components on disk: what is taken from there, what is not, and how much is kept.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Rig, guests};
use serde_json::{Value, json};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("atoll-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn config(&self) -> Value {
        json!({ "instances": 4, "workerThreads": 1,
            "cacheDir": self.0.join("cache"), "keyFile": self.0.join("key") })
    }

    fn file(&self) -> PathBuf {
        let mut files: Vec<_> = fs::read_dir(self.0.join("cache"))
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn origin(config: &Value) -> String {
    let rig = Rig::with(config);
    let echo = rig.load_wat(&guests::echo(), json!({}));
    assert_eq!(
        rig.call(echo.target("sum"), br#"{"a":1,"b":1}"#).text(),
        "2"
    );
    echo.json["origin"].as_str().unwrap().to_owned()
}

#[test]
fn a_compiled_component_comes_from_the_cache_the_next_time() {
    let folder = Folder::new("cache");
    assert_eq!(origin(&folder.config()), "compiled");
    assert_eq!(origin(&folder.config()), "cache");
    assert_eq!(mode(&folder.0.join("cache")), 0o700);
    assert_eq!(mode(&folder.0.join("key")), 0o600);
    assert_eq!(mode(&folder.file()), 0o600);
}

#[test]
fn a22_a_file_that_is_not_authentic_is_compiled_again_and_replaced() {
    let folder = Folder::new("corrupt");
    assert_eq!(origin(&folder.config()), "compiled");
    let file = folder.file();
    let good = fs::read(&file).unwrap();
    let write = |bytes: &[u8]| fs::write(&file, bytes).unwrap();
    let spoilers: [(&str, &dyn Fn()); 6] = [
        ("a flipped bit of the code", &|| {
            let mut bytes = good.clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            write(&bytes);
        }),
        ("a flipped bit of the code's authentication", &|| {
            let mut bytes = good.clone();
            bytes[10] ^= 1;
            write(&bytes);
        }),
        ("cut short", &|| write(&good[..good.len() - 1])),
        ("empty", &|| write(&[])),
        ("readable by others", &|| {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("another key", &|| {
            fs::remove_file(folder.0.join("key")).unwrap()
        }),
    ];
    for (name, spoil) in spoilers {
        spoil();
        assert_eq!(origin(&folder.config()), "compiled", "{name}");
        assert_eq!(origin(&folder.config()), "cache", "{name}");
    }
    // A link is not followed, wherever it points.
    let aside = folder.0.join("aside");
    fs::rename(&file, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &file).unwrap();
    assert_eq!(origin(&folder.config()), "compiled");
    assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
}

#[test]
fn a22_files_of_another_user_are_not_used() {
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only the superuser can give files away");
        return;
    }
    let other = |path: &Path| std::os::unix::fs::chown(path, Some(65_534), None).unwrap();
    let folder = Folder::new("owner");
    assert_eq!(origin(&folder.config()), "compiled");
    other(&folder.file());
    assert_eq!(origin(&folder.config()), "compiled");
    assert_eq!(origin(&folder.config()), "cache");
    // With the key somebody else may have written every file.
    for path in [folder.0.join("key"), folder.0.join("cache")] {
        other(&path);
        let rig = Rig::with(&folder.config());
        let stats = rig.stats();
        assert_eq!(stats["cache"], false);
        let error = stats["cacheError"].as_str().unwrap();
        assert!(error.contains("belongs to another user"), "{error}");
        let echo = rig.load_wat(&guests::echo(), json!({}));
        assert_eq!(echo.json["origin"], "compiled");
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    assert_eq!(origin(&folder.config()), "cache");
}

#[test]
fn the_cache_keeps_to_its_size_and_tells_it() {
    let folder = Folder::new("size");
    assert_eq!(origin(&folder.config()), "compiled");
    let bytes = fs::metadata(folder.file()).unwrap().len();
    let mut config = folder.config();
    assert_eq!(Rig::with(&config).stats()["cacheBytes"], bytes);
    config["cacheBytes"] = json!(bytes);
    let rig = Rig::with(&config);
    assert_eq!(rig.stats()["cacheBytesMax"], bytes);
    let trap = guests::trap();
    assert_eq!(rig.load_wat(&trap, json!({})).json["origin"], "compiled");
    // The older one has gone.
    assert_eq!(rig.load_wat(&trap, json!({})).json["origin"], "cache");
    assert!(rig.stats()["cacheBytes"].as_u64().unwrap() <= bytes);
    assert_eq!(
        rig.load_wat(&guests::echo(), json!({})).json["origin"],
        "compiled"
    );
}

/// Names the folder in the process that may write no file of some size.
const FULL: &str = "ATOLL_TEST_FULL";

#[test]
fn a_disk_that_is_full_costs_the_cache_alone() {
    if let Some(path) = std::env::var_os(FULL) {
        // Not dropped: whoever started this process looks into it.
        let folder = std::mem::ManuallyDrop::new(Folder(path.into()));
        assert_eq!(origin(&folder.config()), "compiled");
        assert_eq!(origin(&folder.config()), "compiled");
        return;
    }
    let folder = Folder::new("full");
    // As with a disk that is full, a write goes part of the way and then fails.
    let run = std::process::Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 16; exec "$@""#, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_disk_that_is_full_costs_the_cache_alone"])
        .env(FULL, &folder.0)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    assert_eq!(fs::read_dir(folder.0.join("cache")).unwrap().count(), 0);
    // Once there is room again, it is kept.
    assert_eq!(origin(&folder.config()), "compiled");
    assert!(fs::metadata(folder.file()).unwrap().len() > 16 * 1024);
    assert_eq!(origin(&folder.config()), "cache");
}

#[test]
fn a22_an_authentic_file_is_not_taken_for_another_component() {
    let folder = Folder::new("swap");
    assert_eq!(origin(&folder.config()), "compiled");
    let file = folder.file();
    let rig = Rig::with(&folder.config());
    let trap = guests::trap();
    let digest = rig.load_wat(&trap, json!({})).json["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let other = file.with_file_name(format!("{digest}{}", &name[64..]));
    fs::copy(&file, &other).unwrap();
    assert_eq!(rig.load_wat(&trap, json!({})).json["origin"], "compiled");
}

#[test]
fn a_cache_that_cannot_be_used_is_left_out_and_said() {
    let folder = Folder::new("unusable");
    fs::write(folder.0.join("cache"), b"a file").unwrap();
    let rig = Rig::with(&folder.config());
    assert_eq!(rig.stats()["cache"], false);
    assert!(
        rig.stats()["cacheError"]
            .as_str()
            .unwrap()
            .contains("not a folder")
    );
    let inside = json!({ "instances": 4, "cacheDir": &folder.0, "keyFile": folder.0.join("key") });
    let rig = Rig::with(&inside);
    assert!(
        rig.stats()["cacheError"]
            .as_str()
            .unwrap()
            .contains("lies in the cache")
    );
    assert_eq!(
        rig.load_wat(&guests::echo(), json!({})).json["origin"],
        "compiled"
    );
}
