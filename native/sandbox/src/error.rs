//! From what went wrong to a status and its JSON payload.
//!
//! Owns: which status a wasmtime error becomes and the words that describe it. It must not know how
//! a call is run.

use std::any::Any;

use serde_json::{Map, Value, json};
use wasmtime::component::ResourceTableError;
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::abi::{
    ATOLL_CANCELLED, ATOLL_COMPONENT, ATOLL_DEADLINE, ATOLL_FLAG_JSON, ATOLL_INVALID_ARGUMENT,
    ATOLL_LIMIT, ATOLL_NOT_FOUND, ATOLL_OVERLOADED, ATOLL_PANIC, ATOLL_TRAP, ATOLL_UNSUPPORTED,
    AtollStatus,
};
use crate::limits::{LimitExceeded, LimitKind, Limits};
use crate::values::ArgumentError;

/// Longest message; guests put words of their own into some.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Payload of a reply after a panic.
pub const PANIC_JSON: &[u8] =
    br#"{"message":"the engine panicked in this call; its instance is gone, nothing else is"}"#;

/// A payload of a panic may itself panic when dropped.
pub fn forget_panic(panic: Box<dyn Any + Send>) {
    std::mem::forget(panic);
}

/// How a call ended: what goes into its REPLY.
pub struct Outcome {
    /// Status of the reply.
    pub status: AtollStatus,
    /// Flags of the reply: the payload's encoding.
    pub flags: u16,
    /// Payload of the reply.
    pub bytes: Vec<u8>,
}

impl Outcome {
    /// A reply with a JSON payload.
    pub fn json(status: AtollStatus, value: &Value) -> Outcome {
        Outcome {
            status,
            flags: ATOLL_FLAG_JSON,
            bytes: value.to_string().into_bytes(),
        }
    }

    /// A failure that is only a sentence.
    pub fn message(status: AtollStatus, message: impl Into<String>) -> Outcome {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push('…');
        }
        Outcome::json(status, &json!({ "message": message }))
    }

    /// The guest went over a limit.
    pub fn limit(limit: &LimitExceeded) -> Outcome {
        let mut fields = Map::new();
        fields.insert("message".into(), limit.to_string().into());
        fields.insert("limit".into(), limit.kind.name().into());
        fields.insert("value".into(), limit.value.into());
        if let Some(key) = limit.kind.key() {
            fields.insert("key".into(), key.into());
        }
        Outcome::json(ATOLL_LIMIT, &Value::Object(fields))
    }

    /// The caller's budget ran out.
    pub fn deadline() -> Outcome {
        Outcome::message(
            ATOLL_DEADLINE,
            "the call's deadline passed before the guest answered",
        )
    }

    /// The caller asked for the end.
    pub fn cancelled() -> Outcome {
        Outcome::message(ATOLL_CANCELLED, "the call was cancelled")
    }

    /// A panic was caught.
    pub fn panic() -> Outcome {
        Outcome {
            status: ATOLL_PANIC,
            flags: ATOLL_FLAG_JSON,
            bytes: PANIC_JSON.to_vec(),
        }
    }

    /// A handle that names nothing, any more.
    pub fn not_found() -> Outcome {
        Outcome::message(
            ATOLL_NOT_FOUND,
            "the component was unloaded, or the instance dropped",
        )
    }

    /// Something this engine cannot do.
    pub fn unsupported(message: impl Into<String>) -> Outcome {
        Outcome::message(ATOLL_UNSUPPORTED, message)
    }

    /// A component that is refused.
    pub fn component(message: impl Into<String>) -> Outcome {
        Outcome::message(ATOLL_COMPONENT, message)
    }

    /// Arguments that do not fit.
    pub fn argument(error: &ArgumentError) -> Outcome {
        let mut fields = Map::new();
        fields.insert("message".into(), error.message.as_str().into());
        fields.insert("path".into(), error.path.as_str().into());
        if !error.expected.is_empty() {
            fields.insert("expected".into(), error.expected.as_str().into());
        }
        Outcome::json(ATOLL_INVALID_ARGUMENT, &Value::Object(fields))
    }

    /// Whatever wasmtime reported for a call.
    pub fn from_wasmtime(error: &Error, limits: &Limits) -> Outcome {
        if let Some(kind) = exceeded(error) {
            return Outcome::limit(&LimitExceeded {
                kind,
                value: limits.value(kind),
            });
        }
        if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
            return Outcome::json(
                ATOLL_OVERLOADED,
                &json!({
                    "message": format!("the engine's pool is full: {}", error.root_cause()),
                    "retryAfterSeconds": 1,
                }),
            );
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return Outcome::message(ATOLL_TRAP, trap_text(*trap));
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return Outcome::message(
                ATOLL_TRAP,
                format!("the guest called exit with status {}", exit.0),
            );
        }
        Outcome::message(
            ATOLL_TRAP,
            format!("the guest failed: {}", host_text(error)),
        )
    }
}

