//! The functions of `wasi:sockets` that make a socket, counted.
//!
//! Owns: those functions in place of wasmtime's, which they call. It must not know addresses.

use serde_json::json;
use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, Host as _, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::tcp::HostTcpSocket as _;
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::WasiSocketsView as _;

use super::names;
use crate::instance::Data;

/// The interfaces as `wasmtime-wasi` links them.
const TCP: &str = "wasi:sockets/tcp@0.2.12";
const TCP_CREATE: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const UDP_CREATE: &str = "wasi:sockets/udp-create-socket@0.2.12";

type Store<'a> = StoreContextMut<'a, Data>;

/// Puts the functions that count in place of those that do not, and the lookup of names.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    names::link(linker)?;
    linker.allow_shadowing(true);
    linker.instance(TCP_CREATE)?.func_wrap(
        "create-tcp-socket",
        |mut store: Store<'_>, (family,): (IpAddressFamily,)| {
            let data = store.data_mut();
            if let Err(code) = data.socket_place("tcp") {
                return Ok((Err(code),));
            }
            let made = tcp_create_socket::Host::create_tcp_socket(&mut data.sockets(), family);
            Ok((answer(data, made)?,))
        },
    )?;
    linker.instance(UDP_CREATE)?.func_wrap_async(
        "create-udp-socket",
        |mut store: Store<'_>, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let data = store.data_mut();
                if let Err(code) = data.socket_place("udp") {
                    return Ok((Err(code),));
                }
                let mut view = data.sockets();
                let made = udp_create_socket::Host::create_udp_socket(&mut view, family).await;
                Ok((answer(data, made)?,))
            })
        },
    )?;
    linker.instance(TCP)?.func_wrap(
        "[method]tcp-socket.accept",
        |mut store: Store<'_>, (listener,): (Resource<TcpSocket>,)| {
            let data = store.data_mut();
            if let Err(code) = data.socket_place("tcp") {
                return Ok((Err(code),));
            }
            let accepted = data.sockets().accept(listener);
            Ok((answer(data, accepted)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn answer<T>(data: &mut Data, result: SocketResult<T>) -> Result<Result<T, ErrorCode>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => data.sockets().convert_error_code(error).map(Err),
    }
}

impl Data {
    /// Whether there may be another socket.
    fn socket_place(&mut self, protocol: &'static str) -> Result<(), ErrorCode> {
        let (sockets, teller) = self.sockets_state();
        let Some(sockets) = sockets else {
            // Its address is not known yet, and without a socket it never is.
            let grant = || json!({ protocol: [{ "host": "ADDRESS", "port": [1, 65_535] }] });
            teller.denied(protocol, "a socket".to_owned(), grant);
            return Err(ErrorCode::AccessDenied);
        };
        let is_socket =
            |entry: &dyn std::any::Any| entry.is::<TcpSocket>() || entry.is::<UdpSocket>();
        let has = self
            .table_mut()
            .iter_mut()
            .filter(|entry| is_socket(*entry))
            .count();
        match sockets.take_place(has) {
            true => Ok(()),
            false => Err(ErrorCode::NewSocketLimit),
        }
    }
}
