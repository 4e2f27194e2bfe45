//! WASI 0.3 with what is granted and no more.
//!
//! Owns: which of its imports exist, and where standard output and error go. What they do is what
//! those of WASI 0.2 do: both share one context. It must not know how calls are run.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::component::{
    Access, FutureReader, HasData, Linker, Source, StreamConsumer, StreamReader, StreamResult,
};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p3::bindings::cli;
use wasmtime_wasi::p3::bindings::cli::types::ErrorCode;
use wasmtime_wasi::p3::{clocks, filesystem, random, sockets};
use wasmtime_wasi_http::p3::add_to_linker as add_http_to_linker;

use crate::http_budget3;
use crate::instance::Data;
use crate::output::Log;

/// The last version that links, and with it those before it.
pub const VERSION: (u64, &str) = (0, "0.3.0");

/// Interfaces that link, at any 0.3 version up to [`VERSION`].
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
    "wasi:cli/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:clocks/types",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/client",
    "wasi:http/types",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/types",
];

/// Whether an import, as in `wasi:clocks/types@0.3.0`, is one that links.
pub fn is_known(name: &str, version: &str) -> bool {
    let known = version == "0.3"
        || version
            .strip_prefix("0.3.")
            .and_then(|patch| patch.parse::<u64>().ok())
            .is_some_and(|patch| patch <= VERSION.0);
    known && KNOWN.contains(&name)
}

/// Puts every known import into a linker.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    let l = linker;
    clocks::add_to_linker(l)?;
    random::add_to_linker(l)?;
    filesystem::add_to_linker(l)?;
    sockets::add_to_linker(l)?;
    cli::types::add_to_linker::<Data, Outputs>(l, Outputs::of)?;
    cli::environment::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::exit::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::stdin::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::stdout::add_to_linker::<Data, Outputs>(l, Outputs::of)?;
    cli::stderr::add_to_linker::<Data, Outputs>(l, Outputs::of)?;
    cli::terminal_input::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_output::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_stdin::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_stdout::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    cli::terminal_stderr::add_to_linker::<Data, WasiCli>(l, Data::cli)?;
    add_http_to_linker(l)?;
    http_budget3::link(l)
}

/// Standard output and error. wasmtime's own report what cannot be written to the guest, which may
/// go on writing; a guest whose budget is used up is to end.
struct Outputs(Arc<Mutex<Log>>);

impl HasData for Outputs {
    type Data<'a> = Outputs;
}

impl Outputs {
    fn of(data: &mut Data) -> Outputs {
        Outputs(data.log())
    }
}

impl cli::types::Host for Outputs {}
impl cli::stdout::Host for Outputs {}
impl cli::stderr::Host for Outputs {}

type Ended = FutureReader<Result<(), ErrorCode>>;

impl<T> cli::stdout::HostWithStore<T> for Outputs {
    fn write_via_stream(store: Access<'_, T, Self>, from: StreamReader<u8>) -> Result<Ended> {
        write_lines(store, from, false)
    }
}

impl<T> cli::stderr::HostWithStore<T> for Outputs {
    fn write_via_stream(store: Access<'_, T, Self>, from: StreamReader<u8>) -> Result<Ended> {
        write_lines(store, from, true)
    }
}

fn write_lines<T>(
    mut store: Access<'_, T, Outputs>,
    from: StreamReader<u8>,
    stderr: bool,
) -> Result<Ended> {
    let Outputs(log) = store.get();
    let (ends, ended) = oneshot::channel::<()>();
    let lines = Lines {
        log,
        stderr,
        _ends: ends,
    };
    from.pipe(&mut store, lines)?;
    FutureReader::new(&mut store, async {
        // It ends with the stream, by the fall of the channel's other side.
        let _ = ended.await;
        wasmtime::error::Ok(Ok(()))
    })
}

/// What a stream's bytes go to.
struct Lines {
    log: Arc<Mutex<Log>>,
    stderr: bool,
    _ends: oneshot::Sender<()>,
}

impl<T> StreamConsumer<T> for Lines {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        store: StoreContextMut<'_, T>,
        source: Source<'_, u8>,
        _finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let mut source = source.as_direct(store);
        let bytes = source.remaining();
        let length = bytes.len();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(self.stderr, bytes)?;
        source.mark_read(length);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_known_up_to_the_last_version() {
        assert!(is_known("wasi:cli/stdout", "0.3.0"));
        assert!(is_known("wasi:http/client", "0.3"));
        assert!(!is_known("wasi:cli/stdout", "0.3.1"));
        assert!(!is_known("wasi:cli/stdout", "0.3.0-rc-2026-01-06"));
        assert!(!is_known("wasi:clocks/wall-clock", "0.3.0"));
        assert!(!is_known("wasi:io/streams", "0.3.0"));
        assert!(VERSION.1.ends_with(&format!(".{}", VERSION.0)));
    }
}