/// What wasmtime says when the host would copy too much out of a guest.
const OUT_OF_FUEL: &str = "fuel allocated for hostcalls has been exhausted";

/// Whether the host would have copied too much out of the guest.
pub fn ran_out_of_fuel(error: &Error) -> bool {
    error.root_cause().to_string().contains(OUT_OF_FUEL)
}

/// Which limit an error stands for, if it is one.
fn exceeded(error: &Error) -> Option<LimitKind> {
    if let Some(limit) = error.downcast_ref::<LimitExceeded>() {
        return Some(limit.kind);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return (*trap == Trap::StackOverflow).then_some(LimitKind::Stack);
    }
    if matches!(
        error.downcast_ref::<ResourceTableError>(),
        Some(ResourceTableError::Full)
    ) {
        return Some(LimitKind::Resources);
    }
    // wasmtime has no types for these; the tests fail when its words change.
    let text = error.root_cause().to_string();
    if text.contains(OUT_OF_FUEL) {
        // Of what a guest gives its host, arguments come out of its midst and a result does not.
        let in_guest = error.downcast_ref::<WasmBacktrace>().is_some();
        Some(if in_guest {
            LimitKind::HostCall
        } else {
            LimitKind::Output
        })
    } else if text.contains("store handle limit exceeded") {
        Some(LimitKind::Resources)
    } else if text.starts_with("requested len ") {
        Some(LimitKind::Random)
    } else if text == "total size of fields exceeds limit" {
        Some(LimitKind::Fields)
    } else if text.starts_with("resource limit exceeded: ") {
        // Instance, memory and table count: all three follow the one limit.
        Some(LimitKind::Instances)
    } else {
        None
    }
}

/// What the host said, without where in the guest it was called from.
fn host_text(error: &Error) -> String {
    let words: Vec<String> = error
        .chain()
        .map(ToString::to_string)
        .filter(|text| !text.starts_with("error while executing at wasm backtrace"))
        .collect();
    words.join(": ")
}

fn trap_text(trap: Trap) -> String {
    let what = match trap {
        Trap::UnreachableCodeReached => {
            "it reached `unreachable` (in Rust and C most often a panic or an abort)".into()
        }
        Trap::MemoryOutOfBounds => "it accessed memory out of bounds".into(),
        Trap::IntegerDivisionByZero => "it divided an integer by zero".into(),
        other => {
            let text = other.to_string();
            text.strip_prefix("wasm trap: ")
                .map_or(text.clone(), str::to_owned)
        }
    };
    format!("the guest trapped: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outcome: &Outcome) -> Value {
        serde_json::from_slice(&outcome.bytes).expect("JSON")
    }

    #[test]
    fn a_limit_names_itself_its_value_and_its_key() {
        let limits = Limits {
            memory_bytes: 4096,
            ..Limits::default()
        };
        let error = Error::new(LimitExceeded {
            kind: LimitKind::Memory,
            value: 4096,
        });
        let outcome = Outcome::from_wasmtime(&error.context("while growing"), &limits);
        assert_eq!(outcome.status, ATOLL_LIMIT);
        let json = text(&outcome);
        assert_eq!(json["limit"], "memory");
        assert_eq!(json["value"], 4096);
        assert_eq!(json["key"], "limits.memoryBytes");
    }

    #[test]
    fn a_stack_overflow_is_a_limit_and_another_trap_is_not() {
        let limits = Limits::default();
        let outcome = Outcome::from_wasmtime(&Trap::StackOverflow.into(), &limits);
        assert_eq!(outcome.status, ATOLL_LIMIT);
        assert_eq!(text(&outcome)["limit"], "stack");
        let outcome = Outcome::from_wasmtime(&Trap::IntegerDivisionByZero.into(), &limits);
        assert_eq!(outcome.status, ATOLL_TRAP);
        assert!(
            text(&outcome)["message"]
                .as_str()
                .is_some_and(|m| m.contains("by zero"))
        );
    }
}
