//! TCP and UDP for a guest that is granted addresses, and for one that is not.
//!
//! Owns: the check of each address that a socket is used with, which names stand for which addresses
//! in a store, and how many sockets there may be. It must not know how a name is looked up.

mod host;
mod names;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use wasmtime_wasi::sockets::SocketAddrUse;

use crate::engine::BLOCKING_THREADS;
use crate::grants::{Grants, SocketRule};
use crate::told::Teller;

pub use host::link;
use rules::{Rule, is_special, written};

/// Sockets that one store's guest may have at once.
const STORE_SOCKETS_MAX: usize = 64;

/// Sockets that all instances of a plugin may have at once: descriptors of the process.
const PLUGIN_SOCKETS_MAX: usize = 256;

/// Names that all instances of a plugin look up at once: each has a thread until the resolver has
/// answered, whether anybody still waits or not.
const PLUGIN_LOOKUPS_MAX: usize = 2;

/// The same over all plugins: half of the threads for blocking work.
const LOOKUPS_MAX: usize = BLOCKING_THREADS / 2;

static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

/// Addresses of names that a store remembers.
const NAMED_MAX: usize = 64;

/// The rules of a plugin.
pub struct Network {
    tcp: Vec<Rule>,
    udp: Vec<Rule>,
    lookups: Arc<Semaphore>,
    sockets: AtomicUsize,
}

impl Network {
    /// Reads what is granted; the error is a sentence.
    pub fn read(grants: &Grants) -> Result<Network, String> {
        let all = |protocol: &str, rules: &[SocketRule]| {
            let read = |(index, rule)| {
                Rule::read(rule).map_err(|e| format!("grants.{protocol}[{index}].host: {e}"))
            };
            let rules: Result<Vec<_>, String> = rules.iter().enumerate().map(read).collect();
            rules
        };
        Ok(Network {
            tcp: all("tcp", &grants.tcp)?,
            udp: all("udp", &grants.udp)?,
            lookups: Arc::new(Semaphore::new(PLUGIN_LOOKUPS_MAX)),
            sockets: AtomicUsize::new(0),
        })
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.tcp.iter().chain(&self.udp)
    }
}

/// What a store knows of the network.
pub struct Sockets {
    network: Arc<Network>,
    /// Which name gave the guest which address, the last ones.
    named: Mutex<VecDeque<(IpAddr, Arc<str>)>>,
    teller: Teller,
    /// How many of the plugin's sockets are this store's, when that was counted last.
    counted: AtomicUsize,
}

/// What a guest would do with an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Send something there.
    Reach,
    /// Take an address of the host.
    Bind,
    /// Be reached at it.
    Listen,
    /// Take what somebody sends.
    Receive,
}

impl Sockets {
    /// For a store whose plugin has rules.
    pub fn new(network: &Arc<Network>, teller: Teller) -> Sockets {
        Sockets {
            network: Arc::clone(network),
            named: Mutex::default(),
            teller,
            counted: AtomicUsize::new(0),
        }
    }

    /// Whether a socket may be used so.
    pub fn allows(&self, address: SocketAddr, usage: SocketAddrUse) -> bool {
        let (protocol, act) = match usage {
            SocketAddrUse::TcpConnect => ("tcp", Act::Reach),
            SocketAddrUse::TcpBind => ("tcp", Act::Bind),
            SocketAddrUse::TcpListen => ("tcp", Act::Listen),
            SocketAddrUse::TcpAccept => ("tcp", Act::Receive),
            SocketAddrUse::UdpSend => ("udp", Act::Reach),
            SocketAddrUse::UdpBind => ("udp", Act::Bind),
            SocketAddrUse::UdpReceive => ("udp", Act::Receive),
        };
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let rules = match protocol {
            "tcp" => &self.network.tcp,
            _ => &self.network.udp,
        };
        // Before whatever it is for, which is asked for by itself; it takes nothing from anybody. By
        // UDP it would where a rule listens: who sends is known then, and not to which socket.
        let hears = protocol == "udp" && rules.iter().any(|rule| rule.written.listen);
        if act == Act::Bind && is_any(address) && !hears {
            return true;
        }
        let rule = rules.iter().find(|rule| self.covers(rule, address, act));
        // Whoever sends to the guest is not asked for by it.
        if act == Act::Receive {
            return rule.is_some();
        }
        if let Some(rule) = rule {
            let asked = || asked(protocol, act, address);
            // What the system chose it chooses anew at each run.
            let port = match rule.has_port(address.port()) {
                true => address.port(),
                false => 0,
            };
            self.teller.allowed(protocol, asked, || {
                rule_of(protocol, &rule.written.host, port, act)
            });
        } else {
            let named = self.names(address.ip()).pop();
            let host = match named.filter(|_| !is_special(address.ip())) {
                Some(name) => name.to_string(),
                None => written(address).0,
            };
            self.teller
                .denied(protocol, asked(protocol, act, address), || {
                    rule_of(protocol, &host, address.port(), act)
                });
        }
        rule.is_some()
    }

