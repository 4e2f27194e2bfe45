//! The instances of one component for one key.
//!
//! Owns: where they rest in between calls, the loan of one to a call, and how often one is used. A
//! key stands for whom calls are made for; what one key's calls leave in an instance no other key's
//! call ever sees. It must not know how a call is run or replied to, nor what a key means.
//!
//! As with a kept instance the store is taken out by the call and put back only after a call that
//! ended well: a guest that was left in the middle of something is never entered again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use wasmtime::Error;

use crate::abi::{
    ATOLL_FLAG_STDERR, ATOLL_KIND_LOG, ATOLL_OK, ATOLL_OVERLOADED, ATOLL_TOOL_ERROR, AtollStatus,
};
use crate::error::Outcome;
use crate::function::Function;
use crate::host::{self, CallRef};
use crate::instance;
use crate::isolation::{self, Family, Place};
use crate::kept::{Alive, discard, message_of};
use crate::limits::Limits;

/// An instance in between two calls.
struct Resting {
    own: Own,
    since: Instant,
}

/// An instance with what goes with it.
struct Own {
    alive: Alive,
    calls_left: u32,
    _place: Place,
}

/// How an actor's last instance ended, until another one begins.
enum Lost {
    /// There is none to tell of.
    No,
    /// Why, once the call that ended it has told.
    Yes(Option<String>),
}

struct State {
    /// The one that has rested longest comes first.
    resting: Vec<Resting>,
    lent: u32,
    lost: Lost,
}

/// What one key has.
pub struct Keyed {
    state: Mutex<State>,
    /// An actor's mailbox.
    group: Option<u32>,
    family: Arc<Family>,
}

impl Keyed {
    /// For a key that has none yet.
    pub fn new(family: &Arc<Family>, limits: &Limits) -> Result<Arc<Keyed>, Outcome> {
        let group = match family.isolation.is_actor() {
            false => None,
            true => Some(
                host::group_add(family.host, &family.part(limits))
                    .map_err(|status| Outcome::message(status, "no place for another actor"))?,
            ),
        };
        let keyed = Arc::new(Keyed {
            state: Mutex::new(State {
                resting: Vec::new(),
                lent: 0,
                lost: Lost::No,
            }),
            group,
            family: Arc::clone(family),
        });
        family.add(&keyed);
        Ok(keyed)
    }

    /// Where its calls are counted: in a mailbox of its own, or with those of its component.
    pub fn group(&self) -> Option<u32> {
        self.group
    }

    /// Changes what its mailbox takes from the component's limits.
    pub fn set_limits(&self, limits: &Limits) -> AtollStatus {
        match self.group {
            Some(group) => host::group_set(self.family.host, group, &self.family.part(limits)),
            None => ATOLL_OK,
        }
    }

    /// Lends an instance to a call: one that rests, or else a fresh one.
    pub async fn lend(
        self: &Arc<Keyed>,
        function: &Function,
        limits: &Limits,
        call: CallRef,
    ) -> Result<Loan, Refusal> {
        let mut loan = self.take(limits, call)?;
        if loan.own.is_none() {
            let place = self.family.place(limits).ok_or_else(|| full(limits))?;
            self.tell_lost(call);
            let plugin = &self.family.plugin;
            let alive = isolation::instantiate(&function.pre, plugin, limits, call).await?;
            loan.own = Some(Own {
                alive,
                calls_left: self.family.isolation.calls(),
                _place: place,
            });
        }
        Ok(loan)
    }

    /// One that rests, or the place for a fresh one.
    fn take(self: &Arc<Keyed>, limits: &Limits, call: CallRef) -> Result<Loan, Refusal> {
        let mut state = self.state();
        if self.family.isolation.is_actor() && state.lent > 0 {
            let message = "the actor runs another call";
            return Err(Outcome::message(ATOLL_OVERLOADED, message).into());
        }
        state.lent += 1;
        let last = state.resting.pop();
        drop(state);
        let mut loan = Loan {
            keyed: Arc::clone(self),
            own: None,
            returned: false,
        };
        let Some(Resting { mut own, since }) = last else {
            return Ok(loan);
        };
        let idle = self.family.isolation.idle();
        if idle.is_some_and(|idle| since.elapsed() >= idle) {
            discard(own);
            return Ok(loan);
        }
        instance::renew(&mut own.alive.store, limits, call);
        loan.own = Some(own);
        Ok(loan)
    }

