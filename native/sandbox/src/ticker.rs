//! The epoch ticker: one OS thread that interrupts running guests every millisecond.
//!
//! Owns: the thread, its clock and when it may sleep. It must not know what an interruption leads
//! to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::wasm::Wasms;

const TICK: Duration = Duration::from_millis(1);

/// Ticks without a running call after which the thread sleeps until the next one.
const IDLE_TICKS: u32 = 64;

/// Ticks of every engine of the process, on a cache line of their own.
#[repr(align(64))]
struct Ticks(AtomicU64);

static TICKS: Ticks = Ticks(AtomicU64::new(0));

/// Ticks so far. As long as the number stays the same, no millisecond has passed; a tick of another
/// engine costs whoever sees it one more look at its clock.
pub fn ticks() -> u64 {
    TICKS.0.load(Ordering::Relaxed)
}

/// What the ticker and the calls share.
pub struct Clock {
    started: Instant,
    now_ms: AtomicU64,
    running: AtomicU64,
    asleep: AtomicBool,
    stop: AtomicBool,
}

impl Clock {
    /// Milliseconds since the start, as of the last tick.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// Calls that have begun and not ended.
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Counts a call that is about to run.
    pub fn begin(&self, ticker: &thread::Thread) {
        // SYNC POINT: ticker-sleep. Either the ticker sees this call before it sleeps, or this call
        // sees that the ticker sleeps: both sides write, then read, in one total order.
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            self.now_ms.store(self.elapsed_ms(), Ordering::Relaxed);
            ticker.unpark();
        }
    }

    /// Counts a call that has ended.
    pub fn end(&self) {
        self.running.fetch_sub(1, Ordering::Release);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The thread.
pub struct Ticker {
    clock: Arc<Clock>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts it for an engine's guests.
    pub fn start(wasms: Arc<Wasms>) -> std::io::Result<Ticker> {
        let clock = Arc::new(Clock {
            started: Instant::now(),
            now_ms: AtomicU64::new(0),
            running: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&clock);
        let thread = thread::Builder::new()
            .name("atoll-epoch".into())
            .spawn(move || {
                // Interrupting late would let a spinning guest hold its thread longer. Needs a
                // privilege that may be missing; then the default priority has to do.
                crate::engine::set_priority(-10);
                run(&shared, &wasms);
            })?;
        Ok(Ticker {
            clock,
            thread: Some(thread),
        })
    }

    /// What calls use.
    pub fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// The thread, to be woken by [`Clock::begin`].
    pub fn thread(&self) -> Option<thread::Thread> {
        self.thread.as_ref().map(|t| t.thread().clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.clock.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A ticker that panicked has nothing left to join.
            let _ = thread.join();
        }
    }
}

fn run(clock: &Clock, wasms: &Wasms) {
    let mut idle = 0;
    while !clock.stop.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        TICKS.0.fetch_add(1, Ordering::Relaxed);
        wasms.tick();
        clock.now_ms.store(clock.elapsed_ms(), Ordering::Relaxed);
        idle = if clock.running.load(Ordering::Relaxed) == 0 {
            idle + 1
        } else {
            0
        };
        if idle >= IDLE_TICKS {
            idle = 0;
            sleep(clock);
        }
    }
}

fn sleep(clock: &Clock) {
    // SYNC POINT: ticker-sleep, the other side of `Clock::begin`.
    clock.asleep.store(true, Ordering::SeqCst);
    while clock.running.load(Ordering::SeqCst) == 0 && !clock.stop.load(Ordering::SeqCst) {
        thread::park();
    }
    clock.asleep.store(false, Ordering::SeqCst);
}
