//! The same count of what HTTP messages hold for `wasi:http` 0.3.
//!
//! Owns: the functions that add to it. It must not know how much there may be; `http_budget` does.

use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::p3::bindings::http::types::{
    HeaderError, Host, HostFields, HostRequest, Method, Scheme,
};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::http_budget::{
    AUTHORITY_MAX, Fields, METHOD_MAX, PATH_MAX, SCHEME_MAX, Store, field, link_fields, set, size,
};
use crate::instance::Data;

/// The interface as `wasmtime-wasi-http` links it.
const TYPES: &str = "wasi:http/types@0.3.0";

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
    link_fields!(types);
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