    /// Tells the call that begins an actor anew that it does.
    fn tell_lost(&self, call: CallRef) {
        let Lost::Yes(reason) = std::mem::replace(&mut self.state().lost, Lost::No) else {
            return;
        };
        let reason = reason
            .as_deref()
            .unwrap_or("a call did not come to its end");
        let line = format!("atoll: the actor begins anew, its state is lost: {reason}");
        // Lines that find no room are counted by the core.
        call.event(ATOLL_KIND_LOG, ATOLL_FLAG_STDERR, line.as_bytes());
    }

    /// Whether a call that is cancelled shall come to its end: an actor that has begun it.
    pub fn finishes_cancelled(&self) -> bool {
        self.family.isolation.is_actor() && self.state().lent > 0
    }

    /// Says how the call ended that took an instance and did not put it back.
    pub fn ended_by(&self, outcome: &Outcome) {
        if let Lost::Yes(reason @ None) = &mut self.state().lost {
            *reason = Some(message_of(outcome));
        }
    }

    /// Whether no call runs and no instance rests: nothing is lost with it.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.lent == 0 && state.resting.is_empty()
    }

    /// How many rest.
    pub fn resting(&self) -> usize {
        self.state().resting.len()
    }

    /// Since when the one does that has rested longest.
    pub fn rests_since(&self) -> Option<Instant> {
        self.state().resting.first().map(|resting| resting.since)
    }

    /// Drops that one; `false`: none rests.
    pub fn end_first(&self) -> bool {
        let mut state = self.state();
        let first = (!state.resting.is_empty()).then(|| state.resting.remove(0));
        drop(state);
        let ended = first.is_some();
        discard(first);
        ended
    }

    /// Drops those that have rested for so long; when the next one will have.
    pub fn end_idle(&self, now: Instant, idle: Duration) -> Option<Instant> {
        let mut state = self.state();
        let over = state
            .resting
            .partition_point(|resting| now.duration_since(resting.since) >= idle);
        let ended: Vec<Resting> = state.resting.drain(..over).collect();
        let next = state.resting.first().map(|resting| resting.since + idle);
        drop(state);
        ended.into_iter().for_each(discard);
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keyed {
    fn drop(&mut self) {
        // Each call holds it until after its reply: nothing of the group runs any more.
        let resting = std::mem::take(&mut self.state().resting);
        resting.into_iter().for_each(discard);
        if let Some(group) = self.group {
            host::group_remove(self.family.host, group);
        }
    }
}

/// Why a call got no instance.
pub enum Refusal {
    /// There is no place.
    Refused(Outcome),
    /// It could not be made.
    Failed(Error),
}

impl From<Outcome> for Refusal {
    fn from(outcome: Outcome) -> Refusal {
        Refusal::Refused(outcome)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}

fn full(limits: &Limits) -> Outcome {
    Outcome::json(
        ATOLL_OVERLOADED,
        &json!({
            "message": format!(
                "the plugin has as many actors as calls may run at once: {} (limits.concurrency)",
                limits.concurrency
            ),
            "limit": "concurrency",
            "value": limits.concurrency,
            "key": "limits.concurrency",
            "retryAfterSeconds": 1,
        }),
    )
}

/// An instance while a call has it.
pub struct Loan {
    keyed: Arc<Keyed>,
    own: Option<Own>,
    returned: bool,
}

impl Loan {
    /// The instance.
    pub fn alive(&mut self) -> Option<&mut Alive> {
        self.own.as_mut().map(|own| &mut own.alive)
    }

    /// Gives it back after a call that ended well; after any other it is gone.
    pub fn settle(mut self, outcome: &Outcome) {
        let Some(mut own) = self.own.take() else {
            return;
        };
        if outcome.status != ATOLL_OK && outcome.status != ATOLL_TOOL_ERROR {
            discard(own);
            self.keyed.state().lost = Lost::Yes(Some(message_of(outcome)));
            return;
        }
        if let Some(why) = own.alive.unrest() {
            discard(own);
            self.keyed.state().lost = Lost::Yes(Some(why.to_owned()));
            return;
        }
        if own.calls_left != u32::MAX {
            own.calls_left -= 1;
        }
        if own.calls_left == 0 {
            return discard(own);
        }
        own.alive.store.data_mut().rest();
        let since = Instant::now();
        let mut state = self.keyed.state();
        state.resting.push(Resting { own, since });
        // In one step: whoever sees that no call has it finds it here.
        state.lent -= 1;
        drop(state);
        self.returned = true;
        self.keyed.family.rested();
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.returned {
            return;
        }
        let own = self.own.take();
        let cut_off = own.is_some();
        discard(own);
        let mut state = self.keyed.state();
        state.lent -= 1;
        // Still here: the future was dropped in the middle of the call.
        if cut_off {
            state.lost = Lost::Yes(None);
        }
    }
}
