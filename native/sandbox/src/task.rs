//! A call on the workers: polled until it answers or has to end.
//!
//! Owns: deadline, cancellation and CPU time of a migrated call, and the order of its end: the guest
//! goes first, then nobody may touch the call any more, then the reply is sent. It must not know
//! what a call does, nor when one is migrated.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::abi::{ATOLL_PENDING, AtollRequest, AtollStatus};
use crate::engine::Engine;
use crate::error::{Outcome, forget_panic};
use crate::exports::Instances;
use crate::host::Reply;
use crate::limits::{LimitExceeded, LimitKind, Limits};
use crate::meter;
use crate::plugin::Plugin;
use crate::reply;
use crate::state::CallState;

/// A call that can be polled anywhere.
pub type CallFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How long a call that was cancelled may take to leave its actor in no doubt.
const FINISH: Duration = Duration::from_secs(1);

/// CPU time on the workers that counts as overrunning an inline slice.
const OVERRAN_NS: u64 = 2_000_000;

/// A call on its way to the workers.
pub struct Move {
    /// What is left to do.
    pub future: CallFuture,
    /// The duty to end the call.
    pub reply: Reply,
    /// What the core's threads may do to it.
    pub state: Arc<CallState>,
    /// What it holds; none for CONTROL.
    pub guard: Option<Guard>,
    /// When it has to be over.
    pub deadline: Deadline,
    /// CPU time it has used already.
    pub used_ns: u64,
}

/// When the core wants a call to be over.
#[derive(Clone, Copy)]
pub struct Deadline {
    /// By the monotonic clock; 0: never.
    pub at_ns: u64,
    /// Whether that is the plugin's wall clock, counted from the submit, and not a caller's budget.
    pub is_limit: bool,
}

impl Deadline {
    /// That of a request.
    pub fn of(request: &AtollRequest) -> Deadline {
        Deadline {
            at_ns: request.deadline_ns,
            is_limit: request.deadline_is_limit != 0,
        }
    }
}

/// Hands a call to the workers.
pub fn spawn(engine: &Arc<Engine>, call: Move, state_out: &mut *mut c_void) -> AtollStatus {
    let Move {
        future,
        reply,
        state,
        guard,
        deadline,
        used_ns,
    } = call;
    // Before `migrate`: from then on the core may cancel from any thread.
    *state_out = Arc::into_raw(Arc::clone(&state)).cast_mut().cast();
    if !state.call().migrate() {
        state.cancel();
    }
    state.set_on_workers();
    let _entered = engine.runtime().enter();
    let now_ns = meter::monotonic_ns();
    let wall_ns = guard.as_ref().map(|guard| guard.wall_ns(now_ns));
    let (end_ns, wall) = end(deadline, wall_ns);
    let timer = end_ns.map(|end_ns| {
        let left = Duration::from_nanos(end_ns.saturating_sub(now_ns));
        Box::pin(tokio::time::sleep_until(Instant::now() + left))
    });
    engine.runtime().spawn(Task {
        future: Some(future),
        reply: Some(reply),
        engine: Arc::clone(engine),
        state,
        guard,
        timer,
        wall,
        cancelled: false,
        used_ns,
    });
    ATOLL_PENDING
}

/// When a call has to be over, and whether that is the plugin's own limit rather than its caller's
/// budget. The core asks of a call no more than the limit; of what CONTROL runs it does not know.
fn end(deadline: Deadline, wall_ns: Option<u64>) -> (Option<u64>, bool) {
    let Deadline { at_ns, is_limit } = deadline;
    match (at_ns, wall_ns) {
        (0, None) => (None, false),
        (0, Some(wall_ns)) => (Some(wall_ns), true),
        (_, None) => (Some(at_ns), false),
        (_, Some(wall_ns)) => (Some(at_ns.min(wall_ns)), is_limit || wall_ns <= at_ns),
    }
}

/// What a call holds from its start to its reply.
pub struct Guard {
    /// Whose call it is.
    pub plugin: Arc<Plugin>,
    /// The instances it is called in.
    pub instances: Instances,
    /// Limits at its start.
    pub limits: Limits,
    /// Its place in the count of running calls.
    pub running: Option<Running>,
}

