//! The interfaces `store`, `atomics` and `batch` of `wasi:keyvalue`.
//!
//! Owns: their types and functions in both versions that guests are built for. It must not know how
//! an operation is done.

use std::sync::Arc;

use serde_json::json;
use wasmtime::component::{
    ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceTable, ResourceType,
};
use wasmtime::{Result, StoreContextMut};

use super::database::Database;
use super::storage::Mode;
use super::{Failure, Granted, Session, Space, cas, namespace};
use crate::access::{Access, Accounts};
use crate::instance::Data;

/// Where lists go on by a number, an increment has no sign and nothing is swapped.
const FIRST: &str = "0.2.0-draft";
const SECOND: &str = "0.2.0-draft2";

/// Where a guest's call comes from.
pub type Store<'a> = StoreContextMut<'a, Data>;
type Answer<T> = Result<(Result<T, StoreError>,)>;
type Answering<'a, T> = Box<dyn Future<Output = Answer<T>> + Send + 'a>;

/// Why a guest does not get what it wants.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub enum StoreError {
    /// No namespace can have such a name.
    #[component(name = "no-such-store")]
    NoSuchStore,
    /// It is not granted.
    #[component(name = "access-denied")]
    AccessDenied,
    /// Anything else, in words.
    #[component(name = "other")]
    Other(String),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        StoreError::Other(failure.0)
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct FirstPage {
    #[component(name = "keys")]
    keys: Vec<String>,
    #[component(name = "cursor")]
    cursor: Option<u64>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct SecondPage {
    #[component(name = "keys")]
    keys: Vec<String>,
    #[component(name = "cursor")]
    cursor: Option<String>,
}

/// A granted namespace that a guest has opened.
pub struct Bucket {
    /// What keeps it.
    pub granted: Arc<Granted>,
    /// Where its entries are.
    pub space: Arc<Space>,
}

/// What a function of the host needs of a store.
pub struct View<'a> {
    /// The namespaces.
    pub session: &'a mut Session,
    /// Buckets and what is compared.
    pub table: &'a mut ResourceTable,
    /// Who is told.
    pub accounts: Option<&'a mut Accounts>,
}

/// Puts the interfaces into a linker.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    for version in [FIRST, SECOND] {
        let mut store = linker.instance(&format!("wasi:keyvalue/store@{version}"))?;
        link_store(&mut store)?;
        if version == FIRST {
            link_first_list(&mut store)?;
        } else {
            link_second_list(&mut store)?;
        }
        link_batch(&mut linker.instance(&format!("wasi:keyvalue/batch@{version}"))?)?;
        let mut atomics = linker.instance(&format!("wasi:keyvalue/atomics@{version}"))?;
        if version == FIRST {
            link_first_increment(&mut atomics)?;
        } else {
            link_second_increment(&mut atomics)?;
            cas::link(&mut atomics)?;
        }
    }
    Ok(())
}

fn link_store(store: &mut LinkerInstance<'_, Data>) -> Result<()> {
    store.resource(
        "bucket",
        ResourceType::host::<Bucket>(),
        |mut store, rep| {
            let table = store.data_mut().table_mut();
            table.delete(Resource::<Bucket>::new_own(rep))?;
            Ok(())
        },
    )?;
    store.func_wrap("open", |mut store: Store<'_>, (name,): (String,)| {
        Ok((open(&mut store, &name)?,))
    })?;
    store.func_wrap_async(
        "[method]bucket.get",
        |store: Store<'_>, (bucket, key): (Resource<Bucket>, String)| {
            act(store, bucket, Mode::Read, 1, move |database, space| {
                database.get(space, &key)
            })
        },
    )?;
    store.func_wrap_async(
        "[method]bucket.set",
        |store: Store<'_>, (bucket, key, value): (Resource<Bucket>, String, Vec<u8>)| {
            act(store, bucket, Mode::Write, 1, move |database, space| {
                database.set(space, &key, &value)
            })
        },
    )?;
    store.func_wrap_async(
        "[method]bucket.delete",
        |store: Store<'_>, (bucket, key): (Resource<Bucket>, String)| {
            act(store, bucket, Mode::Write, 1, move |database, space| {
                database.delete(space, &key)
            })
        },
    )?;
    store.func_wrap_async(
        "[method]bucket.exists",
        |store: Store<'_>, (bucket, key): (Resource<Bucket>, String)| {
            act(store, bucket, Mode::Read, 1, move |database, space| {
                Ok(database.version(space, &key)?.is_some())
            })
        },
    )
}

