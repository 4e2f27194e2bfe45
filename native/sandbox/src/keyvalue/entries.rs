//! The operations on entries.
//!
//! Owns: what an entry costs and what each operation reads and writes, within a transaction that
//! `storage` has begun. It must not know threads or guests.

use rusqlite::{OptionalExtension, params};

use super::database::Database;
use super::{Failure, KEY_BYTES_MAX, KEYS_MAX, Space, VALUE_BYTES_MAX};

/// What an entry costs besides its key, twice, and its value: its places in the tables.
const ENTRY_BYTES: u64 = 64;

/// Nobody's in particular until tenants are told apart.
const TENANT: &str = "";

/// A space as it is stored.
struct Stored {
    id: i64,
    bytes: u64,
    writes: i64,
}

/// A key and its value.
type Entry = (String, Vec<u8>);

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Its keys.
    pub keys: Vec<String>,
    /// Where the next one begins; none: this is the last.
    pub next: Option<u64>,
}

impl Database {
    /// A key's value.
    pub fn get(&self, space: &Space, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.versioned(space, key)?.map(|(_, value)| value))
    }

    /// A key's value and what it is changed by.
    pub fn versioned(&self, space: &Space, key: &str) -> Result<Option<(i64, Vec<u8>)>, Failure> {
        check_key(key)?;
        let Some(space) = self.find(space)? else {
            return Ok(None);
        };
        let sql = "SELECT version, value FROM entry WHERE space = ? AND key = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(statement
            .query_row(params![space.id, key], read)
            .optional()?)
    }

    /// A key's version; none: there is no such key.
    pub fn version(&self, space: &Space, key: &str) -> Result<Option<i64>, Failure> {
        check_key(key)?;
        match self.find(space)? {
            Some(space) => Ok(self.entry(&space, key)?.map(|(version, _)| version)),
            None => Ok(None),
        }
    }

    /// Some keys' values.
    pub fn get_many(
        &self,
        space: &Space,
        keys: Vec<String>,
    ) -> Result<Vec<Option<Entry>>, Failure> {
        check_batch(keys.len())?;
        let mut bytes = 0;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.get(space, &key)?;
            bytes += value.as_ref().map_or(0, Vec::len);
            if bytes > VALUE_BYTES_MAX {
                return Err(Failure(format!(
                    "the values of a batch have at most {VALUE_BYTES_MAX} bytes together"
                )));
            }
            values.push(value.map(|value| (key, value)));
        }
        Ok(values)
    }

    /// Gives a key a value.
    pub fn set(&self, space: &Space, key: &str, value: &[u8]) -> Result<(), Failure> {
        check_key(key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Failure(format!(
                "a value has at most {VALUE_BYTES_MAX} bytes, this one {}",
                value.len()
            )));
        }
        let stored = self.find_or_make(space)?;
        let before = self.entry(&stored, key)?.map_or(0, |(_, bytes)| bytes);
        let cost = cost(key, value.len() as u64);
        let bytes = stored.bytes.saturating_sub(before).saturating_add(cost);
        // One that is full already, after its quota was lowered, may shrink.
        if bytes > space.bytes_max && cost > before {
            return Err(Failure(format!(
                "the namespace \"{}\" would have {bytes} bytes, its quota is {} \
                 (grants.keyvalue[].bytes)",
                space.name, space.bytes_max
            )));
        }
        let version = stored.writes + 1;
        let sql = "INSERT INTO entry (space, key, sequence, version, value) \
                   VALUES (?1, ?2, ?3, ?3, ?4) ON CONFLICT (space, key) \
                   DO UPDATE SET version = excluded.version, value = excluded.value";
        self.connection
            .prepare_cached(sql)?
            .execute(params![stored.id, key, version, value])?;
        self.account(&stored, bytes)
    }

    /// Gives several keys their values.
    pub fn set_many(&self, space: &Space, entries: &[Entry]) -> Result<(), Failure> {
        check_batch(entries.len())?;
        entries
            .iter()
            .try_for_each(|(key, value)| self.set(space, key, value))
    }

    /// Removes a key, if there is such a one.
    pub fn delete(&self, space: &Space, key: &str) -> Result<(), Failure> {
        check_key(key)?;
        let Some(stored) = self.find(space)? else {
            return Ok(());
        };
        let Some((_, bytes)) = self.entry(&stored, key)? else {
            return Ok(());
        };
        self.connection
            .prepare_cached("DELETE FROM entry WHERE space = ? AND key = ?")?
            .execute(params![stored.id, key])?;
        self.account(&stored, stored.bytes.saturating_sub(bytes))
    }

    /// Removes several keys.
    pub fn delete_many(&self, space: &Space, keys: &[String]) -> Result<(), Failure> {
        check_batch(keys.len())?;
        keys.iter().try_for_each(|key| self.delete(space, key))
    }

    /// The keys behind a place of the list, in the order in which they were made.
    pub fn list(&self, space: &Space, after: u64) -> Result<Page, Failure> {
        let mut page = Page {
            keys: Vec::new(),
            next: None,
        };
        // No key is behind what an i64 cannot count.
        let (Some(space), Ok(after)) = (self.find(space)?, i64::try_from(after)) else {
            return Ok(page);
        };
        let sql = "SELECT key, sequence FROM entry WHERE space = ? AND sequence > ? \
                   ORDER BY sequence LIMIT ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![space.id, after, KEYS_MAX as i64 + 1])?;
        let mut last = 0;
        while let Some(row) = rows.next()? {
            if page.keys.len() == KEYS_MAX {
                page.next = u64::try_from(last).ok();
                break;
            }
            page.keys.push(row.get(0)?);
            last = row.get::<_, i64>(1)?;
        }
        Ok(page)
    }

    /// Adds to the number that a key's value is in decimal digits; a key that is not there is 0.
    pub fn increment(&self, space: &Space, key: &str, delta: i64) -> Result<i64, Failure> {
        let before = match self.get(space, key)? {
            None => 0,
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(|| {
                    Failure("the value is no number in decimal digits of 64 bits".to_owned())
                })?,
        };
        let after = before
            .checked_add(delta)
            .ok_or_else(|| Failure(format!("{before} and {delta} together have over 64 bits")))?;
        self.set(space, key, after.to_string().as_bytes())?;
        Ok(after)
    }

    /// Gives a key a value if it was not written since it had that version. Else: the version it has.
    pub fn swap(
        &self,
        space: &Space,
        key: &str,
        expected: Option<i64>,
        value: &[u8],
    ) -> Result<Result<(), Option<i64>>, Failure> {
        let version = self.version(space, key)?;
        if version != expected {
            return Ok(Err(version));
        }
        self.set(space, key, value).map(Ok)
    }

    fn find(&self, space: &Space) -> Result<Option<Stored>, Failure> {
        let sql = "SELECT id, bytes, writes FROM space \
                   WHERE tenant = ? AND plugin = ? AND name = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Stored {
                id: row.get(0)?,
                bytes: row.get::<_, i64>(1)?.unsigned_abs(),
                writes: row.get(2)?,
            })
        };
        let named = params![TENANT, owner(space), space.name];
        Ok(statement.query_row(named, read).optional()?)
    }

    fn find_or_make(&self, space: &Space) -> Result<Stored, Failure> {
        if let Some(stored) = self.find(space)? {
            return Ok(stored);
        }
        self.connection
            .prepare_cached("INSERT INTO space (tenant, plugin, name) VALUES (?, ?, ?)")?
            .execute(params![TENANT, owner(space), space.name])?;
        Ok(Stored {
            id: self.connection.last_insert_rowid(),
            bytes: 0,
            writes: 0,
        })
    }

    /// An entry's version and what it costs.
    fn entry(&self, space: &Stored, key: &str) -> Result<Option<(i64, u64)>, Failure> {
        let sql = "SELECT version, length(value) FROM entry WHERE space = ? AND key = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            let length = row.get::<_, i64>(1)?.unsigned_abs();
            Ok((row.get(0)?, cost(key, length)))
        };
        Ok(statement
            .query_row(params![space.id, key], read)
            .optional()?)
    }

    /// After a write: what the space holds from now on.
    fn account(&self, space: &Stored, bytes: u64) -> Result<(), Failure> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached("UPDATE space SET bytes = ?, writes = ? WHERE id = ?")?
            .execute(params![bytes, space.writes + 1, space.id])?;
        Ok(())
    }
}

/// No plugin's id is empty, so that stands for all of them.
fn owner(space: &Space) -> &str {
    space.plugin.as_deref().unwrap_or("")
}

fn cost(key: &str, value_bytes: u64) -> u64 {
    // A key is in the table and in its index.
    2 * key.len() as u64 + value_bytes + ENTRY_BYTES
}

fn check_key(key: &str) -> Result<(), Failure> {
    match key.len() {
        0 => Err(Failure("a key has at least one byte".to_owned())),
        bytes if bytes > KEY_BYTES_MAX => Err(Failure(format!(
            "a key has at most {KEY_BYTES_MAX} bytes, this one {bytes}"
        ))),
        _ => Ok(()),
    }
}

fn check_batch(keys: usize) -> Result<(), Failure> {
    if keys > KEYS_MAX {
        return Err(Failure(format!(
            "a batch has at most {KEYS_MAX} keys, this one {keys}"
        )));
    }
    Ok(())
}
