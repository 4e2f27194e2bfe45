//! Folders as grants: what is counted, what is refused. Guests are in `tests/grants` of TypeScript.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::entries::{self, Opening, Place};
use super::ledger::{self, ENTRY_BYTES, Ledger, Sum, is_over_quota};
use super::{Folders, OPEN_MAX};
use crate::grants::Folder as Grant;

/// A folder of its own for one test.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Temporary {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("atoll-folders-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder");
        Temporary(path)
    }

    fn open(&self) -> File {
        File::open(&self.0).expect("open")
    }

    fn ledger(&self) -> Arc<Ledger> {
        Ledger::of(&self.open()).expect("measured")
    }

    fn grant(&self, below: &str, at: &str, write: bool) -> Grant {
        Grant {
            path: self.0.join(below).to_str().expect("text").into(),
            at: at.into(),
            write,
            bytes: 1 << 20,
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("removed");
    }
}

const READ: Opening = Opening {
    follow: true,
    create: false,
    exclusive: false,
    truncate: false,
    directory: false,
    read: true,
    write: false,
};

const WRITE: Opening = Opening {
    read: false,
    write: true,
    ..READ
};

const CREATE: Opening = Opening {
    create: true,
    ..WRITE
};

/// A quota that leaves room for so many bytes.
fn with<T>(ledger: &Ledger, quota: u64, act: impl FnOnce((&mut Sum, u64)) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let mut sum = runtime.expect("a runtime").block_on(ledger.lock());
    act((&mut sum, quota))
}

/// The smallest quota into which nothing more has to fit: what the folder holds.
fn held(ledger: &Ledger) -> u64 {
    with(ledger, 0, |(sum, _)| {
        let (mut low, mut high) = (0, 1 << 40);
        while low < high {
            let middle = u64::midpoint(low, high);
            match sum.room(middle, 0) {
                Ok(()) => high = middle,
                Err(_) => low = middle + 1,
            }
        }
        low
    })
}

fn over<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| is_over_quota(&error))
}

#[test]
fn every_way_to_grow_a_file_is_counted() {
    let folder = Temporary::new();
    let (dir, ledger) = (folder.open(), folder.ledger());
    let quota = ENTRY_BYTES + 1000;
    let create = |name: &str| {
        with(&ledger, quota, |room| {
            entries::open_changing(&dir, name.as_ref(), CREATE, room)
        })
    };
    let (file, _) = create("a").expect("made");
    let write = |bytes: usize, place| {
        with(&ledger, quota, |room| {
            entries::write(&file, &vec![1; bytes], place, room)
        })
    };
    assert_eq!(write(100, Place::At(0)).expect("fits"), 100);
    assert_eq!(write(100, Place::At(50)).expect("half of it is new"), 100);
    assert_eq!(held(&ledger), ENTRY_BYTES + 150);
    assert_eq!(write(50, Place::End).expect("fits"), 50);
    assert!(over(write(1, Place::At(1000))), "a hole");
    assert!(
        over(write(1, Place::At(u64::MAX))),
        "no number is too large"
    );
    assert!(over(write(801, Place::End)));
    assert_eq!(write(1, Place::At(899)).expect("a hole"), 1);
    assert_eq!(held(&ledger), ENTRY_BYTES + 900);
    let resize = |bytes| with(&ledger, quota, |room| entries::resize(&file, bytes, room));
    assert!(over(resize(1001)));
    resize(1000).expect("fits");
    assert!(over(write(1, Place::End)));
    assert_eq!(write(1000, Place::At(0)).expect("nothing is new"), 1000);
    resize(10).expect("smaller");
    assert_eq!(held(&ledger), ENTRY_BYTES + 10);
    assert_eq!(fs::metadata(folder.0.join("a")).expect("there").len(), 10);

    // An entry more does not fit, whatever it is; what is there opens.
    assert!(over(create("b")));
    create("a").expect("it is there");
    let in_folder = |act: &dyn Fn((&mut Sum, u64)) -> io::Result<()>| with(&ledger, quota, act);
    assert!(over(in_folder(&|room| entries::create_directory(
        &dir,
        "c".as_ref(),
        room
    ))));
    assert!(over(in_folder(&|room| entries::symlink(
        "a".as_ref(),
        &dir,
        "d".as_ref(),
        room
    ))));
    assert!(over(in_folder(&|room| {
        entries::link((&dir, "a".as_ref()), (&dir, "e".as_ref()), room)
    })));
    assert_eq!(fs::read_dir(&folder.0).expect("listed").count(), 1);
    let truncate = Opening {
        truncate: true,
        ..WRITE
    };
    in_folder(&|room| entries::open_changing(&dir, "a".as_ref(), truncate, room).map(drop))
        .expect("emptied");
    assert_eq!(held(&ledger), ENTRY_BYTES);
}

