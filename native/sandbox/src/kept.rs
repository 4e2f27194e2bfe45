//! An instance that is kept from call to call.
//!
//! Owns: the place its store rests in between two calls, the loan of it to the call that runs, and
//! why it ended. It must not know how a call is run or replied to.
//!
//! The core runs one call of a kept instance at a time: its exports are in a group of their own. The
//! call takes the store out and its future carries it from thread to thread; only a call that ends
//! well puts it back. So a guest that was left in the middle of something is never entered again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::abi::{ATOLL_NOT_FOUND, ATOLL_OK, ATOLL_OVERLOADED, ATOLL_TOOL_ERROR, AtollStatus};
use crate::engine::Engine;
use crate::error::{Outcome, forget_panic};
use crate::exports::{Instances, add_exports};
use crate::host::{self, CallRef, Host};
use crate::instance::{self, Data};
use crate::isolation;
use crate::limits::Limits;
use crate::plugin::Plugin;

/// An instance and all that it holds.
pub struct Alive {
    /// What it holds.
    pub store: Store<Data>,
    /// The instance in it.
    pub instance: Instance,
}

impl Alive {
    /// Why nobody may call it again, if so: tasks of an earlier call would go on in a later one, with
    /// its time and its log.
    pub fn unrest(&mut self) -> Option<&'static str> {
        let table = self.store.concurrent_resource_table()?;
        (!table.is_empty()).then_some("it left tasks, streams or futures behind")
    }
}

/// Where the instance is.
enum Place {
    /// Here, for the next call.
    Rests(Alive),
    /// With the call that runs.
    Lent,
    /// Gone; why, once the call that ended it has told.
    Ended(Option<String>),
}

/// A kept instance.
pub struct Kept {
    host: Host,
    group: u32,
    place: Mutex<Place>,
    // Dropped in this order: who unloads the component waits for the plugin.
    gone: Mutex<Option<oneshot::Sender<()>>>,
    plugin: Arc<Plugin>,
}

