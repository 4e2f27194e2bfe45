//! What the guest on this thread has used of its CPU slice.
//!
//! Owns: the clock of the poll that runs on this thread, shared by whoever polls a call and by the
//! epoch callback that interrupts its guest. Both run on the same thread, so it needs no lock. It
//! must not know calls, stores or frames.

use std::cell::Cell;

use wasmtime::{Error, Result};

use crate::limits::{LimitExceeded, LimitKind};
use crate::ticker;

/// Epoch ticks until the next interruption of a guest: at most one millisecond.
pub const SLICE_TICKS: u64 = 1;

/// CPU time after the first interruption that ends an inline poll. The first one tells nothing: a
/// tick falls into any call, and a thread that was not scheduled for a while has used nothing.
const INLINE_CPU_NS: u64 = 500_000;

/// CPU time of inline polls that is too long, however it came to be; and the ticks of the epoch in
/// which it may have passed.
const INLINE_HELD_NS: u64 = 3_000_000;
const INLINE_HELD_TICKS: u64 = 3;

/// How old a look at the thread's CPU time may be to stand for the beginning of an inline poll: what
/// else the thread did since is charged to the call, a third of what is too long at most.
const RECENT_NS: u64 = 1_000_000;

/// CPU time charged for what an inline poll used before its first interruption.
const INLINE_TICK_NS: u64 = 1_000_000;

struct Meter {
    /// The epoch's tick at the beginning of an inline poll.
    began_ticks: Cell<u64>,
    /// Thread CPU time then or shortly before; 0: not looked at.
    began_cpu_ns: Cell<u64>,
    /// When that was looked at last, by the monotonic clock, and what it was.
    looked_at_ns: Cell<u64>,
    looked_cpu_ns: Cell<u64>,
    worker: Cell<bool>,
    /// The guest shall not go on on this thread.
    overran: Cell<bool>,
    /// Thread CPU time at the first interruption of an inline poll; 0: there was none.
    seen_at_ns: Cell<u64>,
    used_ns: Cell<u64>,
    /// Thread CPU time at which the limit is reached.
    limit_at_ns: Cell<u64>,
    limit_ms: Cell<u64>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            began_ticks: Cell::new(0),
            began_cpu_ns: Cell::new(0),
            looked_at_ns: Cell::new(0),
            looked_cpu_ns: Cell::new(0),
            worker: Cell::new(false),
            overran: Cell::new(false),
            seen_at_ns: Cell::new(0),
            used_ns: Cell::new(0),
            limit_at_ns: Cell::new(0),
            limit_ms: Cell::new(0),
        }
    };
}

/// Before the polls on the caller's thread. Looking at the thread's CPU time is a system call, so
/// that is done only for a plugin that is suspected of holding the thread, and once a millisecond;
/// any other's time is told by the ticks.
pub fn begin_inline(suspected: bool) {
    METER.with(|m| {
        m.began_ticks.set(ticker::ticks());
        m.began_cpu_ns
            .set(if suspected { recent_cpu_ns(m) } else { 0 });
        m.worker.set(false);
        m.overran.set(false);
        m.seen_at_ns.set(0);
        m.used_ns.set(0);
    });
}

/// CPU time to charge for the inline polls that just ended, in nanoseconds.
pub fn charged_inline() -> u64 {
    METER.with(|m| m.used_ns.get())
}

/// What the inline polls that just ended did to the caller's thread.
pub enum Held {
    /// Nothing to speak of.
    Shortly,
    /// Long by the ticks. The thread may not have run all the time: the next call tells.
    Perhaps,
    /// For so many milliseconds of CPU time: bulk instructions and the copying of arguments and
    /// results are not interrupted by an epoch.
    Long(u64),
}

/// How long the inline polls that just ended held the caller's thread.
pub fn held() -> Held {
    METER.with(|m| {
        if ticker::ticks().wrapping_sub(m.began_ticks.get()) < INLINE_HELD_TICKS {
            return Held::Shortly;
        }
        if m.began_cpu_ns.get() == 0 {
            return Held::Perhaps;
        }
        match thread_cpu_ns().saturating_sub(m.began_cpu_ns.get()) {
            cpu_ns if cpu_ns < INLINE_HELD_NS => Held::Shortly,
            cpu_ns => Held::Long(cpu_ns / 1_000_000),
        }
    })
}

/// Whether the inline polls that just ended overran their slice.
pub fn overran() -> bool {
    METER.with(|m| m.overran.get())
}

