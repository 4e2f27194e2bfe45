//! The short way for functions whose only parameter is a `string` or a `list<u8>`: bytes in place
//! of a tree of values, which holds one enum a byte.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use wasmtime::component::Val;

use super::decode_objects::{Key, missing, twice};
use super::path::{Trace, VALUES_MAX};
use super::shape::Shape;
use super::{ArgumentError, Signature, SingleParam, base64};

/// The only argument's bytes, borrowed from `json` or kept in `scratch`.
pub(super) fn parse_single<'a>(
    signature: &Signature,
    json: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], ArgumentError> {
    let kind = signature.single_kind()?;
    let trace = Trace::new(json.len());
    scratch.clear();
    let mut text = serde_json::Deserializer::from_slice(json);
    let visitor = Argument {
        signature,
        kind,
        trace: &trace,
        scratch,
    };
    match text
        .deserialize_map(visitor)
        .and_then(|place| text.end().map(|()| place))
    {
        Ok(Some(borrowed)) => Ok(borrowed),
        Ok(None) => Ok(scratch),
        Err(error) => Err(trace.finish(&error)),
    }
}

/// The only argument from plain bytes.
pub(super) fn parse_raw(signature: &Signature, raw: &[u8]) -> Result<Vec<Val>, ArgumentError> {
    match signature.single_param() {
        Some(SingleParam::Bytes) if raw.len().saturating_mul(size_of::<Val>()) > VALUES_MAX => {
            Err(ArgumentError {
                path: format!("arguments.{}", signature.names.get(0)),
                expected: Shape::Bytes.name(),
                message: format!(
                    "{} bytes are more than a function with such a result can be given; it takes {}",
                    raw.len(),
                    VALUES_MAX / size_of::<Val>()
                ),
            })
        }
        Some(SingleParam::Bytes) => Ok(vec![Val::List(raw.iter().copied().map(Val::U8).collect())]),
        Some(SingleParam::String) => Ok(vec![Val::String(parse_text(signature, raw)?.to_owned())]),
        None => Err(not_single()),
    }
}

/// The only argument, a `string`, from plain bytes.
pub(super) fn parse_text<'a>(
    signature: &Signature,
    raw: &'a [u8],
) -> Result<&'a str, ArgumentError> {
    std::str::from_utf8(raw).map_err(|error| ArgumentError {
        path: format!("arguments.{}", signature.names.get(0)),
        expected: "string".to_owned(),
        message: format!("invalid UTF-8 at byte {}", error.valid_up_to()),
    })
}

impl Signature {
    /// What the only parameter is; fails where there is no such one.
    pub(super) fn single_kind(&self) -> Result<SingleParam, ArgumentError> {
        self.single_param().ok_or_else(not_single)
    }
}

fn not_single() -> ArgumentError {
    ArgumentError {
        path: "arguments".to_owned(),
        expected: "a JSON object".to_owned(),
        message: "the function takes no single string or list<u8>".to_owned(),
    }
}

/// The object of arguments: `Some` is the bytes in place, `None` that `scratch` has them.
pub(super) struct Argument<'a, 'b> {
    pub(super) signature: &'a Signature,
    pub(super) kind: SingleParam,
    pub(super) trace: &'a Trace,
    pub(super) scratch: &'b mut Vec<u8>,
}

impl<'de> Visitor<'de> for Argument<'_, '_> {
    type Value = Option<&'de [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Option<&'de [u8]>, A::Error> {
        let Argument {
            signature,
            kind,
            trace,
            scratch,
        } = self;
        let name = signature.names.get(0);
        let shape = match kind {
            SingleParam::String => &Shape::String,
            SingleParam::Bytes => &Shape::Bytes,
        };
        let mut place = None;
        let key = || Key {
            names: &signature.names,
            hint: 0,
            noun: "parameter",
            trace,
        };
        while entries.next_key_seed(key())?.is_some() {
            if place.is_some() {
                return Err(twice(trace, name, shape));
            }
            match entries.next_value_seed(Text {
                shape,
                trace,
                scratch: &mut *scratch,
            }) {
                Ok(text) => place = Some(text),
                Err(error) => return Err(trace.at_name(name, error)),
            }
        }
        match place {
            Some(text) => Ok(text),
            None => missing(trace, "argument", name, shape).map(|_| None),
        }
    }
}

struct Text<'a, 'b> {
    shape: &'a Shape,
    trace: &'a Trace,
    scratch: &'b mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Text<'_, '_> {
    type Value = Option<&'de [u8]>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<&'de [u8]>, D::Error> {
        let Text { shape, trace, .. } = self;
        json.deserialize_any(self)
            .map_err(|error| trace.adopt(shape, error))
    }
}

impl<'de> Visitor<'de> for Text<'_, '_> {
    type Value = Option<&'de [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Option<&'de [u8]>, E> {
        match self.shape {
            Shape::Bytes => Ok(Some(bytes)),
            _ => Err(de::Error::invalid_type(de::Unexpected::Bytes(&[]), &self)),
        }
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Option<&'de [u8]>, E> {
        match self.shape {
            Shape::String => Ok(Some(text.as_bytes())),
            _ => self.visit_str(text),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<&'de [u8]>, E> {
        match self.shape {
            Shape::String => self.scratch.extend_from_slice(text.as_bytes()),
            shape => {
                if let Err(problem) = base64::decode(text.as_bytes(), self.scratch) {
                    return Err(self.trace.bad_base64(shape, &problem));
                }
            }
        }
        Ok(None)
    }
}