fn link_first_list(store: &mut LinkerInstance<'_, Data>) -> Result<()> {
    store.func_wrap_async(
        "[method]bucket.list-keys",
        |store: Store<'_>, (bucket, cursor): (Resource<Bucket>, Option<u64>)| {
            act(store, bucket, Mode::Read, 1, move |database, space| {
                let page = database.list(space, cursor.unwrap_or(0))?;
                Ok(FirstPage {
                    keys: page.keys,
                    cursor: page.next,
                })
            })
        },
    )
}

fn link_second_list(store: &mut LinkerInstance<'_, Data>) -> Result<()> {
    store.func_wrap_async(
        "[method]bucket.list-keys",
        |store: Store<'_>, (bucket, cursor): (Resource<Bucket>, Option<String>)| {
            act(store, bucket, Mode::Read, 1, move |database, space| {
                let after = match cursor {
                    None => 0,
                    Some(text) => text
                        .parse()
                        .map_err(|_| Failure("no list has given such a cursor".to_owned()))?,
                };
                let page = database.list(space, after)?;
                Ok(SecondPage {
                    keys: page.keys,
                    cursor: page.next.map(|next| next.to_string()),
                })
            })
        },
    )
}

fn link_batch(batch: &mut LinkerInstance<'_, Data>) -> Result<()> {
    batch.func_wrap_async(
        "get-many",
        |store: Store<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            let count = keys.len();
            act(store, bucket, Mode::Read, count, move |database, space| {
                database.get_many(space, keys)
            })
        },
    )?;
    batch.func_wrap_async(
        "set-many",
        |store: Store<'_>, (bucket, entries): (Resource<Bucket>, Vec<(String, Vec<u8>)>)| {
            let count = entries.len();
            act(store, bucket, Mode::Write, count, move |database, space| {
                database.set_many(space, &entries)
            })
        },
    )?;
    batch.func_wrap_async(
        "delete-many",
        |store: Store<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            let count = keys.len();
            act(store, bucket, Mode::Write, count, move |database, space| {
                database.delete_many(space, &keys)
            })
        },
    )
}

fn link_first_increment(atomics: &mut LinkerInstance<'_, Data>) -> Result<()> {
    atomics.func_wrap_async(
        "increment",
        |store: Store<'_>, (bucket, key, delta): (Resource<Bucket>, String, u64)| {
            act(store, bucket, Mode::Write, 1, move |database, space| {
                let range = |_| Failure("numbers have 63 bits and no sign here".to_owned());
                let delta = i64::try_from(delta).map_err(range)?;
                let after = database.increment(space, &key, delta)?;
                u64::try_from(after).map_err(range)
            })
        },
    )
}

fn link_second_increment(atomics: &mut LinkerInstance<'_, Data>) -> Result<()> {
    atomics.func_wrap_async(
        "increment",
        |store: Store<'_>, (bucket, key, delta): (Resource<Bucket>, String, i64)| {
            act(store, bucket, Mode::Write, 1, move |database, space| {
                database.increment(space, &key, delta)
            })
        },
    )
}

fn open(store: &mut Store<'_>, identifier: &str) -> Result<Result<Resource<Bucket>, StoreError>> {
    let View {
        session,
        table,
        accounts,
    } = store.data_mut().keyvalue();
    let Some(name) = namespace(identifier) else {
        return Ok(Err(StoreError::NoSuchStore));
    };
    let found = session.granted.as_ref().and_then(|granted| {
        let space = Arc::clone(granted.space(name)?);
        Some((Arc::clone(granted), space))
    });
    if let Some(accounts) = accounts {
        let grant = match &found {
            Some((_, space)) => space.granted(),
            None => json!(name),
        };
        accounts.tell(&Access {
            capability: "keyvalue",
            asked: &format!("open {name}"),
            allowed: found.is_some(),
            grant: json!({ "keyvalue": [grant] }),
        });
    }
    let Some((granted, space)) = found else {
        return Ok(Err(StoreError::AccessDenied));
    };
    Ok(Ok(table.push(Bucket { granted, space })?))
}

/// An operation on a bucket.
fn act<'a, T: Send + 'static>(
    mut store: Store<'a>,
    bucket: Resource<Bucket>,
    mode: Mode,
    operations: usize,
    work: impl FnOnce(&Database, &Space) -> Result<T, Failure> + Send + 'static,
) -> Answering<'a, T> {
    Box::new(async move {
        let View { session, table, .. } = store.data_mut().keyvalue();
        let Bucket { granted, space } = table.get(&bucket)?;
        let (granted, space) = (Arc::clone(granted), Arc::clone(space));
        if let Err(failure) = session.count(operations) {
            return Ok((Err(failure.into()),));
        }
        let work = move |database: &Database| work(database, &space);
        let done = granted.storage.run(mode, work).await;
        Ok((done.map_err(StoreError::from),))
    })
}
