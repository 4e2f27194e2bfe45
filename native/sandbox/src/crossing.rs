//! What is looked at whenever a guest and the host change places.
//!
//! Owns: the check of time after each host call, and how many bytes the host copies out of the guest
//! on either side of the border. Compiled code looks at the epoch where a function or a loop begins
//! and nowhere else: calls of the host in a straight line would pass by every limit of time, be they
//! functions of WASI or instructions that wasmtime carries out in the host. It must not know what is
//! called, nor on which thread.
//!
//! A call crosses the border a few times in a microsecond, so the way on which nothing is due has no
//! allocation (a box of nothing has none) and no clock: a tick of the epoch's thread is the only
//! thing that can make anything due.

use std::pin::Pin;
use std::task::{Context, Poll};

use wasmtime::{CallHook, CallHookHandler, Result, StoreContextMut};

use crate::instance::Data;
use crate::limits::{LimitKind, Limits};
use crate::meter::{self, Verdict};
use crate::ticker;

/// What the host may copy out of the guest, in bytes of wasmtime's reckoning.
#[derive(Clone, Copy)]
pub struct Fuel {
    /// In one call of the host by the guest.
    host_call: usize,
    /// As the result of a call of the guest.
    result: usize,
}

impl Fuel {
    /// For a call under limits.
    pub fn new(limits: &Limits, result: usize) -> Fuel {
        let host_call = limits.value(LimitKind::HostCall);
        Fuel {
            host_call: usize::try_from(host_call).unwrap_or(usize::MAX),
            result,
        }
    }

    /// With another size of the result.
    pub fn with_result(self, result: usize) -> Fuel {
        Fuel { result, ..self }
    }

    /// For a call whose result the guest hands over in a call of the host.
    pub fn with_returned(self) -> Fuel {
        Fuel {
            host_call: self.host_call.max(self.result),
            ..self
        }
    }
}

/// The hook of every store.
pub struct Crossing;

type Checked<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

impl CallHookHandler<Data> for Crossing {
    // What `#[async_trait]` makes of the function, without a future that has to be boxed each time.
    fn handle_call_event<'hook, 'store, 'checked>(
        &'hook self,
        mut store: StoreContextMut<'store, Data>,
        crossing: CallHook,
    ) -> Checked<'checked>
    where
        'hook: 'checked,
        'store: 'checked,
        Self: 'checked,
    {
        match crossing {
            CallHook::CallingHost => {
                let fuel = store.data().fuel.host_call;
                store.set_hostcall_fuel(fuel);
            }
            // Into a host call that goes on, or to the end of the call, where its result is lifted.
            CallHook::ReturningFromWasm => {
                let fuel = store.data().fuel.result;
                store.set_hostcall_fuel(fuel);
            }
            CallHook::ReturningFromHost
                if ticker::ticks() != store.data().ticks_seen || store.data().egress.is_due() =>
            {
                return check(store);
            }
            CallHook::CallingWasm | CallHook::ReturningFromHost => {}
        }
        Box::pin(Passed)
    }
}

/// A check that finds nothing due.
struct Passed;

impl Future for Passed {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Does after a host call what the epoch's callback does at a check of the guest's own.
#[cold]
fn check(mut store: StoreContextMut<'_, Data>) -> Checked<'_> {
    Box::pin(async move {
        store.data_mut().egress.settle()?;
        let verdict = meter::on_epoch()?;
        if matches!(verdict, Verdict::Yield) {
            yield_once().await;
        }
        let ticks = ticker::ticks();
        store.data_mut().ticks_seen = ticks;
        // The guest's next check would find the same tick.
        store.set_epoch_deadline(meter::SLICE_TICKS);
        Ok(())
    })
}

/// Lets whoever polls this decide when, where and whether it goes on.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
