//! The same count of what HTTP messages hold for `wasi:http` 0.3.
//!
//! Owns: the functions that add to it. It must not know how much there may be; `http_budget` does.

use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::p3::bindings::http::types::{
    HeaderError, Host, HostFields, HostRequest, Method, Scheme,
};
use wasmtime_wasi_http::{FieldMap, WasiHttpCtxView, WasiHttpView};

use crate::http_budget::{AUTHORITY_MAX, METHOD_MAX, PATH_MAX, SCHEME_MAX, field, size};
use crate::instance::Data;

/// The interface as `wasmtime-wasi-http` links it.
const TYPES: &str = "wasi:http/types@0.3.0";

type Store<'a> = StoreContextMut<'a, Data>;
type Fields = Resource<FieldMap>;

fn header<T, E>(
    http: &mut WasiHttpCtxView<'_>,
    result: std::result::Result<T, E>,
) -> Result<std::result::Result<T, HeaderError>>
where
    E: Into<wasmtime_wasi::TrappableError<HeaderError>>,
{
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => http.convert_header_error(error.into()).map(Err),
    }
}

/// Puts the functions that count in place of those that do not.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[static]fields.from-list",
        |mut store: Store<'_>, (entries,): (Vec<(String, Vec<u8>)>,)| {
            let bytes = entries.iter().map(|(name, value)| field(name, value)).sum();
            store.data_mut().charge_http(bytes)?;
            let mut http = store.data_mut().http();
            let made = HostFields::from_list(&mut http, entries);
            Ok((header(&mut http, made)?,))
        },
    )?;
    types.func_wrap(
        "[method]fields.set",
        |mut store: Store<'_>, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
            let bytes = values.iter().map(|value| field(&name, value)).sum();
            store.data_mut().charge_http(bytes)?;
            let mut http = store.data_mut().http();
            let set = HostFields::set(&mut http, fields, name, values);
            Ok((header(&mut http, set)?,))
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        |mut store: Store<'_>, (fields, name, value): (Fields, String, Vec<u8>)| {
            store.data_mut().charge_http(field(&name, &value))?;
            let mut http = store.data_mut().http();
            let appended = HostFields::append(&mut http, fields, name, value);
            Ok((header(&mut http, appended)?,))
        },
    )?;
    types.func_wrap(
        "[method]fields.clone",
        |mut store: Store<'_>, (fields,): (Fields,)| {
            // Shared until one of the two is changed.
            let bytes = size(store.data_mut().http().table.get(&fields)?);
            store.data_mut().charge_http(bytes)?;
            Ok((HostFields::clone(&mut store.data_mut().http(), fields)?,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-method",
        |store: Store<'_>, (request, method): (Resource<Request>, Method)| {
            let length = match &method {
                Method::Other(name) => name.len(),
                _ => 0,
            };
            set(store, length, METHOD_MAX, |http| {
                http.set_method(request, method)
            })
        },
    )?;
    types.func_wrap(
        "[method]request.set-scheme",
        |store: Store<'_>, (request, scheme): (Resource<Request>, Option<Scheme>)| {
            let length = match &scheme {
                Some(Scheme::Other(name)) => name.len(),
                _ => 0,
            };
            set(store, length, SCHEME_MAX, |http| {
                http.set_scheme(request, scheme)
            })
        },
    )?;
    types.func_wrap(
        "[method]request.set-authority",
        |store: Store<'_>, (request, authority): (Resource<Request>, Option<String>)| {
            let length = authority.as_ref().map_or(0, String::len);
            set(store, length, AUTHORITY_MAX, |http| {
                http.set_authority(request, authority)
            })
        },
    )?;
    types.func_wrap(
        "[method]request.set-path-with-query",
        |store: Store<'_>, (request, path): (Resource<Request>, Option<String>)| {
            let length = path.as_ref().map_or(0, String::len);
            set(store, length, PATH_MAX, |http| {
                http.set_path_with_query(request, path)
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

type Set = std::result::Result<(), ()>;

/// Sets a string of a request, unless it is too long to be one.
fn set(
    mut store: Store<'_>,
    length: usize,
    most: usize,
    set: impl FnOnce(&mut WasiHttpCtxView<'_>) -> Result<Set>,
) -> Result<(Set,)> {
    if length > most {
        return Ok((Err(()),));
    }
    store.data_mut().charge_http(length as u64)?;
    Ok((set(&mut store.data_mut().http())?,))
}