impl Kept {
    /// Asks to be told, by the end of the channel, when its last call has ended and it is gone.
    pub fn on_gone(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        *self.gone.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Changes what its bulkhead takes from the component's limits.
    pub fn set_limits(&self, limits: &Limits) -> AtollStatus {
        host::group_set(self.host, self.group, &limits.part(self.plugin.group()))
    }

    /// Lends the instance to a call, whose own budgets start afresh.
    pub fn lend(self: &Arc<Kept>, call: CallRef, limits: &Limits) -> Result<Loan, Outcome> {
        let mut place = self.place();
        let mut alive = match std::mem::replace(&mut *place, Place::Lent) {
            Place::Rests(alive) => alive,
            Place::Lent => {
                return Err(Outcome::message(
                    ATOLL_OVERLOADED,
                    "the instance runs another call",
                ));
            }
            Place::Ended(reason) => {
                let text = reason.as_deref().unwrap_or("it did not come to its end");
                let message =
                    format!("the instance was ended by a call: {text}; instantiate again");
                *place = Place::Ended(reason);
                return Err(Outcome::message(ATOLL_NOT_FOUND, message));
            }
        };
        drop(place);
        instance::renew(&mut alive.store, limits, call);
        Ok(Loan {
            kept: Arc::clone(self),
            alive: Some(alive),
        })
    }

    /// Says how the call ended that took the instance and did not put it back.
    pub fn ended_by(&self, outcome: &Outcome) {
        let mut place = self.place();
        if let Place::Ended(reason @ None) = &mut *place {
            *reason = Some(message_of(outcome));
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, place: Place) {
        let before = std::mem::replace(&mut *self.place(), place);
        // Dropping a store takes long and may run anything: outside of the lock.
        discard(before);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Each call holds it until after its reply: nothing of the group runs any more.
        self.put(Place::Ended(None));
        host::group_remove(self.host, self.group);
    }
}

/// The instance while a call has it.
pub struct Loan {
    kept: Arc<Kept>,
    alive: Option<Alive>,
}

impl Loan {
    /// The instance.
    pub fn alive(&mut self) -> Option<&mut Alive> {
        self.alive.as_mut()
    }

    /// Gives it back after a call that ended well; after any other it ends.
    pub fn settle(mut self, outcome: &Outcome) {
        if outcome.status != ATOLL_OK && outcome.status != ATOLL_TOOL_ERROR {
            discard(self.alive.take());
            self.kept.put(Place::Ended(Some(message_of(outcome))));
        } else if let Some(mut alive) = self.alive.take() {
            if let Some(why) = alive.unrest() {
                discard(alive);
                return self.kept.put(Place::Ended(Some(why.to_owned())));
            }
            alive.store.data_mut().rest();
            self.kept.put(Place::Rests(alive));
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Still here: the future was dropped in the middle of the call.
        if let Some(alive) = self.alive.take() {
            self.kept.put(Place::Ended(None));
            discard(alive);
        }
    }
}

/// Drops what may panic when dropped.
pub fn discard<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        forget_panic(panic);
    }
}

/// What it says, for those who were not there.
pub fn message_of(outcome: &Outcome) -> String {
    serde_json::from_slice::<Value>(&outcome.bytes)
        .ok()
        .and_then(|json| json["message"].as_str().map(str::to_owned))
        .unwrap_or_else(|| format!("it ended with status {}", outcome.status))
}

/// A kept instance's place in the engine.
pub struct Registered {
    /// The component's number.
    pub component: u32,
    /// Targets of its functions.
    pub targets: Vec<u32>,
    /// Their handles.
    pub handles: Vec<u32>,
    /// The instance.
    pub kept: Arc<Kept>,
}

/// What an instance is made of.
pub struct Plan {
    /// The component's number.
    pub component: u32,
    /// The component.
    pub plugin: Arc<Plugin>,
    /// It, ready to be instantiated.
    pub pre: InstancePre<Data>,
    /// Handles of its exports.
    pub handles: Vec<u32>,
    /// Limits at this moment.
    pub limits: Limits,
}

/// Instantiates; the answer for the caller. Runs the guest's start functions under its limits.
pub async fn instantiate(engine: Arc<Engine>, call: CallRef, plan: Plan) -> Result<Value, Outcome> {
    let limits = plan.limits;
    let mut alive = isolation::instantiate(&plan.pre, &plan.plugin, &limits, call)
        .await
        .map_err(|error| Outcome::from_wasmtime(&error, &limits))?;
    alive.store.data_mut().rest();
    // Nothing is awaited from here on: whoever gets a number also gets its reply.
    register(&engine, plan, alive)
}

fn register(engine: &Engine, plan: Plan, alive: Alive) -> Result<Value, Outcome> {
    if engine.is_closing() {
        return Err(Outcome::cancelled());
    }
    let host = engine.host();
    let group = host::group_add(host, &plan.limits.part(plan.plugin.group()))
        .map_err(|status| Outcome::message(status, "no place for another instance"))?;
    let kept = Arc::new(Kept {
        host,
        group,
        place: Mutex::new(Place::Rests(alive)),
        gone: Mutex::new(None),
        plugin: Arc::clone(&plan.plugin),
    });
    let instances = Instances::Kept(Arc::clone(&kept));
    let (targets, handles) = add_exports(engine, &plan.handles, group, &instances)?;
    let registered = Registered {
        component: plan.component,
        targets,
        handles,
        kept,
    };
    let functions: Vec<Value> = registered
        .targets
        .iter()
        .map(|target| json!({ "target": target }))
        .collect();
    let (plugin, kept) = (plan.plugin, Arc::clone(&registered.kept));
    match engine.add_instance(registered) {
        Ok(number) => {
            // Whoever changes the limits from now on finds it; what changes meanwhile is seen.
            loop {
                let limits = plugin.limits();
                kept.set_limits(&limits);
                if plugin.limits() == limits {
                    break;
                }
            }
            Ok(json!({ "instance": number, "functions": functions }))
        }
        Err(registered) => {
            engine.remove_exports(&registered.targets, &registered.handles);
            Err(Outcome::not_found())
        }
    }
}
