//! One call of an exported function in a fresh instance.
//!
//! Owns: from the payload's bytes to the guest and from its result to the reply's bytes. It must
//! not know on which thread it runs or how it is interrupted.

use std::sync::Arc;

use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc, Val,
};
use wasmtime::{Error, Store};

use crate::abi::{
    ATOLL_FLAG_ENCODING, ATOLL_FLAG_JSON, ATOLL_FLAG_MSGPACK, ATOLL_OK, ATOLL_PANIC,
    ATOLL_TOOL_ERROR, AtollRequest,
};
use crate::component::ExportKind;
use crate::error::{Outcome, ran_out_of_fuel};
use crate::exports::{Callee, Instances};
use crate::function::{Fast, Function, Returns};
use crate::host::CallRef;
use crate::instance::{self, Data};
use crate::isolation;
use crate::kept::{self, Alive};
use crate::keyed::{self, Refusal};
use crate::limits::{LimitExceeded, LimitKind, Limits};
use crate::values::{self, ArgumentError, OutputError, ResultSide};

/// The payload of a request: bytes of the core that stay until the reply.
#[derive(Clone, Copy)]
pub struct Payload {
    /// Null: it came in parts.
    bytes: *const u8,
    length: usize,
    call: CallRef,
}

// SAFETY: the core lets nobody write these bytes until the reply, so any thread may read them.
unsafe impl Send for Payload {}
// SAFETY: as above.
unsafe impl Sync for Payload {}

impl Payload {
    /// # Safety
    /// `request` must be the one of `call`, and the call open for as long as this value is used.
    pub unsafe fn new(request: &AtollRequest, call: CallRef) -> Payload {
        Payload {
            bytes: request.payload,
            length: request.payload_length as usize,
            call,
        }
    }

    /// The bytes in one piece. Those that came in parts are put together by the first thread that
    /// asks, never the one that submits: what comes in parts does not run inline, and a CONTROL
    /// request, which is read there, comes in one piece.
    pub fn as_slice(&self) -> Result<&[u8], Outcome> {
        if self.length == 0 {
            return Ok(&[]);
        }
        let bytes = match self.bytes.is_null() {
            true => self.call.payload().map_err(|status| {
                Outcome::message(status, "there is no memory to put the arguments together")
            })?,
            false => self.bytes,
        };
        // SAFETY: promised to `new`.
        Ok(unsafe { std::slice::from_raw_parts(bytes, self.length) })
    }
}

/// What a call needs.
pub struct Job {
    /// The function, and the instance to call it in.
    pub callee: Arc<Callee>,
    /// Limits at the time of the call.
    pub limits: Limits,
    /// The open call.
    pub call: CallRef,
    /// The arguments.
    pub payload: Payload,
    /// Flags of the frame: how the arguments are encoded.
    pub flags: u32,
    /// An empty buffer, to be used for the reply.
    pub out: Vec<u8>,
}

/// Calls the function. A fresh instance is gone when this is done; a kept one is where it rests, or
/// gone too.
pub async fn run(job: Job) -> Outcome {
    let function = match &job.callee.export.kind {
        ExportKind::Function(function) => function,
        ExportKind::Unmappable { name, reason } => {
            return Outcome::unsupported(format!("`{name}` cannot be called: {reason}"));
        }
        ExportKind::Http(_) => {
            return Outcome::unsupported("a wasi:http handler takes HTTP frames");
        }
    };
    let Some(encoding) = Encoding::of(job.flags) else {
        return Outcome::unsupported("arguments are raw, JSON or MessagePack");
    };
    let mut loan = None;
    let done = match function.fast {
        Fast::No => dynamic(&job, &mut loan, function, encoding).await,
        Fast::Text(returns) => text(&job, &mut loan, function, encoding, returns).await,
        Fast::Bytes(returns) => bytes(&job, &mut loan, function, encoding, returns).await,
    };
    let outcome = match done {
        Ok(answer) => answer.into_outcome(encoding == Encoding::Raw, &job.limits, job.out),
        Err(Failure::Wasm(error)) if function.is_async && ran_out_of_fuel(&error) => {
            output_limit(&job.limits)
        }
        Err(failure) => failure.into_outcome(&job.limits),
    };
    if let Some(loan) = loan {
        loan.settle(&outcome);
    }
    outcome
}

/// How arguments are encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Raw,
    Json,
    Packed,
}

impl Encoding {
    /// As a frame's flags say; `None`: one that arguments do not have.
    fn of(flags: u32) -> Option<Encoding> {
        match u16::try_from(flags & u32::from(ATOLL_FLAG_ENCODING)) {
            Ok(0) => Some(Encoding::Raw),
            Ok(ATOLL_FLAG_JSON) => Some(Encoding::Json),
            Ok(ATOLL_FLAG_MSGPACK) => Some(Encoding::Packed),
            _ => None,
        }
    }
}

/// What the guest answered.
enum Answer {
    Text(String, ResultSide),
    Bytes(Vec<u8>, ResultSide),
    Written(Outcome),
}

