//! The cache of compiled components: what is taken from it, and what is not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

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
fn a22_an_authentic_file_is_not_taken_for_another_component() {
    let folder = Folder::new("swap");
    assert_eq!(origin(&folder.config()), "compiled");
    let file = folder.file();
    let rig = Rig::with(&folder.config());
    let trap = wat::parse_str(guests::trap()).unwrap();
    let digest = rig.load(&trap, json!({})).json["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let other = file.with_file_name(format!("{digest}{}", &name[64..]));
    fs::copy(&file, &other).unwrap();
    assert_eq!(rig.load(&trap, json!({})).json["origin"], "compiled");
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
