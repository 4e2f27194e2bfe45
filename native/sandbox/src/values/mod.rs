//! WIT values in JSON, both ways: arguments in, results out.
//!
//! Owns the mapping between JSON text and wasmtime's dynamic values. It must not know engines,
//! stores, frames or limits other than the size of an output: a [`Signature`] is made once when a
//! component is loaded and then only turns bytes into values and values into bytes.
//!
//! wasmtime's type reflection resolves a handle at every step, so the types are copied once into a
//! tree of our own (`shape::Shape`) that both directions walk without looking anything up.

mod base64;
mod decode;
mod decode_maps;
mod decode_objects;
mod decode_text;
mod encode;
mod names;
mod packed;
mod path;
mod shape;
mod single;

#[cfg(test)]
mod tests;

use std::fmt;

use wasmtime::component::Val;
use wasmtime::component::types::ComponentFunc;

use names::Names;
pub use shape::TypeBudget;
use shape::{Builder, Shape};

/// Longest part of a component's name that a sentence repeats, in bytes.
const QUOTED_MAX: usize = 64;

/// The types of one exported function, ready to convert values.
#[derive(Debug)]
pub struct Signature {
    names: Names,
    params: Box<[Shape]>,
    result: Option<Shape>,
}

/// Why a function has no JSON form: its signature holds a type that only lives inside a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmappable {
    /// One sentence for a human, naming the parameter or the result.
    pub reason: String,
}

/// Arguments that do not fit the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentError {
    /// Where, as in `arguments.items[3].price`.
    pub path: String,
    /// The WIT type wanted there, as in `f64`; empty where a name is unknown.
    pub expected: String,
    /// What is wrong, as in `expected f64, got a string`.
    pub message: String,
}

/// A result that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputError {
    /// The JSON would be longer than `limit` bytes.
    TooLarge {
        /// The limit that was given, in bytes.
        limit: usize,
    },
    /// The values are not of the signature's types: a value of another function.
    Mismatch {
        /// The WIT type that the signature has.
        expected: String,
    },
}

/// Which side of a top-level `result` was written; a function without one is always `Ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultSide {
    /// The value itself.
    Ok,
    /// The error of the `result`.
    Error,
}

/// The type of the only parameter, where it can be passed as plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SingleParam {
    /// `string`
    String,
    /// `list<u8>`
    Bytes,
}

impl Signature {
    /// Copies the types of `func`.
    ///
    /// Fails for resources, streams, futures and error contexts anywhere in the signature, and for
    /// types so large (over 10,000 nodes written out, or more than `budget` has left for the
    /// component) that only an attack has them.
    pub fn of(func: &ComponentFunc, budget: &mut TypeBudget) -> Result<Signature, Unmappable> {
        let mut builder = Builder::new(budget);
        let mut names = Vec::new();
        let mut params = Vec::new();
        for (name, ty) in func.params() {
            let unmappable = |reason| Unmappable {
                reason: format!("parameter {} {reason}", quoted(name)),
            };
            names.push(builder.param(name).map_err(unmappable)?);
            params.push(builder.shape(&ty).map_err(unmappable)?);
        }
        let mut results = func.results();
        let result = match results.next() {
            None => None,
            Some(ty) => Some(builder.shape(&ty).map_err(|reason| Unmappable {
                reason: format!("the result {reason}"),
            })?),
        };
        if results.next().is_some() {
            return Err(Unmappable {
                reason: "the function has more than one result".to_owned(),
            });
        }
        builder.done();
        Ok(Signature {
            names: Names::new(names),
            params: params.into(),
            result,
        })
    }

    /// Reads a JSON object of named arguments; the values are in the order of the parameters.
    ///
    /// Refuses arguments that would take more than 128 MiB as values, however short their text.
    pub fn parse_arguments(&self, json: &[u8]) -> Result<Vec<Val>, ArgumentError> {
        decode_objects::arguments(&self.names, &self.params, json)
    }

    /// The same from a MessagePack map. A `list<u8>` may be `bin` there, and integers are exact.
    pub fn parse_packed(&self, packed: &[u8]) -> Result<Vec<Val>, ArgumentError> {
        packed::arguments(self, packed)
    }