/// Before a poll on a worker; returns the thread's CPU time for [`end_worker`].
pub fn begin_worker(used_ns: u64, limit_ms: u64) -> u64 {
    let now = thread_cpu_ns();
    METER.with(|m| {
        m.worker.set(true);
        m.limit_ms.set(limit_ms);
        let left = limit_ms.saturating_mul(1_000_000).saturating_sub(used_ns);
        m.limit_at_ns.set(now.saturating_add(left));
    });
    now
}

/// After a poll on a worker: CPU time it took in nanoseconds.
pub fn end_worker(begin: u64) -> u64 {
    METER.with(|m| m.worker.set(false));
    thread_cpu_ns().saturating_sub(begin)
}

/// What a guest does after an interruption.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    GoOn,
    /// Whoever polls it decides.
    Yield,
}

/// What is done about a tick of the epoch: let the guest go on, yield, or end the call that used up
/// its CPU time.
pub fn on_epoch() -> Result<Verdict> {
    METER.with(|m| {
        if m.worker.get() {
            on_worker(m)
        } else {
            Ok(on_caller(m))
        }
    })
}

fn on_worker(m: &Meter) -> Result<Verdict> {
    if thread_cpu_ns() >= m.limit_at_ns.get() {
        let value = m.limit_ms.get();
        return Err(Error::new(LimitExceeded {
            kind: LimitKind::Cpu,
            value,
        }));
    }
    Ok(Verdict::Yield)
}

fn on_caller(m: &Meter) -> Verdict {
    let now = thread_cpu_ns();
    if m.seen_at_ns.get() == 0 {
        m.seen_at_ns.set(now);
        m.used_ns.set(INLINE_TICK_NS);
        return Verdict::GoOn;
    }
    let used = now.saturating_sub(m.seen_at_ns.get());
    m.used_ns.set(INLINE_TICK_NS + used);
    if used < INLINE_CPU_NS {
        return Verdict::GoOn;
    }
    m.overran.set(true);
    Verdict::Yield
}

/// CPU time of this thread in nanoseconds, as of a millisecond ago at the most.
fn recent_cpu_ns(m: &Meter) -> u64 {
    let now = monotonic_ns();
    if now.saturating_sub(m.looked_at_ns.get()) >= RECENT_NS {
        m.looked_at_ns.set(now);
        m.looked_cpu_ns.set(thread_cpu_ns());
    }
    m.looked_cpu_ns.get()
}

/// CPU time of this thread in nanoseconds.
fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The monotonic clock in nanoseconds, the one of `deadline_ns`.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return 0;
    }
    (time.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inline_poll_yields_once_it_has_used_cpu_time() {
        begin_inline(false);
        assert_eq!(charged_inline(), 0);
        assert_eq!(on_epoch().ok(), Some(Verdict::GoOn));
        assert!(!overran());
        // A thread that waits uses nothing, however many ticks pass.
        std::thread::sleep(std::time::Duration::from_millis(3));
        assert_eq!(on_epoch().ok(), Some(Verdict::GoOn));
        let begin = thread_cpu_ns();
        while thread_cpu_ns() - begin <= INLINE_CPU_NS {}
        assert_eq!(on_epoch().ok(), Some(Verdict::Yield));
        assert!(overran());
        assert!(charged_inline() >= INLINE_CPU_NS + INLINE_TICK_NS);
    }

    #[test]
    fn a_suspect_s_time_counts_from_a_look_that_is_at_most_a_millisecond_old() {
        begin_inline(true);
        let first = METER.with(|m| m.began_cpu_ns.get());
        assert_ne!(first, 0);
        let begin = thread_cpu_ns();
        while thread_cpu_ns() - begin <= 2 * RECENT_NS {}
        begin_inline(true);
        let second = METER.with(|m| m.began_cpu_ns.get());
        assert!(second - first > RECENT_NS);
        assert!(thread_cpu_ns() - second <= 2 * RECENT_NS);
    }

    #[test]
    fn a_worker_poll_ends_when_the_cpu_time_is_used_up() {
        let begin = begin_worker(0, 1_000_000);
        assert!(on_epoch().is_ok());
        end_worker(begin);
        begin_worker(5_000_000, 5);
        let error = on_epoch().err();
        assert!(error.is_some_and(|e| e.downcast_ref::<LimitExceeded>().is_some()));
    }
}