enum Failure {
    Ended(Outcome),
    Argument(ArgumentError),
    Wasm(Error),
    Output(OutputError),
}

impl From<Outcome> for Failure {
    fn from(outcome: Outcome) -> Failure {
        Failure::Ended(outcome)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Wasm(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Refused(outcome) => Failure::Ended(outcome),
            Refusal::Failed(error) => Failure::Wasm(error),
        }
    }
}

impl From<ArgumentError> for Failure {
    fn from(error: ArgumentError) -> Failure {
        Failure::Argument(error)
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Failure {
        Failure::Output(error)
    }
}

impl Failure {
    fn into_outcome(self, limits: &Limits) -> Outcome {
        match self {
            Failure::Ended(outcome) => outcome,
            Failure::Argument(error) => Outcome::argument(&error),
            Failure::Wasm(error) => Outcome::from_wasmtime(&error, limits),
            Failure::Output(OutputError::TooLarge { .. }) => output_limit(limits),
            Failure::Output(error) => Outcome::message(ATOLL_PANIC, error.to_string()),
        }
    }
}

fn output_limit(limits: &Limits) -> Outcome {
    Outcome::limit(&LimitExceeded {
        kind: LimitKind::Output,
        value: limits.output_bytes,
    })
}

fn output_max(limits: &Limits) -> usize {
    usize::try_from(limits.output_bytes).unwrap_or(usize::MAX)
}

impl Answer {
    fn into_outcome(self, raw: bool, limits: &Limits, mut out: Vec<u8>) -> Outcome {
        let (side, fits) = match &self {
            Answer::Written(_) => (ResultSide::Ok, true),
            Answer::Text(text, side) => (*side, text.len() <= output_max(limits)),
            Answer::Bytes(bytes, side) => (*side, bytes.len() <= output_max(limits)),
        };
        if !fits {
            return output_limit(limits);
        }
        let status = if side == ResultSide::Ok {
            ATOLL_OK
        } else {
            ATOLL_TOOL_ERROR
        };
        // An error is JSON in either encoding; so a caller reads it in one way.
        let plain = raw && side == ResultSide::Ok;
        match self {
            Answer::Written(outcome) => return outcome,
            Answer::Text(text, _) if plain => {
                return Outcome {
                    status,
                    flags: 0,
                    bytes: text.into_bytes(),
                };
            }
            Answer::Bytes(bytes, _) if plain => {
                return Outcome {
                    status,
                    flags: 0,
                    bytes,
                };
            }
            Answer::Text(text, _) if values::write_text(&text, &mut out, output_max(limits)) => {}
            Answer::Bytes(bytes, _)
                if values::write_bytes(&bytes, &mut out, output_max(limits)) => {}
            Answer::Text(..) | Answer::Bytes(..) => return output_limit(limits),
        }
        Outcome {
            status,
            flags: ATOLL_FLAG_JSON,
            bytes: out,
        }
    }
}

/// The bytes of the only argument.
fn single<'a>(
    job: &'a Job,
    function: &Function,
    encoding: Encoding,
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], Failure> {
    let payload = job.payload.as_slice()?;
    let signature = &function.signature;
    Ok(match encoding {
        Encoding::Raw => payload,
        Encoding::Json => signature.parse_single(payload, scratch)?,
        Encoding::Packed => signature.parse_packed_single(payload, scratch)?,
    })
}

async fn text(
    job: &Job,
    loan: &mut Option<Loan>,
    function: &Function,
    encoding: Encoding,
    returns: Returns,
) -> Result<Answer, Failure> {
    let mut scratch = Vec::new();
    let argument = single(job, function, encoding, &mut scratch)?;
    let argument = function.signature.parse_text(argument)?;
    typed(job, loan, function, argument, returns).await
}

async fn bytes(
    job: &Job,
    loan: &mut Option<Loan>,
    function: &Function,
    encoding: Encoding,
    returns: Returns,
) -> Result<Answer, Failure> {
    let mut scratch = Vec::new();
    let argument = single(job, function, encoding, &mut scratch)?;
    typed(job, loan, function, argument, returns).await
}

async fn typed<P>(
    job: &Job,
    loan: &mut Option<Loan>,
    function: &Function,
    argument: P,
    returns: Returns,
) -> Result<Answer, Failure>
where
    (P,): ComponentNamedList + Lower,
{
    let mut fresh;
    let Alive { store, instance } = match &job.callee.instances {
        Instances::Fresh => {
            fresh = instantiate(job, function).await?;
            &mut fresh
        }
        lasting => borrow(lasting, job, function, loan).await?,
    };
    instance::expect_plain(store, &job.limits);
    if function.is_async {
        instance::expect_returned(store);
    }
    let index = &function.index;
    // The results are owned: wasmtime runs the guest's post-return, which frees what they were
    // lifted from, before the call is over.
    Ok(match returns {
        Returns::Text => {
            let text = invoke::<P, String>(store, instance, index, argument).await?;
            Answer::Text(text, ResultSide::Ok)
        }
        Returns::Bytes => {
            let bytes = invoke::<P, Vec<u8>>(store, instance, index, argument).await?;
            Answer::Bytes(bytes, ResultSide::Ok)
        }
        Returns::TextOrText => {
            match invoke::<P, Result<String, String>>(store, instance, index, argument).await? {
                Ok(text) => Answer::Text(text, ResultSide::Ok),
                Err(text) => Answer::Text(text, ResultSide::Error),
            }
        }
        Returns::BytesOrText => {
            match invoke::<P, Result<Vec<u8>, String>>(store, instance, index, argument).await? {
                Ok(bytes) => Answer::Bytes(bytes, ResultSide::Ok),
                Err(text) => Answer::Text(text, ResultSide::Error),
            }
        }
    })
}

