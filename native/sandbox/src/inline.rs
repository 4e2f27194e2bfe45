//! Optimistic inline execution: a call is polled on the caller's thread first, and goes on on the
//! workers when it has to wait or takes too long.
//!
//! Owns: how a call starts, who polls it first and when it moves. It must not know what a call does
//! nor how it goes on on the workers.
//!
//! A thread hop costs more than most calls, so the hop is paid only by calls that need it:
//! 1. the caller's thread enters the runtime, so that timers and WASI find it;
//! 2. it polls with a waker that sets a flag, and polls again while the flag was set;
//! 3. a guest that is interrupted by the epoch or waits for something is handed to the workers,
//!    which poll it at once: what was woken in between is not lost.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::abi::{
    ATOLL_FLAG_DETACHED, ATOLL_FLAG_END, ATOLL_INVALID_ARGUMENT, ATOLL_KIND_CALL,
    ATOLL_KIND_CONTROL, ATOLL_KIND_HTTP, ATOLL_OK, AtollRequest, AtollStatus,
};
use crate::call::{self, Job, Payload};
use crate::control::{self, Work};
use crate::engine::Engine;
use crate::error::{Outcome, forget_panic};
use crate::exports::{Callee, Instances};
use crate::host::{CallRef, Reply};
use crate::http;
use crate::limits::Limits;
use crate::meter;
use crate::plugin::Plugin;
use crate::reply::{give_buffer, take_buffer};
use crate::state::CallState;
use crate::task::{self, Begun, CallFuture, Deadline, Guard, Move, abandon};

/// Payloads above this start on the workers: copying them is not interrupted by an epoch.
const INLINE_PAYLOAD_BYTES: u32 = 64 * 1024;

/// Most bytes of a CONTROL request; a component's bytes come by `atoll_blob_put`.
const CONTROL_PAYLOAD_BYTES: u32 = 64 * 1024;

/// Why a frame of another kind is refused.
const KINDS: &str = "frames are CALL, HTTP or CONTROL";

/// Polls on the caller's thread of a call that keeps waking itself.
const INLINE_POLLS: u32 = 64;

/// Starts a call; see `call_start` of the engine's table.
pub fn start(
    engine: &Arc<Engine>,
    call: CallRef,
    request: &AtollRequest,
    state_out: &mut *mut c_void,
) -> AtollStatus {
    let reply = Reply::new(call);
    *state_out = ptr::null_mut();
    // SAFETY: the core keeps the payload in place and unwritten until the reply, and the reply is
    // sent after the last use.
    let payload = unsafe { Payload::new(request, call) };
    if request.kind == u32::from(ATOLL_KIND_CONTROL) {
        // Read on this thread, and as a whole.
        if request.payload_length > CONTROL_PAYLOAD_BYTES || request.parts_count > 0 {
            return finish(reply, control_too_long());
        }
        let Work { future, guard } = control::run(engine, call, payload, request.flags);
        let call = Move {
            future,
            reply,
            state: Arc::new(CallState::new(call)),
            guard,
            deadline: Deadline::of(request),
            used_ns: 0,
        };
        return task::spawn(engine, call, state_out);
    }
    let Some(callee) = engine.exports().get(request.handle) else {
        return finish(reply, Outcome::not_found());
    };
    let plugin = &callee.export.plugin;
    let limits = plugin.limits();
    let whole = request.kind != u32::from(ATOLL_KIND_HTTP)
        || request.flags & u32::from(ATOLL_FLAG_END) != 0;
    // First: while no call runs the clock stands still.
    let running = Begun::of(engine);
    let inline = whole && may_run_inline(engine, request, plugin);
    let prepared = Prepared {
        callee: Arc::clone(&callee),
        limits,
        call,
        payload,
        flags: request.flags,
    };
    let (future, state) = match u8::try_from(request.kind) {
        Ok(ATOLL_KIND_CALL) => (prepared.call(), None),
        Ok(ATOLL_KIND_HTTP) => prepared.http(whole),
        _ => return finish(reply, Outcome::unsupported(KINDS)),
    };
    let mut future = future;
    if inline {
        let suspected = plugin.suspected(engine.clock().now_ms());
        let polled = poll_inline(engine, future.as_mut(), suspected);
        plugin.held(engine.clock().now_ms(), meter::held());
        match polled {
            Inline::Done(outcome) => {
                drop(future);
                drop(running);
                return finish(reply, outcome);
            }
            Inline::Waits => {}
            Inline::Overran => plugin.overran(engine.clock().now_ms()),
            Inline::Panicked => {
                abandon(future);
                return finish(reply, panicked(&callee.instances));
            }
        }
    }
    let call = Move {
        future,
        reply,
        state: state.unwrap_or_else(|| Arc::new(CallState::new(call))),
        guard: Some(Guard {
            plugin: Arc::clone(plugin),
            instances: callee.instances.clone(),
            limits,
            running: Some(running.keep()),
        }),
        deadline: Deadline::of(request),
        used_ns: if inline { meter::charged_inline() } else { 0 },
    };
    task::spawn(engine, call, state_out)
}