impl Guard {
    /// When a call has used up its wall clock, counted from here on.
    fn wall_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_add(self.limits.wall_ms.saturating_mul(1_000_000))
    }
}

/// Counts a running call, so that the ticker ticks.
pub struct Running(Arc<Engine>);

/// The same for as long as a call is on its caller's thread.
pub struct Begun<'a>(&'a Arc<Engine>);

impl<'a> Begun<'a> {
    /// Counts one.
    pub fn of(engine: &'a Arc<Engine>) -> Begun<'a> {
        engine.begin();
        Begun(engine)
    }

    /// Goes on counting it, wherever it goes.
    pub fn keep(self) -> Running {
        let running = Running(Arc::clone(self.0));
        std::mem::forget(self);
        running
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.clock().end();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.clock().end();
    }
}

/// A call on the workers.
struct Task {
    future: Option<CallFuture>,
    reply: Option<Reply>,
    engine: Arc<Engine>,
    state: Arc<CallState>,
    guard: Option<Guard>,
    timer: Option<Pin<Box<Sleep>>>,
    wall: bool,
    cancelled: bool,
    used_ns: u64,
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        if task.future.is_none() {
            return Poll::Ready(());
        }
        let outcome = match task.step(context) {
            Some(outcome) => outcome,
            None => return Poll::Pending,
        };
        task.end(outcome);
        Poll::Ready(())
    }
}

impl Task {
    fn step(&mut self, context: &mut Context<'_>) -> Option<Outcome> {
        if self.state.register(context.waker()) && !self.finishes() {
            return Some(Outcome::cancelled());
        }
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(context).is_ready()
        {
            return Some(self.late());
        }
        let future = self.future.as_mut()?;
        let cpu_ms = self.guard.as_ref().map_or(u64::MAX, |g| g.limits.cpu_ms);
        let begin = meter::begin_worker(self.used_ns, cpu_ms);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        self.used_ns = self.used_ns.saturating_add(meter::end_worker(begin));
        if self.used_ns >= OVERRAN_NS
            && let Some(guard) = &self.guard
        {
            guard.plugin.overran(self.engine.clock().now_ms());
        }
        match polled {
            Ok(Poll::Ready(outcome)) => Some(outcome),
            Ok(Poll::Pending) => (self.used_ns >= cpu_ms.saturating_mul(1_000_000)).then(|| {
                Outcome::limit(&LimitExceeded {
                    kind: LimitKind::Cpu,
                    value: cpu_ms,
                })
            }),
            Err(panic) => {
                forget_panic(panic);
                if let Some(future) = self.future.take() {
                    abandon(future);
                }
                Some(Outcome::panic())
            }
        }
    }

    /// Whether a cancelled call goes on: only its answer is dropped, in time.
    fn finishes(&mut self) -> bool {
        let Some(guard) = &self.guard else {
            return false;
        };
        if self.cancelled || !guard.instances.finish_cancelled() {
            return self.cancelled;
        }
        self.cancelled = true;
        let latest = Instant::now() + FINISH;
        match &mut self.timer {
            Some(timer) if timer.deadline() <= latest => {}
            Some(timer) => timer.as_mut().reset(latest),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(latest))),
        }
        true
    }

    fn late(&self) -> Outcome {
        match &self.guard {
            Some(guard) if self.wall => Outcome::limit(&LimitExceeded {
                kind: LimitKind::Wall,
                value: guard.limits.wall_ms,
            }),
            _ => Outcome::deadline(),
        }
    }

    /// Replies once nothing can touch the call any more.
    fn end(&mut self, outcome: Outcome) {
        if let Some(future) = self.future.take() {
            abandon(future);
        }
        self.state.end();
        self.engine.count_migrated();
        let outcome = match self.cancelled {
            true => Outcome::cancelled(),
            false => outcome,
        };
        if let Some(guard) = &mut self.guard {
            guard.running = None;
            guard.instances.ended_by(&outcome);
        }
        if let Some(reply) = self.reply.take() {
            reply.send(outcome.status, outcome.flags, &outcome.bytes);
        }
        reply::give_buffer(outcome.bytes);
        self.guard = None;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // The runtime is shutting down.
        if self.reply.is_some() {
            self.end(Outcome::cancelled());
        }
    }
}

