//! What one call may send, receive and hold open, all its requests together.
//!
//! Owns: the sum of bytes, the count of connections, the end of those that the call leaves behind,
//! and what the guest's thread has to be told of what happened on others. It must not know what
//! travels over a connection.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;
use wasmtime_wasi_http::Error as HttpError;

use super::asked::Asked;
use crate::limits::{LimitExceeded, LimitKind, Limits};

/// The budget of a call that sends something.
pub struct CallBudget {
    bytes_max: u64,
    connections_max: u64,
    bytes: AtomicU64,
    due: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    closed: bool,
    last: u64,
    /// Connections by number; none while one is still being made.
    open: HashMap<u64, Option<AbortHandle>>,
    exceeded: Option<LimitExceeded>,
    asked: Vec<Asked>,
}

/// What the guest's thread is to be told.
pub struct Due {
    /// The limit that the call went over.
    pub exceeded: Option<LimitExceeded>,
    /// What was asked for and nobody was told of yet.
    pub asked: Vec<Asked>,
}

impl CallBudget {
    /// That of a call under limits.
    pub fn new(limits: &Limits) -> Arc<CallBudget> {
        Arc::new(CallBudget {
            bytes_max: limits.egress_bytes,
            connections_max: limits.connections,
            bytes: AtomicU64::new(0),
            due: AtomicBool::new(false),
            inner: Mutex::default(),
        })
    }

    /// Counts bytes that went either way. An error closes their connection.
    pub fn charge(&self, bytes: usize) -> io::Result<()> {
        let before = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if before.saturating_add(bytes as u64) <= self.bytes_max {
            return Ok(());
        }
        self.exceed(LimitKind::Egress, self.bytes_max);
        Err(io::Error::other("the call's bytes are used up"))
    }

    /// A place for one more connection.
    pub fn open(self: &Arc<CallBudget>) -> Result<Open, HttpError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(HttpError::ConnectionTerminated);
        }
        if inner.open.len() as u64 >= self.connections_max {
            drop(inner);
            self.exceed(LimitKind::Connections, self.connections_max);
            return Err(HttpError::ConnectionLimitReached);
        }
        inner.last += 1;
        let number = inner.last;
        inner.open.insert(number, None);
        drop(inner);
        Ok(Open {
            budget: Arc::clone(self),
            number,
        })
    }

    /// Keeps what was asked for, for the guest's thread, which may tell of it.
    pub fn tell(&self, asked: Asked) {
        self.lock().asked.push(asked);
        self.due.store(true, Ordering::Release);
    }

    /// Whether there is something for the guest's thread.
    pub fn is_due(&self) -> bool {
        self.due.load(Ordering::Acquire)
    }

    /// What there is for it. A limit stays exceeded.
    pub fn take_due(&self) -> Due {
        let mut inner = self.lock();
        self.due.store(inner.exceeded.is_some(), Ordering::Release);
        Due {
            exceeded: inner.exceeded,
            asked: std::mem::take(&mut inner.asked),
        }
    }

    /// The call has ended, and with it what it has left open.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let open = std::mem::take(&mut inner.open);
        drop(inner);
        for driver in open.into_values().flatten() {
            driver.abort();
        }
    }

    fn exceed(&self, kind: LimitKind, value: u64) {
        self.lock()
            .exceeded
            .get_or_insert(LimitExceeded { kind, value });
        self.due.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the budget of the call that uses it.
pub struct Open {
    budget: Arc<CallBudget>,
    number: u64,
}

impl Open {
    /// Says which task keeps the connection going; it ends with the call.
    pub fn hold(&self, driver: AbortHandle) -> Result<(), HttpError> {
        let mut inner = self.budget.lock();
        if inner.closed {
            driver.abort();
            return Err(HttpError::ConnectionTerminated);
        }
        inner.open.insert(self.number, Some(driver));
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.budget.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(egress_bytes: u64, connections: u64) -> Arc<CallBudget> {
        CallBudget::new(&Limits {
            egress_bytes,
            connections,
            ..Limits::default()
        })
    }

    #[test]
    fn bytes_of_both_ways_are_summed() {
        let budget = budget(10, 1);
        assert!(budget.charge(4).is_ok());
        assert!(budget.charge(6).is_ok());
        assert!(!budget.is_due());
        assert!(budget.charge(1).is_err());
        assert!(budget.is_due());
        let exceeded = budget.take_due().exceeded.expect("a limit");
        assert_eq!((exceeded.kind, exceeded.value), (LimitKind::Egress, 10));
        assert!(budget.is_due(), "it stays exceeded");
    }

    #[test]
    fn connections_are_counted_while_they_are_open() {
        let budget = budget(10, 2);
        let first = budget.open().expect("a place");
        let _second = budget.open().expect("a place");
        drop(first);
        let _third = budget.open().expect("a place");
        assert!(matches!(
            budget.open(),
            Err(HttpError::ConnectionLimitReached)
        ));
        let exceeded = budget.take_due().exceeded.expect("a limit");
        assert_eq!((exceeded.kind, exceeded.value), (LimitKind::Connections, 2));
    }

    #[test]
    fn the_end_of_a_call_is_the_end_of_its_connections() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let driver = runtime.spawn(std::future::pending::<()>());
        let late = runtime.spawn(std::future::pending::<()>());
        let budget = budget(10, 2);
        let open = budget.open().expect("a place");
        let making = budget.open().expect("a place");
        assert!(open.hold(driver.abort_handle()).is_ok());
        budget.close();
        assert!(making.hold(late.abort_handle()).is_err());
        assert!(budget.open().is_err());
        runtime.block_on(async {
            assert!(driver.await.is_err_and(|e| e.is_cancelled()));
            assert!(late.await.is_err_and(|e| e.is_cancelled()));
        });
    }
}
