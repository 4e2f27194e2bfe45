//! What is kept, for whom, how much of it, and what is left after a process was killed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::database::Database;
use super::storage::{Mode, Storage, Stores};
use super::*;

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("atoll-keyvalue-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn stores(&self) -> Stores {
        Stores::new(Some(self.0.clone()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn space(plugin: Option<&str>, name: &str, bytes_max: u64) -> Space {
    Space {
        plugin: plugin.map(str::to_owned),
        name: name.to_owned(),
        bytes_max,
    }
}

fn notes() -> Space {
    space(Some("a"), "notes", 64 << 20)
}

/// Does something and waits for it.
fn run<T: Send + 'static>(
    storage: &Arc<Storage>,
    mode: Mode,
    work: impl FnOnce(&Database) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(storage.run(mode, work))
}

fn get(storage: &Arc<Storage>, space: Space, key: &'static str) -> Option<Vec<u8>> {
    run(storage, Mode::Read, move |db| db.get(&space, key)).unwrap()
}

fn set(storage: &Arc<Storage>, space: Space, key: &'static str, value: &[u8]) -> Option<String> {
    let value = value.to_vec();
    let done = run(storage, Mode::Write, move |db| db.set(&space, key, &value));
    done.err().map(|failure| failure.0)
}

#[test]
fn what_is_kept_is_there_again_and_only_for_its_plugin_and_name() {
    let folder = Folder::new("kept");
    let stores = folder.stores();
    let storage = stores.storage().unwrap();
    assert_eq!(set(&storage, notes(), "k", b"one"), None);
    assert_eq!(get(&storage, notes(), "k").as_deref(), Some(&b"one"[..]));
    for other in [
        space(Some("b"), "notes", 1 << 20),
        space(Some("a"), "other", 1 << 20),
        space(None, "notes", 1 << 20),
    ] {
        assert_eq!(get(&storage, other, "k"), None);
    }
    let shared = || space(None, "notes", 1 << 20);
    assert_eq!(set(&storage, shared(), "k", b"everybody's"), None);
    assert_eq!(get(&storage, notes(), "k").as_deref(), Some(&b"one"[..]));
    drop(storage);
    assert!(stores.close(Duration::from_secs(60)));
    let file = folder.0.join("keyvalue.sqlite3");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.0), mode(&file)), (0o700, 0o600));
    // The last connection has put everything into the one file.
    assert!(!folder.0.join("keyvalue.sqlite3-wal").exists());
    let storage = folder.stores().storage().unwrap();
    assert_eq!(get(&storage, notes(), "k").as_deref(), Some(&b"one"[..]));
    assert_eq!(get(&storage, shared(), "k").unwrap(), b"everybody's");
}

#[test]
fn what_is_too_much_is_refused_with_its_limit_named() {
    let folder = Folder::new("bounds");
    let storage = folder.stores().storage().unwrap();
    let said = |value: usize, key: &'static str| set(&storage, notes(), key, &vec![0; value]);
    let long: &'static str = Box::leak("k".repeat(KEY_BYTES_MAX + 1).into_boxed_str());
    assert_eq!(
        said(1, long).as_deref(),
        Some("a key has at most 900 bytes, this one 901")
    );
    assert_eq!(said(1, "").as_deref(), Some("a key has at least one byte"));
    assert_eq!(
        said(VALUE_BYTES_MAX + 1, "k").as_deref(),
        Some("a value has at most 262144 bytes, this one 262145")
    );
    // Each entry costs its key twice, its value and 64 bytes.
    let small = || space(Some("a"), "small", 300);
    assert_eq!(set(&storage, small(), "k", &[0; 234]), None);
    assert_eq!(
        set(&storage, small(), "l", b"").as_deref(),
        Some(
            "the namespace \"small\" would have 366 bytes, its quota is 300 \
             (grants.keyvalue[].bytes)"
        )
    );
    assert_eq!(get(&storage, small(), "l"), None);
    assert!(set(&storage, small(), "k", &[0; 235]).is_some());
    // With a lower quota than is used, what is there may become less.
    let less = || space(Some("a"), "small", 100);
    assert_eq!(set(&storage, less(), "k", &[0; 200]), None);
    assert!(set(&storage, less(), "k", &[0; 201]).is_some());
    run(&storage, Mode::Write, move |db| db.delete(&less(), "k")).unwrap();
    assert_eq!(set(&storage, less(), "l", &[0; 34]), None);
}