/// Calls a function whose types were checked against `P` and `R` when it was loaded.
async fn invoke<P, R>(
    store: &mut Store<Data>,
    instance: &Instance,
    index: &ComponentExportIndex,
    argument: P,
) -> Result<R, Error>
where
    (P,): ComponentNamedList + Lower,
    (R,): ComponentNamedList + Lift + 'static,
{
    let func = instance
        .get_func(&mut *store, index)
        .ok_or_else(no_function)?;
    // SAFETY: `component::fast` made the same check as `Func::typed` would, on the same types.
    let typed = unsafe { TypedFunc::<(P,), (R,)>::new_unchecked(func) };
    Ok(typed.call_async(store, (argument,)).await?.0)
}

async fn dynamic(
    job: &Job,
    loan: &mut Option<Loan>,
    function: &Function,
    encoding: Encoding,
) -> Result<Answer, Failure> {
    let payload = job.payload.as_slice()?;
    let signature = &function.signature;
    let params = match (encoding, payload) {
        (Encoding::Raw, payload) => signature.parse_raw(payload)?,
        // A function without parameters may be called with nothing at all.
        (_, b"") => signature.parse_arguments(b"{}")?,
        (Encoding::Json, payload) => signature.parse_arguments(payload)?,
        (Encoding::Packed, payload) => signature.parse_packed(payload)?,
    };
    let mut fresh;
    let Alive { store, instance } = match &job.callee.instances {
        Instances::Fresh => {
            fresh = instantiate(job, function).await?;
            &mut fresh
        }
        lasting => borrow(lasting, job, function, loan).await?,
    };
    if function.is_async {
        instance::expect_returned(store);
    }
    let func = instance
        .get_func(&mut *store, function.index)
        .ok_or_else(no_function)?;
    let mut results = [Val::Bool(false)];
    let results = &mut results[..signature.results_len()];
    func.call_async(store, &params, results).await?;

    let limit = output_max(&job.limits);
    let mut bytes = Vec::new();
    if encoding == Encoding::Raw && signature.write_raw(results, &mut bytes, limit)? {
        return Ok(Answer::Written(Outcome {
            status: ATOLL_OK,
            flags: 0,
            bytes,
        }));
    }
    let status = match signature.write_result(results, &mut bytes, limit)? {
        ResultSide::Ok => ATOLL_OK,
        ResultSide::Error => ATOLL_TOOL_ERROR,
    };
    Ok(Answer::Written(Outcome {
        status,
        flags: ATOLL_FLAG_JSON,
        bytes,
    }))
}

async fn instantiate(job: &Job, function: &Function) -> Result<Alive, Error> {
    let plugin = &job.callee.export.plugin;
    isolation::instantiate(&function.pre, plugin, &job.limits, job.call).await
}

/// An instance that outlives the call, while the call has it.
enum Loan {
    /// One that a client keeps.
    Kept(kept::Loan),
    /// One of a key's.
    Keyed(keyed::Loan),
}

impl Loan {
    fn alive(&mut self) -> Option<&mut Alive> {
        match self {
            Loan::Kept(loan) => loan.alive(),
            Loan::Keyed(loan) => loan.alive(),
        }
    }

    fn settle(self, outcome: &Outcome) {
        match self {
            Loan::Kept(loan) => loan.settle(outcome),
            Loan::Keyed(loan) => loan.settle(outcome),
        }
    }
}

/// An instance, lent until the call has its outcome.
async fn borrow<'a>(
    instances: &Instances,
    job: &Job,
    function: &Function,
    loan: &'a mut Option<Loan>,
) -> Result<&'a mut Alive, Failure> {
    let lent = match instances {
        Instances::Fresh => None,
        Instances::Kept(kept) => {
            let lent = kept.lend(job.call, &job.limits).map_err(Failure::Ended)?;
            Some(Loan::Kept(lent))
        }
        Instances::Keyed(keyed) => {
            let lent = keyed.lend(function, &job.limits, job.call).await?;
            Some(Loan::Keyed(lent))
        }
    };
    *loan = lent;
    let alive = loan.as_mut().and_then(Loan::alive);
    Ok(alive.ok_or_else(|| Error::msg("the instance was given back"))?)
}

fn no_function() -> Error {
    Error::msg("the function is not in the instance")
}
