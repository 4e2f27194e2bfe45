//! CONTROL requests: load, describe, unload, instantiate, drop_instance, limits, stats.
//!
//! Owns: their JSON. It must not know how any of it is done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::abi::{ATOLL_INVALID_ARGUMENT, ATOLL_NOT_FOUND, ATOLL_OK};
use crate::call::Payload;
use crate::component;
use crate::engine::Engine;
use crate::error::Outcome;
use crate::host::{Blob, CallRef};
use crate::kept;
use crate::limits::Limits;
use crate::task::{CallFuture, Guard, Running};

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Request {
    Load {
        id: String,
        blob: u32,
        #[serde(default)]
        limits: Limits,
    },
    Describe {
        blob: u32,
    },
    Unload {
        component: u32,
    },
    Instantiate {
        component: u32,
    },
    DropInstance {
        instance: u32,
    },
    Limits {
        component: u32,
        limits: Limits,
    },
    Stats,
}

/// What is left to do of a request.
pub struct Work {
    /// Ends with the answer.
    pub future: CallFuture,
    /// What it holds when it runs a guest.
    pub guard: Option<Guard>,
}

impl From<CallFuture> for Work {
    fn from(future: CallFuture) -> Work {
        Work {
            future,
            guard: None,
        }
    }
}

/// Answers a request. What must hold at once is done before this returns: an unloaded component
/// takes no call that is started after it. Long work is done on a thread for blocking work.
pub fn run(engine: &Arc<Engine>, call: CallRef, payload: Payload) -> Work {
    let request = match serde_json::from_slice(payload.as_slice()) {
        Ok(request) => request,
        Err(error) => return ready(Err(broken(&error))).into(),
    };
    let future = match request {
        Request::Instantiate { component } => return instantiate(engine, call, component),
        Request::DropInstance { instance } => drop_instance(engine, instance),
        Request::Load { id, blob, limits } => load(engine, call, blob, id, limits),
        Request::Describe { blob } => {
            work(engine, call, blob, |_, bytes| component::describe(bytes))
        }
        Request::Unload { component } => unload(engine, component),
        Request::Limits { component, limits } => {
            ready(match engine.set_limits(component, limits) {
                true => Ok(json!({})),
                false => Err(unknown(component)),
            })
        }
        Request::Stats => ready(Ok(engine.stats())),
    };
    future.into()
}

fn outcome(answered: Result<Value, Outcome>) -> Outcome {
    match answered {
        Ok(value) => Outcome::json(ATOLL_OK, &value),
        Err(outcome) => outcome,
    }
}

fn ready(answered: Result<Value, Outcome>) -> CallFuture {
    Box::pin(std::future::ready(outcome(answered)))
}

fn broken(error: &serde_json::Error) -> Outcome {
    Outcome::message(
        ATOLL_INVALID_ARGUMENT,
        format!("the CONTROL request is broken: {error}"),
    )
}

/// Does `task` with a blob on a thread for blocking work.
fn work<F>(engine: &Arc<Engine>, call: CallRef, blob: u32, task: F) -> CallFuture
where
    F: FnOnce(&Engine, &[u8]) -> Result<Value, Outcome> + Send + 'static,
{
    let blob = match take(call, blob) {
        Ok(blob) => blob,
        Err(outcome) => return ready(Err(outcome)),
    };
    let shared = Arc::clone(engine);
    let engine = Arc::clone(engine);
    Box::pin(async move {
        let guarded = move || {
            catch_unwind(AssertUnwindSafe(|| task(&shared, blob.as_slice())))
                .unwrap_or_else(|_| Err(Outcome::panic()))
        };
        match engine.runtime().spawn_blocking(guarded).await {
            Ok(answered) => outcome(answered),
            Err(_) => Outcome::cancelled(),
        }
    })
}

/// A load whose caller may have gone before it is done.
enum Delivery {
    /// Not done.
    Awaited,
    /// Nobody waits any more.
    Abandoned,
    /// Loaded with this number; nobody knows it yet.
    Loaded(u32),
}

/// Unloads what was loaded for a caller that has gone.
struct Receiver {
    engine: Arc<Engine>,
    delivery: Arc<Mutex<Delivery>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut delivery = self.delivery.lock().unwrap_or_else(PoisonError::into_inner);
        if let Delivery::Loaded(component) = *delivery {
            drop(self.engine.take_component(component));
        }
        *delivery = Delivery::Abandoned;
    }
}

fn load(engine: &Arc<Engine>, call: CallRef, blob: u32, id: String, limits: Limits) -> CallFuture {
    let delivery = Arc::new(Mutex::new(Delivery::Awaited));
    let receiver = Receiver {
        engine: Arc::clone(engine),
        delivery: Arc::clone(&delivery),
    };
    let loading = work(engine, call, blob, move |engine, bytes| {
        let (number, answer) = component::load(engine, &id, bytes, limits)?;
        let mut delivery = delivery.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*delivery, Delivery::Abandoned) {
            drop(engine.take_component(number));
            return Err(Outcome::cancelled());
        }
        *delivery = Delivery::Loaded(number);
        Ok(answer)
    });
    Box::pin(async move {
        let outcome = loading.await;
        // The caller learns the number now: the component is its own.
        *receiver
            .delivery
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Delivery::Abandoned;
        outcome
    })
}

fn unload(engine: &Engine, component: u32) -> CallFuture {
    let Some((loaded, kept)) = engine.take_component(component) else {
        return ready(Err(unknown(component)));
    };
    let ended = loaded.plugin.on_end();
    Box::pin(async move {
        drop(kept);
        drop(loaded);
        // The other side is dropped only after it was used.
        let _ = ended.await;
        outcome(Ok(json!({})))
    })
}

/// The guest's start functions run under the limits of a call.
fn instantiate(engine: &Arc<Engine>, call: CallRef, component: u32) -> Work {
    let Some(plan) = engine.plan(component) else {
        return ready(Err(unknown(component))).into();
    };
    let guard = Guard {
        plugin: Arc::clone(&plan.plugin),
        kept: None,
        limits: plan.limits,
        running: Some(Running::begin(engine)),
    };
    let making = kept::instantiate(Arc::clone(engine), call, plan);
    Work {
        future: Box::pin(async move { outcome(making.await) }),
        guard: Some(guard),
    }
}

fn drop_instance(engine: &Engine, instance: u32) -> CallFuture {
    let Some(registered) = engine.take_instance(instance) else {
        return ready(Err(Outcome::message(
            ATOLL_NOT_FOUND,
            format!("there is no instance {instance}"),
        )));
    };
    let gone = registered.kept.on_gone();
    Box::pin(async move {
        drop(registered);
        // The channel ends without a word.
        let _ = gone.await;
        outcome(Ok(json!({})))
    })
}

fn take(call: CallRef, blob: u32) -> Result<Blob, Outcome> {
    call.blob_take(blob)
        .map_err(|status| Outcome::message(status, format!("there is no blob {blob}")))
}

fn unknown(component: u32) -> Outcome {
    Outcome::message(
        ATOLL_NOT_FOUND,
        format!("there is no component {component}"),
    )
}