#[test]
fn a_batch_is_done_as_a_whole_or_not_at_all() {
    let folder = Folder::new("batch");
    let storage = folder.stores().storage().unwrap();
    let entry = |key: &str, bytes: usize| (key.to_owned(), vec![7; bytes]);
    let good = vec![entry("a", 1), entry("b", 2)];
    run(&storage, Mode::Write, move |db| {
        db.set_many(&notes(), &good)
    })
    .unwrap();
    let bad = vec![entry("c", 1), entry("d", VALUE_BYTES_MAX + 1)];
    assert!(run(&storage, Mode::Write, move |db| db.set_many(&notes(), &bad)).is_err());
    let keys = || ["b", "c", "a"].map(str::to_owned).to_vec();
    let many = run(&storage, Mode::Read, move |db| {
        db.get_many(&notes(), keys())
    })
    .unwrap();
    assert_eq!(many, vec![Some(entry("b", 2)), None, Some(entry("a", 1))]);
    run(&storage, Mode::Write, move |db| {
        db.delete_many(&notes(), &keys())
    })
    .unwrap();
    let page = run(&storage, Mode::Read, |db| db.list(&notes(), 0)).unwrap();
    assert!(page.keys.is_empty() && page.next.is_none());
    // A panic takes back what its operation wrote, and nothing else ends.
    let panicked = run(&storage, Mode::Write, |db| {
        db.set(&notes(), "p", b"")?;
        panic!("in an operation")
    });
    let panicked: Result<(), Failure> = panicked;
    assert!(panicked.unwrap_err().0.contains("panicked"));
    assert_eq!(get(&storage, notes(), "p"), None);
    let looked: Result<(), Failure> = run(&storage, Mode::Read, |_| panic!("while it looked"));
    assert!(looked.unwrap_err().0.contains("panicked"));
    assert_eq!(set(&storage, notes(), "p", b"1"), None);
}

#[test]
fn lists_come_in_pages_in_the_order_of_making() {
    let folder = Folder::new("list");
    let storage = folder.stores().storage().unwrap();
    let count = KEYS_MAX + 10;
    let made: Vec<String> = (0..count).rev().map(|n| format!("key {n}")).collect();
    let keys = made.clone();
    run(&storage, Mode::Write, move |db| {
        keys.iter().try_for_each(|key| db.set(&notes(), key, b"v"))
    })
    .unwrap();
    let first = run(&storage, Mode::Read, |db| db.list(&notes(), 0)).unwrap();
    assert_eq!(first.keys, made[..KEYS_MAX]);
    // A key that is written again stays where it is; one that is new comes at the end.
    assert_eq!(set(&storage, notes(), "key 3", b"again"), None);
    assert_eq!(set(&storage, notes(), "new", b"v"), None);
    let next = first.next.unwrap();
    let second = run(&storage, Mode::Read, move |db| db.list(&notes(), next)).unwrap();
    assert_eq!(second.next, None);
    assert_eq!(second.keys[..10], made[KEYS_MAX..]);
    assert_eq!(second.keys[10..], ["new"]);
    let beyond = run(&storage, Mode::Read, |db| db.list(&notes(), u64::MAX)).unwrap();
    assert!(beyond.keys.is_empty());
}

#[test]
fn numbers_and_versions_are_of_one_writer_at_a_time() {
    let folder = Folder::new("atomics");
    let storage = folder.stores().storage().unwrap();
    let add = |delta: i64| {
        run(&storage, Mode::Write, move |db| {
            db.increment(&notes(), "n", delta)
        })
    };
    assert_eq!(add(5), Ok(5));
    assert_eq!(add(-7), Ok(-2));
    assert_eq!(get(&storage, notes(), "n").unwrap(), b"-2");
    assert!(add(i64::MIN).unwrap_err().0.contains("64 bits"));
    assert_eq!(set(&storage, notes(), "n", b"two"), None);
    assert!(add(1).unwrap_err().0.contains("no number"));

    let version = || run(&storage, Mode::Read, |db| db.version(&notes(), "c")).unwrap();
    let swap = |expected: Option<i64>, value: &'static [u8]| {
        run(&storage, Mode::Write, move |db| {
            db.swap(&notes(), "c", expected, value)
        })
        .unwrap()
    };
    assert_eq!(version(), None);
    assert_eq!(swap(None, b"first"), Ok(()));
    let first = version();
    assert_eq!(swap(None, b"again"), Err(first));
    assert_eq!(swap(first, b"second"), Ok(()));
    // The same bytes are another version, and so they are after a removal.
    assert_eq!(set(&storage, notes(), "c", b"first"), None);
    assert!(swap(first, b"third").is_err());
    let before = version();
    run(&storage, Mode::Write, |db| db.delete(&notes(), "c")).unwrap();
    assert_eq!(set(&storage, notes(), "c", b"first"), None);
    assert!(swap(before, b"third").is_err());
}

