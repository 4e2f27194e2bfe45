//! The SQLite file of the namespaces.
//!
//! Owns: the file, its tables and transactions. It must not know threads, nor what is written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::Failure;
use crate::cache::private;
use crate::error::forget_panic;

/// The file in the folder.
const FILE: &str = "keyvalue.sqlite3";

/// The version of the tables.
const FORMAT: i64 = 1;

/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(5);

/// `sequence` is the space's count of writes when the key was made: the order of a list, which tells
/// nothing of other spaces. `version` is that count at the last write.
const SCHEMA: &str = "
CREATE TABLE space (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0,
    writes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, plugin, name)
) STRICT;
CREATE TABLE entry (
    space INTEGER NOT NULL REFERENCES space (id),
    key TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (space, key)
) STRICT;
CREATE UNIQUE INDEX entry_in_order ON entry (space, sequence);
";

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        if is_busy(&error) {
            return Failure(format!(
                "another process held the key-value storage for {} s",
                BUSY.as_secs()
            ));
        }
        Failure(format!("the key-value storage failed: {error}"))
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseBusy | DatabaseLocked)
    )
}

/// Has the file written ahead of. Of two processes that make it at the same time one is refused at
/// once: SQLite waits for nobody here.
fn write_ahead(connection: &Connection) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", read) {
            Err(error) if is_busy(&error) && begun.elapsed() < BUSY => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => match done?.as_str() {
                "wal" => return Ok(()),
                // Memory that processes share is what a file system of a network lacks.
                other => return Err(Failure(format!("its journal stays \"{other}\""))),
            },
        }
    }
}

/// The open file.
pub struct Database {
    /// For what is done in a transaction.
    pub connection: Connection,
}

impl Database {
    /// Opens the file in a folder that is this user's alone, making what is missing.
    pub fn open(folder: &Path) -> Result<Database, Failure> {
        let path = folder.join(FILE);
        let broken = |path: &Path, error: &dyn std::fmt::Display| {
            Failure(format!(
                "the key-value storage {} (storage.dir) cannot be used: {error}",
                path.display()
            ))
        };
        private::folder(folder).map_err(|e| broken(folder, &e))?;
        // SQLite gives its files beside this one the same permissions.
        private::ensure(&path).map_err(|e| broken(&path, &e))?;
        Database::open_file(&path).map_err(|e| broken(&path, &e))
    }

    fn open_file(path: &Path) -> Result<Database, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        write_ahead(&connection)?;
        // What was answered is there after a loss of power too.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.set_prepared_statement_cache_capacity(32);
        let database = Database { connection };
        database.begin()?;
        let made = database.make_tables();
        match &made {
            Ok(()) => database.commit()?,
            Err(_) => database.roll_back(),
        }
        made.map(|()| database)
    }

    fn make_tables(&self) -> Result<(), Failure> {
        let read = |row: &rusqlite::Row<'_>| row.get(0);
        match self
            .connection
            .pragma_query_value(None, "user_version", read)?
        {
            FORMAT => Ok(()),
            0 => {
                self.connection.execute_batch(SCHEMA)?;
                Ok(self
                    .connection
                    .pragma_update(None, "user_version", FORMAT)?)
            }
            other => Err(Failure(format!(
                "its format is {other}, supported is {FORMAT}"
            ))),
        }
    }

    /// Begins a transaction that writes. One of another process ends first.
    pub fn begin(&self) -> Result<(), Failure> {
        self.run("BEGIN IMMEDIATE")
    }

    /// Ends it. When this returns, what was written stays.
    pub fn commit(&self) -> Result<(), Failure> {
        self.run("COMMIT")
    }

    /// Takes everything back since it began.
    pub fn roll_back(&self) {
        // Some failures have done so already.
        let _ = self.run("ROLLBACK");
    }

    /// Whether a transaction goes on: a full disk, for one, ends it.
    pub fn is_writing(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Within a transaction: everything that `work` writes, or nothing.
    pub fn whole<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        self.run("SAVEPOINT work")?;
        let done = caught(work);
        if done.is_err() && self.is_writing() {
            self.run("ROLLBACK TO work")?;
        }
        if self.is_writing() {
            self.run("RELEASE work")?;
        }
        done
    }

    fn run(&self, sql: &str) -> Result<(), Failure> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

/// Does something of which a panic must not end the thread that serves everybody.
pub fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        forget_panic(panic);
        Err(Failure("the key-value storage panicked".to_owned()))
    })
}
