//! `wasi:sockets/ip-name-lookup`: names that are granted, and no others.
//!
//! Owns: the lookup, on a thread for blocking work of which a plugin has few, and what of its answer
//! the guest is given. It must not know what may be done with an address.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::vec;

use serde_json::json;
use tokio::sync::Semaphore;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, subscribe};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn, spawn_blocking};

use super::rules;
use super::{LOOKUPS, Sockets};
use crate::instance::Data;
use crate::told::Teller;

/// The interface, at the version of `wasmtime-wasi`.
const NAME_LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// The addresses of a name.
pub struct Lookup {
    /// None: it was an address.
    name: Option<Arc<str>>,
    state: State,
}

enum State {
    Asking(AbortOnDropJoinHandle<io::Result<Vec<IpAddr>>>),
    Answered(vec::IntoIter<IpAddr>),
    Failed,
}

impl State {
    fn of(answer: io::Result<Vec<IpAddr>>) -> State {
        match answer {
            Ok(addresses) => State::Answered(addresses.into_iter()),
            Err(_) => State::Failed,
        }
    }
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let State::Asking(task) = &mut self.state {
            self.state = State::of(task.await);
        }
    }
}

/// Asks the system's resolver. What began is not interrupted, so its place is kept until it is done.
async fn ask(name: Arc<str>, places: Arc<Semaphore>) -> io::Result<Vec<IpAddr>> {
    let places = (places.acquire_owned().await, LOOKUPS.acquire().await);
    spawn_blocking(move || {
        let _places = places;
        let found = (&*name, 0).to_socket_addrs()?;
        Ok(found.map(|address| address.ip().to_canonical()).collect())
    })
    .await
}

fn begin(sockets: Option<&Sockets>, teller: &Teller, asked: &str) -> Result<Lookup, ErrorCode> {
    // Nobody is asked for an address, and whether it may be reached is another question.
    if sockets.is_some()
        && let Ok(address) = asked.trim_matches(['[', ']']).parse::<IpAddr>()
    {
        return Ok(Lookup {
            name: None,
            state: State::Answered(vec![address].into_iter()),
        });
    }
    let name = rules::name(asked).ok_or(ErrorCode::InvalidArgument)?;
    let Some(sockets) = sockets.filter(|sockets| sockets.may_look_up(&name)) else {
        deny(teller, &name);
        return Err(ErrorCode::AccessDenied);
    };
    let name: Arc<str> = name.into();
    let task = spawn(ask(Arc::clone(&name), Arc::clone(&sockets.network.lookups)));
    Ok(Lookup {
        name: Some(name),
        state: State::Asking(task),
    })
}

fn deny(teller: &Teller, name: &str) {
    // The port is not known yet.
    let grant = || json!({ "tcp": [{ "host": name, "port": [1, 65_535] }] });
    teller.denied("tcp", format!("look up {name}"), grant);
}

fn next(sockets: Option<&Sockets>, lookup: &mut Lookup) -> Result<Option<IpAddr>, ErrorCode> {
    if let State::Asking(task) = &mut lookup.state {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(task).poll(&mut context) {
            Poll::Pending => return Err(ErrorCode::WouldBlock),
            Poll::Ready(answer) => lookup.state = State::of(answer),
        }
    }
    let State::Answered(addresses) = &mut lookup.state else {
        return Err(ErrorCode::NameUnresolvable);
    };
    let (Some(name), Some(sockets)) = (&lookup.name, sockets) else {
        return Ok(addresses.next());
    };
    let address = addresses.find(|ip| sockets.may_be_told(*ip));
    if let Some(ip) = address {
        sockets.remember(ip, name);
    }
    Ok(address)
}

type Store<'a> = StoreContextMut<'a, Data>;

/// Puts the interface into a linker.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    let mut lookup = linker.instance(NAME_LOOKUP)?;
    let resource = ResourceType::host::<Lookup>();
    lookup.resource("resolve-address-stream", resource, |mut store, rep| {
        let dropped = Resource::<Lookup>::new_own(rep);
        store.data_mut().table_mut().delete(dropped)?;
        Ok(())
    })?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut store: Store<'_>, (network, name): (Resource<Network>, String)| {
            let data = store.data_mut();
            // Whoever has no network has no such handle.
            data.table_mut().get(&network)?;
            let (sockets, teller) = data.sockets_state();
            let begun = begin(sockets.as_deref(), &teller, &name);
            let answer = match begun {
                Ok(lookup) => Ok(data.table_mut().push(lookup)?),
                Err(code) => Err(code),
            };
            Ok((answer,))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: Store<'_>, (lookup,): (Resource<Lookup>,)| {
            let data = store.data_mut();
            let (sockets, _) = data.sockets_state();
            let lookup = data.table_mut().get_mut(&lookup)?;
            let address = next(sockets.as_deref(), lookup);
            Ok((address.map(|ip| ip.map(IpAddress::from)),))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: Store<'_>, (lookup,): (Resource<Lookup>,)| {
            let pollable: Resource<DynPollable> = subscribe(store.data_mut().table_mut(), lookup)?;
            Ok((pollable,))
        },
    )
}