/// Drops a future whose store holds a guest that may be anywhere.
pub fn abandon(future: CallFuture) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
        forget_panic(panic);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::abi::{ATOLL_CANCELLED, ATOLL_DEADLINE, ATOLL_OK, ATOLL_PANIC};
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

    fn on_workers(
        owner: &Owner,
        future: impl Future<Output = Outcome> + Send + 'static,
        budget_ns: u64,
    ) -> (Receiver<fake::Replied>, Arc<CallState>) {
        let (sender, receiver) = channel();
        let call = fake::open(sender);
        let state = Arc::new(CallState::new(call));
        let mut out = std::ptr::null_mut();
        let kept = Arc::clone(&state);
        let future: CallFuture = Box::pin(future);
        let reply = Reply::new(call);
        let call = Move {
            future,
            reply,
            state,
            guard: None,
            deadline: Deadline {
                at_ns: meter::monotonic_ns() + budget_ns,
                is_limit: false,
            },
            used_ns: 0,
        };
        let status = spawn(&owner.engine, call, &mut out);
        assert_eq!(status, ATOLL_PENDING);
        // SAFETY: `spawn` stored it, and nothing else uses it.
        drop(unsafe { Arc::from_raw(out.cast_const().cast::<CallState>()) });
        (receiver, kept)
    }

    const MINUTE_NS: u64 = 60_000_000_000;

    #[test]
    fn a_panic_in_a_call_is_its_reply_and_the_workers_live() {
        let owner = owner();
        let (reply, _) = on_workers(&owner, async { panic!("in a call") }, MINUTE_NS);
        assert_eq!(reply.recv().map(|r| r.0), Ok(ATOLL_PANIC));
        struct PanicsAgain;
        impl Drop for PanicsAgain {
            fn drop(&mut self) {
                panic!("while being dropped");
            }
        }
        let nasty = async {
            let kept = PanicsAgain;
            std::future::pending::<()>().await;
            drop(kept);
            Outcome::cancelled()
        };
        let (reply, state) = on_workers(&owner, nasty, MINUTE_NS);
        state.cancel();
        assert_eq!(reply.recv().map(|r| r.0), Ok(ATOLL_CANCELLED));
        let fine = async { Outcome::message(ATOLL_OK, "fine") };
        let (reply, _) = on_workers(&owner, fine, MINUTE_NS);
        assert_eq!(reply.recv().map(|r| r.0), Ok(ATOLL_OK));
        assert!(owner.close());
    }

    #[test]
    fn what_ends_first_gives_its_name_to_the_end() {
        const MS: u64 = 1_000_000;
        let at = |ms: u64, is_limit| Deadline {
            at_ns: ms * MS,
            is_limit,
        };
        assert_eq!(end(at(0, false), None), (None, false));
        assert_eq!(end(at(0, false), Some(40 * MS)), (Some(40 * MS), true));
        assert_eq!(end(at(7, false), None), (Some(7 * MS), false));
        assert_eq!(
            end(at(90, false), Some(40 * MS)),
            (Some(40 * MS), true),
            "what CONTROL runs"
        );
        assert_eq!(
            end(at(39, false), Some(40 * MS)),
            (Some(39 * MS), false),
            "a caller's budget"
        );
        assert_eq!(
            end(at(5, true), Some(40 * MS)),
            (Some(5 * MS), true),
            "the limit, of which the queue took the most"
        );
    }

    #[test]
    fn a_deadline_ends_what_waits() {
        let owner = owner();
        let (reply, _) = on_workers(&owner, std::future::pending(), 5_000_000);
        assert_eq!(reply.recv().map(|r| r.0), Ok(ATOLL_DEADLINE));
        assert!(owner.close());
    }
}
