//! Where in the arguments a value is wrong, and how much memory they take.
//!
//! No place is tracked while all goes well: it is put together from the inside out while an error
//! unwinds, each level adding its own step.

use std::cell::Cell;

use serde::de;

use super::ArgumentError;
use super::shape::Shape;

/// Longest part of a client's text that is repeated in an error, in characters.
const QUOTE_MAX: usize = 64;

/// Most memory that the values of one call may take, in bytes by our own reckoning.
///
/// Text grows when it becomes values: a character of base64 to 24 bytes, and the two bytes of `{}` to as
/// many fields as a record has options, which would be kilobytes.
pub(super) const VALUES_MAX: usize = 128 << 20;
/// What any text may become, and how much more each byte of it allows: a kilobyte of arguments must
/// not hold the caller's thread for as long as a megabyte does.
const VALUES_BASE: usize = 1 << 20;
const VALUES_PER_BYTE: usize = 256;

enum Step {
    Name(String),
    Index(usize),
}

struct Failure {
    /// Innermost first.
    steps: Vec<Step>,
    expected: String,
    message: String,
}

/// Collects the one failure of a conversion; serde's own errors have no room for a path.
pub(super) struct Trace {
    failure: Cell<Option<Box<Failure>>>,
    room: Cell<usize>,
    /// Whether integers beyond what a double holds arrive as they were sent.
    pub(super) exact: bool,
}

impl Trace {
    /// For an encoding of `length` bytes that keeps all integers.
    pub(super) fn exact(length: usize) -> Trace {
        let mut trace = Trace::new(length);
        trace.exact = true;
        trace
    }

    /// For a text of `length` bytes.
    pub(super) fn new(length: usize) -> Trace {
        let room = VALUES_BASE.saturating_add(length.saturating_mul(VALUES_PER_BYTE));
        Trace {
            failure: Cell::new(None),
            room: Cell::new(room.min(VALUES_MAX)),
            exact: false,
        }
    }

    /// Takes memory for `count` things of `size` bytes from what the call may still use.
    pub(super) fn charge<E: de::Error>(
        &self,
        shape: &Shape,
        count: usize,
        size: usize,
    ) -> Result<(), E> {
        match self.room.get().checked_sub(count.saturating_mul(size)) {
            Some(room) => {
                self.room.set(room);
                Ok(())
            }
            None => Err(self.exhausted(shape)),
        }
    }

    #[cold]
    fn exhausted<E: de::Error>(&self, shape: &Shape) -> E {
        let message = "the arguments take too much memory for their length".to_owned();
        self.fail(shape.name(), message)
    }

    /// Records what is wrong here and gives the error that unwinds.
    #[cold]
    pub(super) fn fail<E: de::Error>(&self, expected: String, message: String) -> E {
        self.failure.set(Some(Box::new(Failure {
            steps: Vec::new(),
            expected,
            message,
        })));
        E::custom("")
    }

    /// Records that a string is not the base64 of `shape`.
    #[cold]
    pub(super) fn bad_base64<E: de::Error>(&self, shape: &Shape, problem: &str) -> E {
        let expected = shape.name();
        let message = format!("expected {expected} as base64 text: {problem}");
        self.fail(expected, message)
    }

    /// Adds the name of the field that `error` came from.
    #[cold]
    pub(super) fn at_name<E>(&self, name: &str, error: E) -> E {
        self.step(Step::Name(name.to_owned()));
        error
    }

    /// Adds the index of the element that `error` came from.
    #[cold]
    pub(super) fn at_index<E>(&self, index: usize, error: E) -> E {
        self.step(Step::Index(index));
        error
    }

    fn step(&self, step: Step) {
        if let Some(mut failure) = self.failure.take() {
            failure.steps.push(step);
            self.failure.set(Some(failure));
        }
    }

    /// Gives an error of serde's own the place it has none of: a value of the wrong kind, or a
    /// number too large for an f64.
    #[cold]
    pub(super) fn adopt<E: de::Error>(&self, shape: &Shape, error: E) -> E {
        self.adopt_as(|| (shape.name(), shape.wanted()), error)
    }

    /// [`Trace::adopt`] where the type is no shape: `names` gives its name, and how a message asks
    /// for it.
    #[cold]
    pub(super) fn adopt_as<E: de::Error>(
        &self,
        names: impl FnOnce() -> (String, String),
        error: E,
    ) -> E {
        if let Some(failure) = self.failure.take() {
            self.failure.set(Some(failure));
            return error;
        }
        let text = error.to_string();
        let too_large = text.starts_with("number out of range");
        match wrong_kind(&text) {
            Some(got) => {
                let (expected, wanted) = names();
                self.fail(expected, format!("expected {wanted}, got {got}"))
            }
            None if too_large => {
                let (expected, _) = names();
                let message = format!("number out of range for {expected}");
                self.fail(expected, message)
            }
            None => error,
        }
    }

    /// The error for the client: the recorded failure, or else `json` is not a JSON object.
    #[cold]
    pub(super) fn finish(self, error: &serde_json::Error) -> ArgumentError {
        let text = error.to_string();
        let malformed = || match text.starts_with("recursion limit exceeded") {
            true => format!("nested deeper than 128 levels at line {}", error.line()),
            false => format!("malformed JSON: {text}"),
        };
        self.finish_as("a JSON object", malformed, &text)
    }

    /// The same for any encoding: what is `expected` of the whole, what `malformed` says when it is
    /// none, and the error as a text.
    #[cold]
    pub(super) fn finish_as(
        self,
        expected: &str,
        malformed: impl FnOnce() -> String,
        text: &str,
    ) -> ArgumentError {
        if let Some(failure) = self.failure.take() {
            let mut path = String::from("arguments");
            for step in failure.steps.iter().rev() {
                write_step(&mut path, step);
            }
            return ArgumentError {
                path,
                expected: failure.expected,
                message: failure.message,
            };
        }
        let message = match wrong_kind(text) {
            Some(got) => format!("expected {expected}, got {got}"),
            None => malformed(),
        };
        ArgumentError {
            path: "arguments".to_owned(),
            expected: expected.to_owned(),
            message,
        }
    }
}

/// What serde found instead of what it wanted; its errors tell only in words.
fn wrong_kind(text: &str) -> Option<&'static str> {
    let got = text.strip_prefix("invalid type: ")?;
    let kinds = [
        ("null", "null"),
        ("unit", "null"),
        ("boolean", "a boolean"),
        ("integer", "a number"),
        ("floating", "a number"),
        ("string", "a string"),
        ("sequence", "an array"),
        ("map", "an object"),
        ("byte array", "bytes"),
    ];
    let kind = kinds.iter().find(|(serde, _)| got.starts_with(serde))?;
    Some(kind.1)
}

fn write_step(path: &mut String, step: &Step) {
    match step {
        Step::Index(index) => path.push_str(&format!("[{index}]")),
        Step::Name(name) => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if !name.is_empty() && name.len() <= QUOTE_MAX && name.bytes().all(plain) {
                path.push('.');
                path.push_str(name);
            } else {
                path.push_str(&format!("[{}]", quote(name)));
            }
        }
    }
}

/// A client's text as a JSON string, cut to a length that fits a message.
pub(super) fn quote(text: &str) -> String {
    let mut cut: String = text.chars().take(QUOTE_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    serde_json::to_string(&cut).unwrap_or_default()
}
