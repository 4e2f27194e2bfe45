//! Compare and swap: the resource `cas` of `wasi:keyvalue/atomics`.
//!
//! Owns: what is compared. It must not know how an entry is stored.

use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource, ResourceType};

use super::interfaces::{Bucket, Store, StoreError, View};
use super::storage::Mode;
use super::{Granted, Space};
use crate::instance::Data;

#[derive(ComponentType, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    StoreError(StoreError),
    #[component(name = "cas-failed")]
    CasFailed(Resource<Cas>),
}

/// What a key was when a guest looked last. The value is not kept: many of them would be much.
struct Cas {
    granted: Arc<Granted>,
    space: Arc<Space>,
    key: String,
    version: Option<i64>,
}

/// Puts the resource and `swap` into an instance of the interface.
pub fn link(atomics: &mut LinkerInstance<'_, Data>) -> Result<()> {
    atomics.resource("cas", ResourceType::host::<Cas>(), |mut store, rep| {
        let table = store.data_mut().table_mut();
        table.delete(Resource::<Cas>::new_own(rep))?;
        Ok(())
    })?;
    atomics.func_wrap_async(
        "[static]cas.new",
        |store: Store<'_>, (bucket, key): (Resource<Bucket>, String)| {
            Box::new(async move { Ok((cas_new(store, bucket, key).await?,)) })
        },
    )?;
    atomics.func_wrap_async(
        "[method]cas.current",
        |store: Store<'_>, (cas,): (Resource<Cas>,)| {
            Box::new(async move { Ok((cas_current(store, cas).await?,)) })
        },
    )?;
    atomics.func_wrap_async(
        "swap",
        |store: Store<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
            Box::new(async move { Ok((swap(store, cas, value).await?,)) })
        },
    )
}

async fn cas_new(
    mut store: Store<'_>,
    bucket: Resource<Bucket>,
    key: String,
) -> Result<Result<Resource<Cas>, StoreError>> {
    let View { session, table, .. } = store.data_mut().keyvalue();
    let Bucket { granted, space } = table.get(&bucket)?;
    let (granted, space) = (Arc::clone(granted), Arc::clone(space));
    if let Err(failure) = session.count(1) {
        return Ok(Err(failure.into()));
    }
    let (of, name) = (Arc::clone(&space), key.clone());
    let looked = granted
        .storage
        .run(Mode::Read, move |database| database.version(&of, &name));
    let version = match looked.await {
        Ok(version) => version,
        Err(failure) => return Ok(Err(failure.into())),
    };
    let cas = Cas {
        granted,
        space,
        key,
        version,
    };
    Ok(Ok(store.data_mut().table_mut().push(cas)?))
}

/// The value at this moment; what is swapped then is this one.
async fn cas_current(
    mut store: Store<'_>,
    cas: Resource<Cas>,
) -> Result<Result<Option<Vec<u8>>, StoreError>> {
    let View { session, table, .. } = store.data_mut().keyvalue();
    let Cas {
        granted,
        space,
        key,
        ..
    } = table.get(&cas)?;
    let (granted, space, key) = (Arc::clone(granted), Arc::clone(space), key.clone());
    if let Err(failure) = session.count(1) {
        return Ok(Err(failure.into()));
    }
    let looked = granted
        .storage
        .run(Mode::Read, move |database| database.versioned(&space, &key));
    let found = match looked.await {
        Ok(found) => found,
        Err(failure) => return Ok(Err(failure.into())),
    };
    let (version, value) = found.unzip();
    store.data_mut().table_mut().get_mut(&cas)?.version = version;
    Ok(Ok(value))
}

async fn swap(
    mut store: Store<'_>,
    cas: Resource<Cas>,
    value: Vec<u8>,
) -> Result<Result<(), CasError>> {
    let View { session, table, .. } = store.data_mut().keyvalue();
    let cas = table.delete(cas)?;
    if let Err(failure) = session.count(1) {
        return Ok(Err(CasError::StoreError(failure.into())));
    }
    let (space, key) = (Arc::clone(&cas.space), cas.key.clone());
    let swapped = cas.granted.storage.run(Mode::Write, move |database| {
        database.swap(&space, &key, cas.version, &value)
    });
    Ok(match swapped.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(version)) => {
            let cas = Cas { version, ..cas };
            Err(CasError::CasFailed(store.data_mut().table_mut().push(cas)?))
        }
        Err(failure) => Err(CasError::StoreError(failure.into())),
    })
}