    fn covers(&self, rule: &Rule, address: SocketAddr, act: Act) -> bool {
        let (ip, port) = (address.ip(), address.port());
        let listens = rule.written.listen;
        let reaches = || {
            let by_name = || !is_special(ip) && self.names(ip).iter().any(|n| rule.has_name(n));
            rule.has_port(port) && (rule.has_address(ip) || by_name())
        };
        match act {
            Act::Reach => !listens && reaches(),
            Act::Bind => listens && rule.has_port(port) && rule.has_address(ip),
            // Bound to a port that the system chose: `port` of the rule is 0.
            Act::Listen => {
                listens && rule.has_address(ip) && (rule.has_port(port) || rule.has_port(0))
            }
            // With a rule that listens every socket is bound to an address of such a rule.
            Act::Receive => listens || reaches(),
        }
    }

    /// Whether an address may be told as that of a name: what may never be reached stays unknown.
    fn may_be_told(&self, ip: IpAddr) -> bool {
        !is_special(ip) || self.network.rules().any(|rule| rule.has_address(ip))
    }

    /// Whether a name may be looked up.
    fn may_look_up(&self, name: &str) -> bool {
        self.network.rules().any(|rule| rule.has_name(name))
    }

    /// The guest was given an address for a name.
    fn remember(&self, ip: IpAddr, name: &Arc<str>) {
        let mut named = self.named();
        if named.iter().any(|(i, n)| *i == ip && n == name) {
            return;
        }
        if named.len() == NAMED_MAX {
            named.pop_front();
        }
        named.push_back((ip, Arc::clone(name)));
    }

    fn names(&self, ip: IpAddr) -> Vec<Arc<str>> {
        let named = self.named();
        let names = named.iter().filter(|(known, _)| *known == ip);
        names.map(|(_, name)| Arc::clone(name)).collect()
    }

    fn named(&self) -> MutexGuard<'_, VecDeque<(IpAddr, Arc<str>)>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for another socket beside so many that the store has; false: there is none.
    fn take_place(&self, has: usize) -> bool {
        let total = &self.network.sockets;
        let before = self.counted.swap(has + 1, Ordering::Relaxed);
        // Both counts change by as much, whichever way.
        let sum = total.fetch_add(has + 1, Ordering::Relaxed) + has + 1;
        total.fetch_sub(before, Ordering::Relaxed);
        if has < STORE_SOCKETS_MAX && sum - before <= PLUGIN_SOCKETS_MAX {
            return true;
        }
        self.counted.store(has, Ordering::Relaxed);
        total.fetch_sub(1, Ordering::Relaxed);
        false
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let counted = self.counted.load(Ordering::Relaxed);
        self.network.sockets.fetch_sub(counted, Ordering::Relaxed);
    }
}

/// Any port of any address, which the system chooses.
fn is_any(address: SocketAddr) -> bool {
    address.ip().is_unspecified() && address.port() == 0
}

fn asked(protocol: &str, act: Act, address: SocketAddr) -> String {
    match (protocol, act) {
        ("tcp", Act::Reach) => format!("connect to {address}"),
        (_, Act::Reach) => format!("send to {address}"),
        (_, Act::Bind) => format!("bind to {address}"),
        (_, Act::Listen | Act::Receive) => format!("listen at {address}"),
    }
}

fn rule_of(protocol: &str, host: &str, port: u16, act: Act) -> Value {
    let mut rule = json!({ "host": host, "port": port });
    if act != Act::Reach {
        rule["listen"] = true.into();
    }
    json!({ protocol: [rule] })
}
