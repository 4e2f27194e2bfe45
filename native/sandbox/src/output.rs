//! What a guest writes and logs, on its way to the core.
//!
//! Owns: the lines of standard output and error and the messages of `wasi:logging`, counted together
//! against one limit and sent one by one. It must not know how the guest hands them over.

use crate::abi::{ATOLL_FLAG_STDERR, ATOLL_KIND_LOG, ATOLL_LINE_PROGRESS};
use crate::host::CallRef;
use crate::limits::{LimitExceeded, LimitKind};
use crate::logging::Level;

/// Most bytes of a line in one LOG event; a longer line becomes several.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of a message's context; the rest of it is left out.
const CONTEXT_BYTES_MAX: usize = 256;

/// What a line counts for at least, in bytes: each one is an event of its own.
const LINE_COST_MIN: u64 = 16;

/// Both outputs of a call: counted together, sent line by line.
pub struct Log {
    call: Option<CallRef>,
    left: u64,
    limit: u64,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Log {
    /// For a call, which may write so many bytes.
    pub fn new(call: Option<CallRef>, limit: u64) -> Log {
        Log {
            call,
            left: limit,
            limit,
            out: Vec::new(),
            err: Vec::new(),
        }
    }

    /// Takes what the guest writes to standard output or error.
    pub fn write(&mut self, stderr: bool, bytes: &[u8]) -> Result<(), LimitExceeded> {
        let partial = if stderr { &self.err } else { &self.out };
        let (fits, cost) = affordable(partial.len(), bytes, self.left);
        self.left -= cost;
        // The beginning that still fits tells what the guest was about to say.
        self.lines(stderr, &bytes[..fits]);
        if fits < bytes.len() {
            self.left = 0;
            return Err(self.exceeded());
        }
        Ok(())
    }

    /// Sends a report of progress, as long as there is room: to be far is no reason to end a call.
    pub fn progress(&mut self, line: &[u8]) {
        let cost = LINE_COST_MIN.max(line.len() as u64);
        if cost <= self.left
            && let Some(call) = self.call
        {
            self.left -= cost;
            call.event(ATOLL_KIND_LOG, ATOLL_LINE_PROGRESS, line);
        }
    }

    /// Takes a message that the guest logs at a level, and sends it.
    pub fn message(
        &mut self,
        level: Level,
        context: &str,
        message: &str,
    ) -> Result<(), LimitExceeded> {
        let context = &context[..context.floor_char_boundary(CONTEXT_BYTES_MAX)];
        // The context ends at the first zero byte.
        let mut line = context.replace('\0', "\u{fffd}").into_bytes();
        line.push(0);
        let begin = line.len();
        let mut rest = message;
        loop {
            let (piece, more) = rest.split_at(rest.floor_char_boundary(LINE_BYTES_MAX));
            let bytes = (begin + piece.len()) as u64;
            let cost = bytes.max(LINE_COST_MIN);
            let fits = piece.floor_char_boundary(
                usize::try_from(self.left.saturating_sub(begin as u64)).unwrap_or(usize::MAX),
            );
            line.truncate(begin);
            line.extend_from_slice(&piece.as_bytes()[..fits]);
            if cost <= self.left || fits > 0 {
                // Under load the core drops and counts it, as any line.
                if let Some(call) = self.call {
                    call.event(ATOLL_KIND_LOG, level.line(), &line);
                }
            }
            if cost > self.left {
                self.left = 0;
                return Err(self.exceeded());
            }
            self.left -= cost;
            rest = more;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    fn exceeded(&self) -> LimitExceeded {
        LimitExceeded {
            kind: LimitKind::Log,
            value: self.limit,
        }
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
    fn a_message_counts_with_its_context_and_no_less_than_a_line() {
        let mut log = Log::new(None, 100);
        assert!(log.message(Level::Info, "", "").is_ok());
        assert_eq!(log.left, 84);
        assert!(
            log.message(Level::Info, "context", "a message of more")
                .is_ok()
        );
        assert_eq!(log.left, 84 - 25);
        let error = log.message(Level::Critical, "", &"x".repeat(100));
        let error = error.expect_err("it is too much");
        assert_eq!(
            (error.kind, error.value, log.left),
            (LimitKind::Log, 100, 0)
        );
        // A long one is as many lines as it takes, each with the context.
        let mut log = Log::new(None, 1_000_000);
        let long = "\u{e4}".repeat(LINE_BYTES_MAX);
        assert!(log.message(Level::Trace, "ab", &long).is_ok());
        assert_eq!(log.left, 1_000_000 - 2 * (3 + LINE_BYTES_MAX as u64));
        let long = "c".repeat(10_000);
        assert!(log.message(Level::Trace, &long, "").is_ok());
        assert_eq!(log.left, 1_000_000 - 2 * (3 + LINE_BYTES_MAX as u64) - 257);
    }
}
