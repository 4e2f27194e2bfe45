//! WASI 0.2 with what is granted and no more.
//!
//! Owns: which imports exist, what they do (no arguments, the granted environment, clocks as coarse
//! as is granted, randomness of its own for each call or of the granted seed). Folders and sockets
//! have rooms of their own. It must not know how calls are run, nor what becomes of what the guest
//! writes (`output`).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, empty, sink};
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::clocks::WasiClocks;
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sockets};
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use wasmtime_wasi::{WasiCtx, async_trait};
use wasmtime_wasi_io::bindings::wasi::io;

use crate::egress::Egress;
use crate::folders::FolderHost;
use crate::granted::Granted;
use crate::host::CallRef;
use crate::http_budget;
use crate::instance::Data;
use crate::keyvalue;
use crate::limits::Limits;
use crate::logging::{self, Level};
use crate::output::Log;
use crate::progress;
use crate::sockets::{self as network, Sockets};
use crate::sources::{CoarseMonotonicClock, CoarseWallClock, random_of, resolution};
use crate::told::Teller;
use crate::used::{self, Environment};
use crate::wasi_config;
use crate::wasi3;

/// Interfaces that link, at any 0.2 version.
const KNOWN: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Interfaces that link at the versions that guests are built for, none of which is final.
const DRAFTS: &[&str] = &[
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:keyvalue/atomics@0.2.0-draft",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft",
    "wasi:keyvalue/batch@0.2.0-draft2",
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:logging/logging",
    "wasi:logging/logging@0.1.0-draft",
];

/// Whether an import, as in `wasi:io/streams@0.2.6`, is one that links; those of WASI 0.3 are too.
pub fn is_known(import: &str) -> bool {
    if DRAFTS.contains(&import) || import == progress::INTERFACE {
        return true;
    }
    match import.split_once('@') {
        Some((name, version)) if version == "0.2" || version.starts_with("0.2.") => {
            KNOWN.contains(&name)
        }
        Some((name, version)) => wasi3::is_known(name, version),
        None => false,
    }
}

/// Puts every known import into a linker.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    let l = linker;
    io::error::add_to_linker::<Data, Table>(l, table)?;
    io::poll::add_to_linker::<Data, Table>(l, table)?;
    io::streams::add_to_linker::<Data, Table>(l, table)?;
    clocks::wall_clock::add_to_linker::<Data, WasiClocks>(l, used::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Data, WasiClocks>(l, used::clocks)?;
    random::random::add_to_linker::<Data, WasiRandom>(l, used::random)?;
    random::insecure::add_to_linker::<Data, WasiRandom>(l, used::random)?;
    random::insecure_seed::add_to_linker::<Data, WasiRandom>(l, used::random)?;
    cli::environment::add_to_linker::<Data, Environment>(l, used::own)?;
    cli::exit::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::stdin::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::stdout::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::stderr::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_input::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_output::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_stdin::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_stdout::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_stderr::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    filesystem::preopens::add_to_linker::<Data, FolderHost>(l, Data::files)?;
    filesystem::types::add_to_linker::<Data, FolderHost>(l, Data::files)?;
    let options = sockets::network::LinkOptions::default();
    sockets::network::add_to_linker::<Data, WasiSockets>(l, &options, Data::sockets)?;
    sockets::instance_network::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    sockets::tcp::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    sockets::udp::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    sockets::udp_create_socket::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    keyvalue::link(l)?;
    logging::link(l)?;
    progress::link(l)?;
    wasi_config::link(l)?;
    network::link(l)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(l)?;
    http_budget::link(l)
}

/// Access to the resource table alone: `wasi:io` needs no context, so none is built for it.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

fn table(data: &mut Data) -> &mut ResourceTable {
    data.table_mut()
}

/// The context of an instance and where its output goes.
pub struct Context {
    /// WASI's own.
    pub ctx: WasiCtx,
    /// None: no network.
    pub sockets: Option<Arc<Sockets>>,
    /// Where its output goes.
    pub log: Arc<Mutex<Log>>,
}

