//! MessagePack to values: the shapes lead, as they do for JSON, and the same visitors take the values.
//!
//! Owns: what differs from JSON, which is the reader, the end of the text and the words for both.

use std::fmt;

use rmp_serde::Deserializer;
use rmp_serde::decode::{Error, ReadRefReader};
use serde::de::{Deserializer as _, Visitor};
use wasmtime::component::Val;

use super::decode_objects::Arguments;
use super::path::Trace;
use super::single::Argument;
use super::{ArgumentError, Signature};

/// The same depth as JSON may have.
const DEPTH_MAX: usize = 128;

/// Reads the map of named arguments; the values are in the order of the parameters.
pub(super) fn arguments(signature: &Signature, packed: &[u8]) -> Result<Vec<Val>, ArgumentError> {
    let trace = Trace::exact(packed.len());
    let visitor = Arguments {
        names: &signature.names,
        shapes: &signature.params,
        trace: &trace,
    };
    let read = read(packed, visitor);
    read.map_err(|error| finish(trace, &error))
}

/// The only argument's bytes, borrowed from `packed` or kept in `scratch`.
pub(super) fn single<'a>(
    signature: &Signature,
    packed: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], ArgumentError> {
    let kind = signature.single_kind()?;
    let trace = Trace::exact(packed.len());
    scratch.clear();
    let visitor = Argument {
        signature,
        kind,
        trace: &trace,
        scratch,
    };
    match read(packed, visitor) {
        Ok(Some(borrowed)) => Ok(borrowed),
        Ok(None) => Ok(scratch),
        Err(error) => Err(finish(trace, &error)),
    }
}

fn read<'a, V: Visitor<'a>>(packed: &'a [u8], visitor: V) -> Result<V::Value, Error> {
    let mut reader: Deserializer<ReadRefReader<'a, [u8]>> = Deserializer::from_read_ref(packed);
    reader.set_max_depth(DEPTH_MAX);
    let value = reader.deserialize_any(visitor)?;
    // The reader does not say where it is; at the end there is no marker to be read.
    match reader.deserialize_any(Nothing) {
        Err(Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(Error::Syntax("something follows the map".to_owned())),
    }
}

/// Takes no value, so that one is refused before what it holds is read.
struct Nothing;

impl Visitor<'_> for Nothing {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing more")
    }
}

#[cold]
fn finish(trace: Trace, error: &Error) -> ArgumentError {
    trace.finish_as(
        "a MessagePack map",
        || match error {
            Error::DepthLimitExceeded => format!("nested deeper than {DEPTH_MAX} levels"),
            _ => format!("malformed MessagePack: {error}"),
        },
        &error.to_string(),
    )
}