#[cold]
fn control_too_long() -> Outcome {
    let message =
        format!("a CONTROL request has at most {CONTROL_PAYLOAD_BYTES} bytes, in one piece");
    Outcome::message(ATOLL_INVALID_ARGUMENT, message)
}

/// Whether the caller's thread polls a call first.
fn may_run_inline(engine: &Engine, request: &AtollRequest, plugin: &Plugin) -> bool {
    request.inline_allowed != 0
        && request.flags & u32::from(ATOLL_FLAG_DETACHED) == 0
        && request.payload_length <= INLINE_PAYLOAD_BYTES
        && !plugin.overran_lately(engine.clock().now_ms())
}

struct Prepared {
    callee: Arc<Callee>,
    limits: Limits,
    call: CallRef,
    payload: Payload,
    flags: u32,
}

impl Prepared {
    fn call(self) -> CallFuture {
        let Prepared {
            callee,
            limits,
            call,
            payload,
            flags,
        } = self;
        Box::pin(call::run(Job {
            callee,
            limits,
            call,
            payload,
            flags,
            out: take_buffer(),
        }))
    }

    fn http(self, whole: bool) -> (CallFuture, Option<Arc<CallState>>) {
        let state = Arc::new(CallState::new(self.call));
        let job = http::Job {
            callee: self.callee,
            limits: self.limits,
            state: Arc::clone(&state),
            payload: self.payload,
            whole,
        };
        (Box::pin(http::run(job)), Some(state))
    }
}

enum Inline {
    Done(Outcome),
    Waits,
    Overran,
    Panicked,
}

/// The end of a call that panicked, and of the instance it had.
fn panicked(instances: &Instances) -> Outcome {
    let outcome = Outcome::panic();
    instances.ended_by(&outcome);
    outcome
}

/// Polls on the caller's thread until the call ends, waits or has used its slice.
fn poll_inline(
    engine: &Engine,
    mut future: Pin<&mut (dyn Future<Output = Outcome> + Send)>,
    suspected: bool,
) -> Inline {
    let _entered = engine.runtime().enter();
    WAKER.with(|(flag, waker)| {
        let mut context = Context::from_waker(waker);
        meter::begin_inline(suspected);
        for _ in 0..INLINE_POLLS {
            flag.set.store(false, Ordering::Relaxed);
            match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
                Ok(Poll::Ready(outcome)) => return Inline::Done(outcome),
                Ok(Poll::Pending) => {}
                Err(panic) => {
                    forget_panic(panic);
                    return Inline::Panicked;
                }
            }
            if meter::overran() {
                return Inline::Overran;
            }
            if !flag.set.load(Ordering::Relaxed) {
                break;
            }
        }
        Inline::Waits
    })
}

fn finish(reply: Reply, outcome: Outcome) -> AtollStatus {
    reply.send(outcome.status, outcome.flags, &outcome.bytes);
    give_buffer(outcome.bytes);
    ATOLL_OK
}

struct Flag {
    set: AtomicBool,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.set.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    /// One waker a thread: a late wake of a call that moved away costs at most one more poll.
    static WAKER: (Arc<Flag>, Waker) = {
        let flag = Arc::new(Flag { set: AtomicBool::new(false) });
        (Arc::clone(&flag), Waker::from(flag))
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::engine::Owner;
    use crate::host::fake;

    fn owner() -> Owner {
        let settings = Settings {
            instances: Some(4),
            worker_threads: 1,
            ..Settings::default()
        };
        Owner::start(&fake::HOST, 1, &settings).expect("an engine")
    }

    #[test]
    fn a_panic_on_the_callers_thread_is_caught() {
        let owner = owner();
        let mut future: CallFuture = Box::pin(async { panic!("inline") });
        let polled = poll_inline(&owner.engine, future.as_mut(), false);
        assert!(matches!(polled, Inline::Panicked));
        assert!(owner.close());
    }

    #[test]
    fn what_wakes_itself_for_ever_leaves_the_callers_thread() {
        let owner = owner();
        let mut polls = 0;
        let mut future: CallFuture = Box::pin(std::future::poll_fn(move |context| {
            polls += 1;
            context.waker().wake_by_ref();
            if polls > 1_000 {
                Poll::Ready(Outcome::cancelled())
            } else {
                Poll::Pending
            }
        }));
        assert!(matches!(
            poll_inline(&owner.engine, future.as_mut(), false),
            Inline::Waits
        ));
        assert!(owner.close());
    }
}
