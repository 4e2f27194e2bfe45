//! WASI 0.2 with what is granted and no more.
//!
//! Owns: which imports exist, what they do (no arguments, the granted environment, no files, no
//! network, clocks of a millisecond, randomness of its own for each call) and where standard output
//! and error go. It must not know how calls are run.

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

use crate::abi::{ATOLL_FLAG_STDERR, ATOLL_KIND_LOG};
use crate::grants::Grants;
use crate::host::CallRef;
use crate::http_budget;
use crate::instance::Data;
use crate::limits::{LimitExceeded, LimitKind, Limits, RANDOM_BYTES};

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

/// Most bytes of a line in one LOG event; a longer line becomes several.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// What a line counts for at least, in bytes: each one is an event of its own.
const LINE_COST_MIN: u64 = 16;

/// Whether an import, as in `wasi:io/streams@0.2.6`, is one that links.
pub fn is_known(import: &str) -> bool {
    match import.split_once('@') {
        Some((name, version)) => {
            (version == "0.2" || version.starts_with("0.2.")) && KNOWN.contains(&name)
        }
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
    log: Arc<Mutex<Log>>,
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
        millis.saturating_mul(1_000_000)
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
        // Only WASI 0.3 asks for this form, and nothing of it links.
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

/// Both outputs of a call: counted together, sent line by line.
struct Log {
    call: Option<CallRef>,
    left: u64,
    limit: u64,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Log {
    fn new(call: Option<CallRef>, limit: u64) -> Log {
        Log {
            call,
            left: limit,
            limit,
            out: Vec::new(),
            err: Vec::new(),
        }
    }

    fn write(&mut self, stderr: bool, bytes: &[u8]) -> std::result::Result<(), LimitExceeded> {
        let partial = if stderr { &self.err } else { &self.out };
        let (fits, cost) = affordable(partial.len(), bytes, self.left);
        self.left -= cost;
        // The beginning that still fits tells what the guest was about to say.
        self.lines(stderr, &bytes[..fits]);
        if fits < bytes.len() {
            self.left = 0;
            return Err(LimitExceeded {
                kind: LimitKind::Log,
                value: self.limit,
            });
        }
        Ok(())
    }

    fn lines(&mut self, stderr: bool, bytes: &[u8]) {
        let call = self.call;
        let partial = if stderr { &mut self.err } else { &mut self.out };
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) if partial.is_empty() => send(call, stderr, line),
                Some(line) => {
                    partial.extend_from_slice(line);
                    send(call, stderr, partial);
                    partial.clear();
                }
                None => {
                    partial.extend_from_slice(piece);
                    if partial.len() >= LINE_BYTES_MAX {
                        send(call, stderr, partial);
                        partial.clear();
                    }
                }
            }
        }
    }
}

/// How many of the bytes, written behind `partial` bytes of a line, may be sent for `left` bytes of
/// the limit, and what that costs: a line is an event, however short it is.
fn affordable(partial: usize, bytes: &[u8], left: u64) -> (usize, u64) {
    let (mut fits, mut cost, mut line) = (0, 0, partial as u64);
    for piece in bytes.split_inclusive(|&b| b == b'\n') {
        let length = piece.len() as u64;
        line += length;
        let more = match piece.last() {
            Some(b'\n') => {
                let short = LINE_COST_MIN.saturating_sub(std::mem::take(&mut line));
                length + short
            }
            _ => length,
        };
        if more > left - cost {
            let rest = (left - cost).min(length - 1);
            return (fits + rest as usize, cost + rest);
        }
        fits += piece.len();
        cost += more;
    }
    (fits, cost)
}

impl Drop for Log {
    fn drop(&mut self) {
        for (stderr, partial) in [(false, &self.out), (true, &self.err)] {
            if !partial.is_empty() {
                send(self.call, stderr, partial);
            }
        }
    }
}

fn send(call: Option<CallRef>, stderr: bool, line: &[u8]) {
    let Some(call) = call else { return };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let flags = if stderr { ATOLL_FLAG_STDERR } else { 0 };
    if line.is_empty() {
        call.event(ATOLL_KIND_LOG, flags, line);
    }
    for piece in line.chunks(LINE_BYTES_MAX) {
        // Under load the core drops and counts it; the next line's event says how many.
        call.event(ATOLL_KIND_LOG, flags, piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_known_by_name_and_version() {
        assert!(is_known("wasi:io/streams@0.2.6"));
        assert!(is_known("wasi:http/types@0.2.0"));
        assert!(!is_known("wasi:io/streams@0.3.0"));
        assert!(!is_known("wasi:io/streams"));
        assert!(!is_known("wasi:nn/tensor@0.2.0"));
        assert!(!is_known("acme:thing/api@0.2.0"));
    }

    #[test]
    fn a_short_line_costs_as_much_as_an_event() {
        assert_eq!(affordable(0, b"", 10), (0, 0));
        assert_eq!(affordable(0, b"no line", 10), (7, 7));
        assert_eq!(affordable(0, b"no line", 3), (3, 3));
        assert_eq!(affordable(0, b"a line of twenty...\n", 20), (20, 20));
        assert_eq!(affordable(0, b"\n\n\n", 100), (3, 48));
        assert_eq!(affordable(0, b"\n\n\n", 40), (2, 32));
        assert_eq!(affordable(12, b"end\n\n", 100), (5, 20));
        assert_eq!(affordable(0, &[b'\n'; 65_536], 65_536), (4_096, 65_536));
    }

    #[test]
    fn many_short_lines_go_over_the_limit() {
        let mut log = Log::new(None, 65_536);
        assert!(log.write(false, &[b'\n'; 4_096]).is_ok());
        let error = log.write(true, b"\n").expect_err("nothing is left");
        assert_eq!((error.kind, error.value), (LimitKind::Log, 65_536));
    }

    #[test]
    fn clocks_are_coarse() {
        assert_eq!(CoarseWallClock.now().subsec_nanos() % 1_000_000, 0);
        let clock = CoarseMonotonicClock {
            start: Instant::now(),
        };
        assert_eq!(clock.now() % 1_000_000, 0);
    }
}