impl Context {
    /// Another call of a kept instance begins: output is its, under a budget of its own.
    pub fn renew(&mut self, call: CallRef, limits: &Limits, granted: Option<&Granted>) {
        self.replace(Log::new(Some(call), limits.log_bytes));
        if let Some(seed) = granted.and_then(|g| g.grants.random.as_ref()) {
            // From the beginning, for this call as for any other.
            let mut builder = WasiCtx::builder();
            random_of(&mut builder, Some(seed));
            std::mem::swap(self.ctx.random(), builder.build().random());
        }
    }

    /// The call has ended: sends what it began to write, and lets go of the call.
    pub fn rest(&self) {
        self.replace(Log::new(None, 0));
    }

    /// Sends a message of `wasi:logging`.
    pub fn log(&self, level: Level, context: &str, message: &str) -> Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(log.message(level, context, message)?)
    }

    /// Sends a report of progress.
    pub fn progress(&self, line: &[u8]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.progress(line);
    }

    fn replace(&self, log: Log) {
        let mut shared = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *shared, log);
        drop(shared);
        // Sends what is left in it.
        drop(before);
    }
}

/// The context of an instance, built when the guest first uses it.
pub fn context(
    call: Option<CallRef>,
    limits: &Limits,
    granted: Option<&Granted>,
    egress: Option<&Egress>,
    teller: impl FnOnce() -> Teller,
) -> Context {
    let log = Arc::new(Mutex::new(Log::new(call, limits.log_bytes)));
    let grants = granted.map(|g| &g.grants);
    let resolution = resolution(grants.map(|g| &g.clocks));
    let mut builder = WasiCtx::builder();
    builder
        .stdin(NoInput)
        .stdout(Output {
            log: Arc::clone(&log),
            stderr: false,
        })
        .stderr(Output {
            log: Arc::clone(&log),
            stderr: true,
        })
        .wall_clock(CoarseWallClock { resolution })
        .monotonic_clock(CoarseMonotonicClock::new(resolution));
    random_of(&mut builder, grants.and_then(|g| g.random.as_ref()));
    for (name, value) in grants.iter().flat_map(|g| &g.env) {
        builder.env(name, value);
    }
    let sockets = granted
        .and_then(|g| g.network.as_ref())
        .map(|network| Arc::new(Sockets::new(network, teller())));
    // Names are looked up elsewhere.
    builder
        .allow_tcp(sockets.is_some())
        .allow_udp(sockets.is_some())
        .allow_ip_name_lookup(false);
    if let Some(sockets) = &sockets {
        let sockets = Arc::clone(sockets);
        builder.socket_addr_check(move |address, usage| {
            Box::pin(std::future::ready(sockets.allows(address, usage)))
        });
    }
    if let Some(egress) = egress {
        for (name, placeholder) in egress.variables() {
            builder.env(name, placeholder);
        }
    }
    Context {
        ctx: builder.build(),
        sockets,
        log,
    }
}

struct NoInput;

impl IsTerminal for NoInput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for NoInput {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(ClosedInputStream)
    }
}

/// Standard output or error of one call.
#[derive(Clone)]
struct Output {
    log: Arc<Mutex<Log>>,
    stderr: bool,
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Nothing asks for this form: outputs of WASI 0.3 are in `wasi3`.
        Box::new(sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(self.stderr, &bytes)
            .map_err(|e| StreamError::Trap(wasmtime::Error::new(e)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_known_by_name_and_version() {
        assert!(is_known("wasi:io/streams@0.2.6"));
        assert!(is_known("wasi:http/types@0.2.0"));
        assert!(is_known("atoll:plugin/progress@0.1.0"));
        assert!(!is_known("atoll:plugin/progress@0.2.0"));
        assert!(!is_known("wasi:io/streams@0.3.0"));
        assert!(is_known("wasi:cli/stdout@0.3.0"));
        assert!(!is_known("wasi:io/streams"));
        assert!(!is_known("wasi:nn/tensor@0.2.0"));
        assert!(is_known("wasi:keyvalue/store@0.2.0-draft2"));
        assert!(!is_known("wasi:keyvalue/store@0.2.0"));
        assert!(!is_known("wasi:keyvalue/store@0.2.0-draft3"));
        assert!(is_known("wasi:logging/logging"));
        assert!(!is_known("acme:thing/api@0.2.0"));
    }
}