#[test]
fn what_is_removed_is_free_once_nobody_has_it_open() {
    let folder = Temporary::new();
    let (dir, ledger) = (folder.open(), folder.ledger());
    let quota = 1 << 20;
    let make = |name: &str| {
        let (file, about) = with(&ledger, quota, |room| {
            entries::open_changing(&dir, name.as_ref(), CREATE, room)
        })
        .expect("made");
        let file = Arc::new(file);
        ledger::opened(&file, about);
        with(&ledger, quota, |room| {
            entries::write(&file, &[1; 500], Place::End, room)
        })
        .expect("written");
        file
    };
    let remove = |name: &str| {
        with(&ledger, quota, |(sum, _)| {
            entries::remove_file(&dir, name.as_ref(), sum)
        })
        .expect("removed");
    };
    drop(make("a"));
    remove("a");
    assert_eq!(held(&ledger), 0);

    // A file without a name goes on taking room, and goes on growing.
    let open = make("b");
    remove("b");
    assert_eq!(held(&ledger), 500);
    with(&ledger, quota, |room| {
        entries::write(&open, &[1; 300], Place::End, room)
    })
    .expect("grown");
    assert_eq!(held(&ledger), 800);
    drop(open);
    assert_eq!(held(&ledger), 0);

    // Of two names one is no file.
    drop(make("c"));
    let link = |from: &str, to: &str| {
        with(&ledger, quota, |room| {
            entries::link((&dir, from.as_ref()), (&dir, to.as_ref()), room)
        })
        .expect("linked");
    };
    link("c", "d");
    assert_eq!(held(&ledger), 2 * ENTRY_BYTES + 500);
    let rename = |from: &str, to: &str| {
        with(&ledger, quota, |(sum, _)| {
            entries::rename((&dir, from.as_ref()), (&dir, to.as_ref()), sum)
        })
        .expect("renamed");
    };
    rename("c", "d");
    assert_eq!(held(&ledger), 2 * ENTRY_BYTES + 500, "both names stay");
    remove("d");
    assert_eq!(held(&ledger), ENTRY_BYTES + 500);
    drop(make("e"));
    rename("c", "e");
    assert_eq!(held(&ledger), ENTRY_BYTES + 500, "one file was replaced");
    with(&ledger, quota, |room| {
        entries::create_directory(&dir, "f".as_ref(), room)
    })
    .expect("made");
    rename("e", "f/e");
    with(&ledger, quota, |(sum, _)| {
        entries::remove_file(&dir, "f/e".as_ref(), sum)
    })
    .expect("removed");
    with(&ledger, quota, |(sum, _)| {
        entries::remove_directory(&dir, "f".as_ref(), sum)
    })
    .expect("removed");
    assert_eq!(held(&ledger), 0);
}

#[test]
fn a_number_that_another_file_had_before_takes_no_room_with_it() {
    let folder = Temporary::new();
    let (dir, ledger) = (folder.open(), folder.ledger());
    let quota = 1 << 20;
    let mut numbers = HashSet::new();
    for _ in 0..64 {
        let (file, about) = with(&ledger, quota, |room| {
            entries::open_changing(&dir, "a".as_ref(), CREATE, room)
        })
        .expect("made");
        numbers.insert(about.inode);
        let file = Arc::new(file);
        ledger::opened(&file, about);
        with(&ledger, quota, |room| {
            entries::write(&file, &[1; 500], Place::End, room)
        })
        .expect("written");
        with(&ledger, quota, |(sum, _)| {
            entries::remove_file(&dir, "a".as_ref(), sum)
        })
        .expect("removed");
    }
    // Without one file system that gives a number twice nothing was shown.
    assert!(numbers.len() < 64, "no number came again");
    assert_eq!(held(&ledger), 0);
}

#[test]
fn folders_deeper_than_any_path_are_measured() {
    let folder = Temporary::new();
    let name = "d".repeat(250);
    let mut below = folder.open();
    // More than are open at once on the way, each with another folder to come back for.
    for _ in 0..80 {
        for made in [name.as_str(), "side"] {
            let options = cap_primitives::fs::DirOptions::new();
            cap_primitives::fs::create_dir(&below, made.as_ref(), &options).expect("made");
        }
        let side = cap_primitives::fs::open_dir(&below, "side".as_ref()).expect("open");
        entries::open_changing(&side, "f".as_ref(), CREATE, (&mut Sum::default(), 1 << 20))
            .expect("made");
        below = cap_primitives::fs::open_dir(&below, name.as_ref()).expect("open");
    }
    assert_eq!(held(&folder.ledger()), 80 * 3 * ENTRY_BYTES);
}

