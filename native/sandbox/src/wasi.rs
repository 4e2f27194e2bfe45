//! WASI 0.2 with what is granted and no more.
//!
//! Owns: which imports exist, what they do (no arguments, the granted environment, no files, no
//! network, clocks of a millisecond, randomness of its own for each call). It must not know how calls
//! are run, nor what becomes of what the guest writes (`output`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, empty, sink};
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock, WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sockets};
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use wasmtime_wasi::{WasiCtx, async_trait};
use wasmtime_wasi_io::bindings::wasi::io;

use crate::grants::Grants;
use crate::host::CallRef;
use crate::http_budget;
use crate::instance::Data;
use crate::keyvalue;
use crate::limits::{Limits, RANDOM_BYTES};
use crate::logging::{self, Level};
use crate::output::Log;
use crate::progress;
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
    clocks::wall_clock::add_to_linker::<Data, WasiClocks>(l, Data::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Data, WasiClocks>(l, Data::clocks)?;
    random::random::add_to_linker::<Data, WasiRandom>(l, |d| d.wasi().random())?;
    random::insecure::add_to_linker::<Data, WasiRandom>(l, |d| d.wasi().random())?;
    random::insecure_seed::add_to_linker::<Data, WasiRandom>(l, |d| d.wasi().random())?;
    cli::environment::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::exit::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::stdin::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::stdout::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::stderr::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_input::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_output::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_stdin::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_stdout::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_stderr::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    filesystem::preopens::add_to_linker::<Data, WasiFilesystem>(l, Data::filesystem)?;
    filesystem::types::add_to_linker::<Data, WasiFilesystem>(l, Data::filesystem)?;
    let options = sockets::network::LinkOptions::default();
    sockets::network::add_to_linker::<Data, WasiSockets>(l, &options, Data::sockets)?;
    sockets::instance_network::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    sockets::tcp::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    sockets::udp::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    sockets::udp_create_socket::add_to_linker::<Data, WasiSockets>(l, Data::sockets)?;
    keyvalue::link(l)?;
    logging::link(l)?;
    progress::link(l)?;
    wasi_config::link(l)?;
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
    /// Where its output goes.
    pub log: Arc<Mutex<Log>>,
}

impl Context {
    /// Another call of a kept instance begins: output is its, under a budget of its own.
    pub fn renew(&self, call: CallRef, limits: &Limits) {
        self.replace(Log::new(Some(call), limits.log_bytes));
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
pub fn context(call: Option<CallRef>, limits: &Limits, grants: Option<&Grants>) -> Context {
    let log = Arc::new(Mutex::new(Log::new(call, limits.log_bytes)));
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
        .wall_clock(CoarseWallClock)
        .monotonic_clock(CoarseMonotonicClock {
            start: Instant::now(),
        })
        .max_random_size(RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    if let Some(grants) = grants {
        for (name, value) in &grants.env {
            builder.env(name, value);
        }
    }
    Context {
        ctx: builder.build(),
        log,
    }
}

const RESOLUTION: Duration = Duration::from_millis(1);

struct CoarseWallClock;

impl HostWallClock for CoarseWallClock {
    fn resolution(&self) -> Duration {
        RESOLUTION
    }

    fn now(&self) -> Duration {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Duration::new(now.as_secs(), now.subsec_millis() * 1_000_000)
    }
}

struct CoarseMonotonicClock {
    start: Instant,
}

impl HostMonotonicClock for CoarseMonotonicClock {
    fn resolution(&self) -> u64 {
        RESOLUTION.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Never zero: Go's run-time library takes that for a clock that does not work, and aborts.
        millis.saturating_add(1).saturating_mul(1_000_000)
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

    #[test]
    fn clocks_are_coarse() {
        assert_eq!(CoarseWallClock.now().subsec_nanos() % 1_000_000, 0);
        let clock = CoarseMonotonicClock {
            start: Instant::now(),
        };
        assert_eq!(clock.now() % 1_000_000, 0);
        assert_ne!(clock.now(), 0);
    }
}
