//! What the HTTP messages that a guest makes may have the host hold, all together.
//!
//! Owns: the sum over every field map, every request and every response in a store, and the functions of `wasi:http`
//! that add to it, which check it and then do what they always do. wasmtime limits each map by
//! itself, and the strings of a request not at all. It must not know requests that come in.
//!
//! What is added is counted without a look at what is dropped, until the count reaches the limit;
//! then what there still is is counted. So the usual message costs an addition.

use std::collections::HashSet;
use std::ptr;

use http::HeaderMap;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, HeaderError, Host, HostFields, HostFutureIncomingResponse as Responses,
    HostOutgoingBody as _, HostOutgoingRequest as _, IoError, Method, Scheme,
};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::p2::{HeaderResult, HttpResult};
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::{FieldMap, WasiHttpCtxView, WasiHttpView};

use crate::egress::body_code;
use crate::instance::Data;
use crate::limits::{LimitExceeded, LimitKind, Limits};

/// The interface as `wasmtime-wasi-http` links it.
const TYPES: &str = "wasi:http/types@0.2.12";

/// For so many messages of the largest size the fields have room.
const MESSAGES: u64 = 8;

/// What a field takes besides its bytes, as wasmtime reckons it.
const FIELD_COST: u64 = 72;

/// Longest strings of a request, in bytes.
pub const METHOD_MAX: usize = 64;
pub const SCHEME_MAX: usize = 64;
pub const AUTHORITY_MAX: usize = 1024;
pub const PATH_MAX: usize = 16 * 1024;

/// What a store's messages come to.
#[derive(Default)]
pub struct HttpBudget {
    /// At least what is held.
    held: u64,
    /// Of that, what has left the table of resources and is held elsewhere.
    gone: u64,
}

impl HttpBudget {
    fn charge(&mut self, table: &mut ResourceTable, limits: &Limits, more: u64) -> Result<()> {
        let most = limits.field_bytes.saturating_mul(MESSAGES);
        self.held = self.held.saturating_add(more);
        if self.held > most {
            self.held = count(table).saturating_add(self.gone).saturating_add(more);
        }
        if self.held > most {
            let exceeded = LimitExceeded {
                kind: LimitKind::Fields,
                value: limits.field_bytes,
            };
            return Err(exceeded.into());
        }
        Ok(())
    }

    /// A call has ended, and with it whatever had left the table.
    pub fn rest(&mut self) {
        self.held = self.held.saturating_sub(self.gone);
        self.gone = 0;
    }

    /// A map has left the table for good.
    fn leave(&mut self, bytes: u64) {
        self.gone = self.gone.saturating_add(bytes);
        self.held = self.held.saturating_add(bytes);
    }
}

/// Everything that the table holds; a map that several resources share counts once.
fn count(table: &mut ResourceTable) -> u64 {
    let mut maps: HashSet<*const HeaderMap> = HashSet::new();
    let mut sum = 0;
    let mut add = |map: &FieldMap| {
        if maps.insert(ptr::from_ref::<HeaderMap>(map)) {
            sum += size(map);
        }
    };
    let mut strings = 0;
    for entry in table.iter_mut() {
        if let Some(map) = entry.downcast_ref::<FieldMap>() {
            add(map);
        } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
            add(&response.headers);
        } else if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
            add(&response.headers);
        } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
            add(&request.headers);
            strings += method_length(&request.method)
                + request.scheme.as_ref().map_or(0, scheme_length)
                + request.authority.as_ref().map_or(0, String::len)
                + request.path_with_query.as_ref().map_or(0, String::len);
        } else if let Some(response) = entry.downcast_ref::<p3::Response>() {
            add(&response.headers);
        } else if let Some(request) = entry.downcast_ref::<p3::Request>() {
            add(&request.headers);
            strings += request.method.as_str().len()
                + request.scheme.as_ref().map_or(0, |s| s.as_str().len())
                + request.authority.as_ref().map_or(0, |a| a.as_str().len())
                + request
                    .path_with_query
                    .as_ref()
                    .map_or(0, |p| p.as_str().len());
        }
    }
    sum + strings as u64
}

/// What the fields of a map take.
pub fn size(map: &FieldMap) -> u64 {
    map.iter()
        .map(|(name, value)| field(name.as_str(), value.as_bytes()))
        .sum()
}

/// What a field takes.
pub fn field(name: &str, value: &[u8]) -> u64 {
    (name.len() + value.len()) as u64 + FIELD_COST
}

fn method_length(method: &Method) -> usize {
    match method {
        Method::Other(name) => name.len(),
        _ => 0,
    }
}

fn scheme_length(scheme: &Scheme) -> usize {
    match scheme {
        Scheme::Other(name) => name.len(),
        _ => 0,
    }
}

fn header<T>(
    http: &mut WasiHttpCtxView<'_>,
    result: HeaderResult<T>,
) -> Result<Result<T, HeaderError>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => http.convert_header_error(error).map(Err),
    }
}

fn code<T>(http: &mut WasiHttpCtxView<'_>, result: HttpResult<T>) -> Result<Result<T, ErrorCode>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => http.convert_error_code(error).map(Err),
    }
}

/// Where a guest's call comes from.
pub type Store<'a> = StoreContextMut<'a, Data>;
/// A guest's handle of a map.
pub type Fields = Resource<FieldMap>;
type Request = Resource<HostOutgoingRequest>;

/// What a setter of a request gives.
pub type Set = Result<(Result<(), ()>,)>;