    /// Makes the only argument from its plain bytes; see [`Signature::single_param`].
    ///
    /// Fails where there is no such parameter, where a `string` is not UTF-8 and where the values
    /// would take more than 128 MiB.
    pub fn parse_raw(&self, raw: &[u8]) -> Result<Vec<Val>, ArgumentError> {
        single::parse_raw(self, raw)
    }

    /// The only argument, a `string`, from its plain bytes, in place.
    ///
    /// Fails where they are not UTF-8.
    pub fn parse_text<'a>(&self, raw: &'a [u8]) -> Result<&'a str, ArgumentError> {
        single::parse_text(self, raw)
    }

    /// Appends the result as JSON to `out`, at most `limit` bytes of it.
    ///
    /// A top-level `result` is taken off and told by the side; no value is `null`. On failure `out`
    /// is as it was before.
    pub fn write_result(
        &self,
        results: &[Val],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<ResultSide, OutputError> {
        encode::write_result(self.result.as_ref(), results, out, limit)
    }

    /// Appends the plain bytes of a `string` or `list<u8>` result, at most `limit` of them.
    ///
    /// `Ok(false)`, with nothing written, where the value is neither or is the error side: such a
    /// reply is JSON.
    pub fn write_raw(
        &self,
        results: &[Val],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<bool, OutputError> {
        if !self.has_plain_result() {
            return Ok(false);
        }
        encode::write_raw(results, out, limit)
    }

    /// The only parameter's type, if there is exactly one and it is a `string` or `list<u8>`.
    pub fn single_param(&self) -> Option<SingleParam> {
        match &*self.params {
            [Shape::String] => Some(SingleParam::String),
            [Shape::Bytes] => Some(SingleParam::Bytes),
            _ => None,
        }
    }

    /// The only argument's bytes from a JSON object of arguments: the UTF-8 of a `string`, the
    /// decoded base64 of a `list<u8>`. Borrowed from `json` where the text has no escapes.
    pub fn parse_single<'a>(
        &self,
        json: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], ArgumentError> {
        single::parse_single(self, json, scratch)
    }

    /// The same from a MessagePack map. Borrowed from `packed` where a `string` is `str` or a
    /// `list<u8>` is `bin`.
    pub fn parse_packed_single<'a>(
        &self,
        packed: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], ArgumentError> {
        packed::single(self, packed, scratch)
    }

    /// Whether the result, with a top-level `result` taken off, is a `string` or a `list<u8>`.
    pub fn has_plain_result(&self) -> bool {
        let shape = match &self.result {
            Some(Shape::Result(ok, _)) => ok.as_deref(),
            other => other.as_ref(),
        };
        matches!(shape, Some(Shape::String | Shape::Bytes))
    }

    /// How many values a call returns: 0 or 1.
    pub fn results_len(&self) -> usize {
        usize::from(self.result.is_some())
    }
}

/// Appends `text` as JSON to `out`; `false`: that is more than `limit` bytes, and `out` holds a part.
pub fn write_text(text: &str, out: &mut Vec<u8>, limit: usize) -> bool {
    encode::write_text(text, out, limit)
}

/// Appends `bytes` as JSON to `out`, as base64; `false`: that is more than `limit` bytes.
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>, limit: usize) -> bool {
    encode::write_bytes(bytes, out, limit)
}

/// A name from a component, as a sentence repeats it.
fn quoted(name: &str) -> String {
    if name.len() <= QUOTED_MAX {
        return format!("`{name}`");
    }
    format!("`{}…`", &name[..name.floor_char_boundary(QUOTED_MAX)])
}

impl fmt::Display for Unmappable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputError::TooLarge { limit } => {
                write!(f, "the result is longer than {limit} bytes")
            }
            OutputError::Mismatch { expected } => {
                write!(f, "the result is not of the type {expected}")
            }
        }
    }
}

impl std::error::Error for Unmappable {}
impl std::error::Error for ArgumentError {}
impl std::error::Error for OutputError {}