#[test]
fn what_a_folder_holds_is_measured_and_shared() {
    let folder = Temporary::new();
    fs::write(folder.0.join("a"), [1; 300]).expect("written");
    fs::hard_link(folder.0.join("a"), folder.0.join("b")).expect("linked");
    fs::create_dir(folder.0.join("c")).expect("made");
    fs::write(folder.0.join("c/d"), [1; 200]).expect("written");
    symlink("/", folder.0.join("c/e")).expect("linked");
    let first = folder.ledger();
    assert_eq!(held(&first), 5 * ENTRY_BYTES + 500);
    assert!(Arc::ptr_eq(&first, &folder.ledger()), "one folder, one sum");
    with(&first, 1 << 20, |room| {
        entries::open_changing(&folder.open(), "f".as_ref(), CREATE, room).map(drop)
    })
    .expect("made");
    let before = held(&first);
    drop(first);
    assert_eq!(held(&folder.ledger()), before, "after a restart");
}

#[test]
fn pipes_devices_and_what_is_outside_are_not_opened() {
    let folder = Temporary::new();
    let dir = folder.open();
    let outside = Temporary::new();
    fs::write(outside.0.join("secret"), "s").expect("written");
    let pipe = std::ffi::CString::new(folder.0.join("pipe").to_str().expect("text"));
    let pipe = pipe.expect("no zero");
    // SAFETY: the name is a string that ends in zero.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("socket")).expect("bound");
    let name = |path: &Path| {
        path.file_name()
            .expect("a name")
            .to_str()
            .expect("text")
            .to_owned()
    };
    symlink(outside.0.join("secret"), folder.0.join("absolute")).expect("linked");
    symlink(
        format!("../{}/secret", name(&outside.0)),
        folder.0.join("up"),
    )
    .expect("linked");
    symlink("/dev/null", folder.0.join("device")).expect("linked");
    symlink("/proc/self/root", folder.0.join("magic")).expect("linked");
    let climbing = format!("../{}/secret", name(&outside.0));
    for path in [
        "pipe",
        "socket",
        "absolute",
        "up",
        "device",
        "magic/etc/passwd",
        "..",
        "/etc/passwd",
        "a/../../x",
        climbing.as_str(),
    ] {
        for opening in [READ, WRITE] {
            assert!(
                entries::open(&dir, path.as_ref(), opening).is_err(),
                "{path}"
            );
        }
        let ledger = folder.ledger();
        let created = with(&ledger, 1 << 20, |room| {
            entries::open_changing(&dir, path.as_ref(), CREATE, room).map(drop)
        });
        assert!(created.is_err(), "{path}");
    }
    // What was looked at may be a pipe by the time that it is opened: that alone never waits.
    assert!(cap_primitives::fs::open(&dir, "pipe".as_ref(), &READ.options()).is_ok());
    assert!(cap_primitives::fs::open(&dir, "pipe".as_ref(), &WRITE.options()).is_err());
    fs::write(folder.0.join("plain"), "p").expect("written");
    assert!(entries::open(&dir, "plain".as_ref(), READ).is_ok());
    let as_folder = Opening {
        directory: true,
        ..READ
    };
    let opened = entries::open(&dir, "plain".as_ref(), as_folder);
    assert_eq!(
        opened.err().and_then(|e| e.raw_os_error()),
        Some(libc::ENOTDIR)
    );
}

#[test]
fn grants_that_cannot_be_are_refused_with_the_folder() {
    let folder = Temporary::new();
    fs::create_dir(folder.0.join("a")).expect("made");
    fs::create_dir(folder.0.join("b")).expect("made");
    fs::write(folder.0.join("file"), "").expect("written");
    let grant = |below: &str, at: &str, write| folder.grant(below, at, write);
    let refused = |grants: &[Grant]| Folders::open(grants).err().unwrap_or_default();
    assert!(refused(&[grant("none", "/", false)]).contains("none\" cannot be granted: No such"));
    assert!(refused(&[grant("file", "/", false)]).contains("file\" cannot be granted: "));
    let twice = [grant("a", "/x", false), grant("b", "/x", true)];
    assert!(refused(&twice).contains("two folders are granted at \"/x\""));
    let nested = [grant("", "/x", true), grant("a", "/y", true)];
    assert!(refused(&nested).contains("one inside the other"));
    // Reading needs no count.
    let apart = [
        grant("", "/x", false),
        grant("a", "/y", true),
        grant("b", "/z", true),
    ];
    assert_eq!(refused(&apart), "");
}

#[test]
fn a_plugin_has_so_many_files_open() {
    let folder = Temporary::new();
    let folders = Folders::open(&[folder.grant("", "/", false)]).expect("granted");
    let mut open: Vec<Arc<File>> = (0..OPEN_MAX).map(|_| Arc::new(folder.open())).collect();
    for file in &open {
        assert!(folders.has_place());
        folders.count(file);
    }
    assert!(!folders.has_place());
    open.pop();
    assert!(folders.has_place(), "one was closed");
}