/// Links the functions of fields that count into the interface of one version of `wasi:http`. Where it
/// stands `HostFields` and `header` are that version's: its traits differ, what they do does not.
macro_rules! link_fields {
    ($types:ident) => {
        $types.func_wrap(
            "[static]fields.from-list",
            |mut store: Store<'_>, (entries,): (Vec<(String, Vec<u8>)>,)| {
                let bytes = entries.iter().map(|(name, value)| field(name, value)).sum();
                store.data_mut().charge_http(bytes)?;
                let mut http = store.data_mut().http();
                let made = HostFields::from_list(&mut http, entries);
                Ok((header(&mut http, made)?,))
            },
        )?;
        $types.func_wrap(
            "[method]fields.set",
            |mut store: Store<'_>, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
                let bytes = values.iter().map(|value| field(&name, value)).sum();
                store.data_mut().charge_http(bytes)?;
                let mut http = store.data_mut().http();
                let set = HostFields::set(&mut http, fields, name, values);
                Ok((header(&mut http, set)?,))
            },
        )?;
        $types.func_wrap(
            "[method]fields.append",
            |mut store: Store<'_>, (fields, name, value): (Fields, String, Vec<u8>)| {
                store.data_mut().charge_http(field(&name, &value))?;
                let mut http = store.data_mut().http();
                let appended = HostFields::append(&mut http, fields, name, value);
                Ok((header(&mut http, appended)?,))
            },
        )?;
        $types.func_wrap(
            "[method]fields.clone",
            |mut store: Store<'_>, (fields,): (Fields,)| {
                // Shared until one of the two is changed.
                let bytes = size(store.data_mut().http().table.get(&fields)?);
                store.data_mut().charge_http(bytes)?;
                Ok((HostFields::clone(&mut store.data_mut().http(), fields)?,))
            },
        )?;
    };
}
pub(crate) use link_fields;

/// Puts the functions that count in place of those that do not.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    link_fields!(types);
    types.func_wrap(
        "http-error-code",
        |mut store: Store<'_>, (error,): (Resource<IoError>,)| {
            let mut http = store.data_mut().http();
            let of_body = http.table.get(&error)?.downcast_ref().and_then(body_code);
            match of_body {
                Some(code) => Ok((Some(code),)),
                None => Ok((Host::http_error_code(&mut http, error)?,)),
            }
        },
    )?;
    types.func_wrap(
        "[method]future-incoming-response.get",
        |mut store: Store<'_>, (future,): (Resource<HostFutureIncomingResponse>,)| {
            let got = Responses::get(&mut store.data_mut().http(), future)?;
            if let Some(Ok(Ok(response))) = &got {
                // Whoever answers decides how much it is.
                let bytes = size(&store.data_mut().http().table.get(response)?.headers);
                store.data_mut().charge_http(bytes)?;
            }
            Ok((got,))
        },
    )?;
    types.func_wrap(
        "[static]outgoing-body.finish",
        |mut store: Store<'_>, (body, trailers): (Resource<HostOutgoingBody>, Option<Fields>)| {
            let data = store.data_mut();
            if let Some(trailers) = &trailers {
                // Whoever reads the body gets them.
                let bytes = size(data.http().table.get(trailers)?);
                data.http_budget.leave(bytes);
                data.charge_http(0)?;
            }
            let mut http = data.http();
            let finished = http.finish(body, trailers);
            Ok((code(&mut http, finished)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |store: Store<'_>, (request, method): (Request, Method)| {
            let length = method_length(&method);
            set(store, length, METHOD_MAX, |http| {
                http.set_method(request, method)
            })
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |store: Store<'_>, (request, scheme): (Request, Option<Scheme>)| {
            let length = scheme.as_ref().map_or(0, scheme_length);
            set(store, length, SCHEME_MAX, |http| {
                http.set_scheme(request, scheme)
            })
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |store: Store<'_>, (request, authority): (Request, Option<String>)| {
            let length = authority.as_ref().map_or(0, String::len);
            set(store, length, AUTHORITY_MAX, |http| {
                http.set_authority(request, authority)
            })
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |store: Store<'_>, (request, path): (Request, Option<String>)| {
            let length = path.as_ref().map_or(0, String::len);
            set(store, length, PATH_MAX, |http| {
                http.set_path_with_query(request, path)
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Sets a string of a request, unless it is too long to be one.
pub fn set(
    mut store: Store<'_>,
    length: usize,
    most: usize,
    set: impl FnOnce(&mut WasiHttpCtxView<'_>) -> Result<Result<(), ()>>,
) -> Set {
    if length > most {
        return Ok((Err(()),));
    }
    store.data_mut().charge_http(length as u64)?;
    Ok((set(&mut store.data_mut().http())?,))
}

impl Data {
    /// Counts more bytes; the error is the limit's.
    pub fn charge_http(&mut self, more: u64) -> Result<()> {
        let (budget, table, limits) = self.http_parts();
        budget.charge(table, limits, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_left_the_table_counts_until_the_call_ends() {
        let limits = Limits {
            field_bytes: 100,
            ..Limits::default()
        };
        let (mut budget, mut table) = (HttpBudget::default(), ResourceTable::new());
        for _ in 0..10 {
            // Trailers of a call of a kept instance.
            budget.leave(700);
            assert!(budget.charge(&mut table, &limits, 100).is_ok());
            assert!(budget.charge(&mut table, &limits, 101).is_err());
            budget.rest();
        }
    }
}