#[test]
fn writers_in_one_process_and_in_two_lose_nothing() {
    let folder = Folder::new("writers");
    // Two connections, as two engines have them.
    let both = [folder.stores(), folder.stores()].map(|stores| stores.storage().unwrap());
    let add = |storage: Arc<Storage>| {
        std::thread::spawn(move || {
            for _ in 0..50 {
                let done = run(&storage, Mode::Write, |db| db.increment(&notes(), "n", 1));
                done.unwrap();
            }
        })
    };
    let threads = [&both[0], &both[0], &both[1], &both[1]].map(|storage| add(Arc::clone(storage)));
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(get(&both[0], notes(), "n").unwrap(), b"200");
}

#[test]
fn many_may_make_the_file_at_once() {
    let folder = Folder::new("makers");
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let stores = folder.stores();
            std::thread::spawn(move || {
                let storage = stores.storage().unwrap();
                let done = run(&storage, Mode::Write, |db| db.increment(&notes(), "n", 1));
                done.unwrap();
                drop(storage);
                assert!(stores.close(Duration::from_secs(60)));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let storage = folder.stores().storage().unwrap();
    assert_eq!(get(&storage, notes(), "n").unwrap(), b"16");
}

#[test]
fn what_is_no_storage_is_refused_with_its_path() {
    let folder = Folder::new("refused");
    std::fs::create_dir(&folder.0).unwrap();
    let file = folder.0.join("keyvalue.sqlite3");
    let refusal = || folder.stores().storage().err().unwrap().0;
    std::fs::write(
        &file,
        "no database, but as long as what one begins with is: 100 bytes".repeat(9),
    )
    .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal().contains("mode 0600"), "{}", refusal());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let said = refusal();
    assert!(said.contains("keyvalue.sqlite3 (storage.dir)"), "{said}");
    assert!(said.contains("not a database"), "{said}");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/null", &file).unwrap();
    assert!(refusal().contains("storage.dir"));
    std::fs::remove_file(&file).unwrap();
    let database = Database::open(&folder.0).unwrap();
    database
        .connection
        .pragma_update(None, "user_version", 9)
        .unwrap();
    drop(database);
    assert!(refusal().contains("its format is 9, supported is 1"));
    let none = Stores::new(None).storage().err().unwrap().0;
    assert!(none.contains("storage.dir"), "{none}");
}

/// The folder that a child of a test writes to.
const CHILD: &str = "ATOLL_TEST_KEYVALUE";

#[test]
fn nothing_that_was_answered_is_lost_when_the_process_is_killed() {
    let folder = Folder::new("killed");
    let mut seen = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "keyvalue::tests::writes_until_it_is_killed"])
            .args(["--ignored", "--nocapture"])
            .env(CHILD, &folder.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut answered = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("written ")?.parse::<u64>().ok());
        // It is killed at another point of its work each time.
        let last = answered.by_ref().nth(20 + round * 13).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = answered.last().unwrap_or(last);
        let storage = folder.stores().storage().unwrap();
        let kept = run(&storage, Mode::Read, move |db| {
            for number in seen..=last {
                let value = db.get(&notes(), &format!("key {number}"))?;
                assert_eq!(value.unwrap(), vec![number as u8; 500], "{number}");
            }
            db.get(&notes(), "count")
        });
        let count: u64 = String::from_utf8(kept.unwrap().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        // Its last write may have been done and not told.
        assert!(
            count == last + 1 || count == last + 2,
            "{count} after {last}"
        );
        seen = count;
    }
}

#[test]
#[ignore = "another test runs it as a process of its own, and kills it"]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let storage = Stores::new(Some(folder.into())).storage().unwrap();
    loop {
        let number = run(&storage, Mode::Write, |db| {
            let number = db.increment(&notes(), "count", 1)? - 1;
            db.set(&notes(), &format!("key {number}"), &vec![number as u8; 500])?;
            Ok(number)
        });
        println!("written {}", number.unwrap());
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn a_bucket_is_named_as_namespaces_are() {
    assert_eq!(namespace(""), Some("default"));
    assert_eq!(namespace("notes-2_a.b"), Some("notes-2_a.b"));
    for name in ["a b", "a/b", "ä", "a\0", &"n".repeat(65)] {
        assert_eq!(namespace(name), None, "{name:?}");
    }
}
