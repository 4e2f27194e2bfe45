//! CONTROL requests: load, describe, unload, isolate, instantiate, drop_instance, limits, stats.
//!
//! Owns: which part of the engine answers which. It must not know how any of it is done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rkyv::rancor::Error;
use rkyv::util::AlignedVec;
use serde_json::{Value, json};

use crate::abi::{
    ATOLL_FLAG_ENCODING, ATOLL_FLAG_JSON, ATOLL_FLAG_MSGPACK, ATOLL_FLAG_RKYV,
    ATOLL_INVALID_ARGUMENT, ATOLL_NOT_FOUND, ATOLL_OK,
};
use crate::call::Payload;
use crate::component::{self, Source, Terms};
use crate::engine::Engine;
use crate::error::{Outcome, forget_panic};
use crate::exports::Instances;
use crate::host::{Blob, CallRef};
use crate::kept;
use crate::request::{self, Request};
use crate::task::{Begun, CallFuture, Guard};
use crate::views;

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
pub fn run(engine: &Arc<Engine>, call: CallRef, payload: Payload, flags: u32) -> Work {
    let request = match payload.as_slice().and_then(|bytes| read(bytes, flags)) {
        Ok(request) => request,
        Err(outcome) => return ready(Err(outcome)).into(),
    };
    let future = match request {
        Request::Instantiate { component } => return instantiate(engine, call, component),
        Request::DropInstance { instance } => drop_instance(engine, instance),
        Request::Load {
            id,
            blob,
            limits,
            isolation,
            grants,
        } => {
            let terms = Terms {
                limits,
                isolation,
                grants,
            };
            load(engine, call, blob, id, terms)
        }
        Request::Isolate { component, key } => ready(views::isolate(engine, component, &key)),
        Request::Describe { blob } => describe(engine, call, blob),
        Request::Unload { component } => unload(engine, component),
        Request::Limits { component, limits } => {
            ready(match engine.set_limits(component, limits) {
                ATOLL_OK => Ok(json!({})),
                ATOLL_NOT_FOUND => Err(unknown(component)),
                status => Err(Outcome::message(status, "the core refuses the limits")),
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

fn read(payload: &[u8], flags: u32) -> Result<Request, Outcome> {
    match u16::try_from(flags & u32::from(ATOLL_FLAG_ENCODING)) {
        Ok(ATOLL_FLAG_RKYV) => {
            // A copy that nobody else can write: what was validated is what is read.
            let mut copy = AlignedVec::<16>::with_capacity(payload.len());
            copy.extend_from_slice(payload);
            let archived = request::read(&copy).map_err(broken)?;
            rkyv::deserialize::<Request, Error>(archived).map_err(broken)
        }
        Ok(ATOLL_FLAG_MSGPACK) => Err(broken("it is JSON or an archive, not MessagePack")),
        _ => serde_json::from_slice(payload).map_err(broken),
    }
}

fn broken(error: impl std::fmt::Display) -> Outcome {
    let message = format!("the CONTROL request is broken: {error}");
    Outcome::message(ATOLL_INVALID_ARGUMENT, message)
}

/// Does what takes long on a thread for blocking work.
async fn blocking<T, F>(engine: &Arc<Engine>, task: F) -> Result<T, Outcome>
where
    T: Send + 'static,
    F: FnOnce(&Engine) -> Result<T, Outcome> + Send + 'static,
{
    let shared = Arc::clone(engine);
    let guarded = move || {
        catch_unwind(AssertUnwindSafe(|| task(&shared))).unwrap_or_else(|panic| {
            forget_panic(panic);
            Err(Outcome::panic())
        })
    };
    match engine.runtime().spawn_blocking(guarded).await {
        Ok(done) => done,
        Err(_) => Err(Outcome::cancelled()),
    }
}

fn describe(engine: &Arc<Engine>, call: CallRef, blob: u32) -> CallFuture {
    let blob = match take(call, blob) {
        Ok(blob) => blob,
        Err(outcome) => return ready(Err(outcome)),
    };
    let engine = Arc::clone(engine);
    Box::pin(async move {
        outcome(blocking(&engine, move |_| component::describe(blob.as_slice())).await)
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

impl Receiver {
    fn new(engine: &Arc<Engine>) -> Receiver {
        Receiver {
            engine: Arc::clone(engine),
            delivery: Arc::new(Mutex::new(Delivery::Awaited)),
        }
    }

    fn sender(&self) -> Sender {
        Sender(Arc::clone(&self.delivery))
    }

    /// The caller learns the number now: the component is its own.
    fn received(&self) {
        *lock(&self.delivery) = Delivery::Abandoned;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *lock(&self.delivery), Delivery::Abandoned);
        if let Delivery::Loaded(component) = before {
            drop(self.engine.take_component(component));
        }
    }
}

/// The other end, on the thread that loads.
struct Sender(Arc<Mutex<Delivery>>);

impl Sender {
    fn send(&self, engine: &Engine, (number, answer): (u32, Vec<u8>)) -> Result<Vec<u8>, Outcome> {
        {
            let mut delivery = lock(&self.0);
            if !matches!(*delivery, Delivery::Abandoned) {
                *delivery = Delivery::Loaded(number);
                return Ok(answer);
            }
        }
        drop(engine.take_component(number));
        Err(Outcome::cancelled())
    }
}

fn lock(delivery: &Mutex<Delivery>) -> MutexGuard<'_, Delivery> {
    delivery.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of a component before it may have to wait for its compilation.
enum Step {
    Loaded(Vec<u8>),
    ToCompile(Box<Source>, Blob, String, Box<Terms>),
}

fn load(engine: &Arc<Engine>, call: CallRef, blob: u32, id: String, terms: Terms) -> CallFuture {
    let blob = match take(call, blob) {
        Ok(blob) => blob,
        Err(outcome) => return ready(Err(outcome)),
    };
    let engine = Arc::clone(engine);
    Box::pin(async move {
        let receiver = Receiver::new(&engine);
        match loading(&engine, &receiver, blob, id, terms).await {
            Ok(bytes) => {
                receiver.received();
                Outcome {
                    status: ATOLL_OK,
                    flags: ATOLL_FLAG_JSON,
                    bytes,
                }
            }
            Err(outcome) => outcome,
        }
    })
}

async fn loading(
    engine: &Arc<Engine>,
    receiver: &Receiver,
    blob: Blob,
    id: String,
    terms: Terms,
) -> Result<Vec<u8>, Outcome> {
    let sender = receiver.sender();
    let first = move |engine: &Engine| {
        let source = component::source(blob.as_slice())?;
        match component::cached(engine, &source) {
            Some(code) => {
                let loaded = component::load(engine, &id, source, code, terms)?;
                sender.send(engine, loaded).map(Step::Loaded)
            }
            None => Ok(Step::ToCompile(Box::new(source), blob, id, Box::new(terms))),
        }
    };
    let (source, blob, id, terms) = match blocking(engine, first).await? {
        Step::Loaded(answer) => return Ok(answer),
        Step::ToCompile(source, blob, id, terms) => (source, blob, id, terms),
    };
    let place = engine.compiling().acquire_owned().await;
    let place = place.map_err(|_| Outcome::cancelled())?;
    let sender = receiver.sender();
    blocking(engine, move |engine| {
        // Whoever asked may have gone meanwhile; the thread goes on to the end.
        let _place = place;
        let code = component::compile(engine, &source, blob.as_slice())?;
        let loaded = component::load(engine, &id, *source, code, *terms)?;
        sender.send(engine, loaded)
    })
    .await
}

fn unload(engine: &Engine, component: u32) -> CallFuture {
    let Some((loaded, kept)) = engine.take_component(component) else {
        return ready(Err(unknown(component)));
    };
    let ended = loaded.plugin.on_end();
    Box::pin(async move {
        drop(kept);
        drop(loaded);
        // The channel ends without a word.
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
        instances: Instances::Fresh,
        limits: plan.limits,
        running: Some(Begun::of(engine).keep()),
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
