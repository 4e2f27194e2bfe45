//! What a JSON string stands for when the type is not `string`: numbers beyond JSON, characters,
//! bytes and the names of cases.

use serde::de;
use wasmtime::component::Val;

use super::base64;
use super::decode::Value;
use super::decode_objects as objects;
use super::names::Names;
use super::path::quote;
use super::shape::Shape;

/// The value of `text` for the visitor's shape.
pub(super) fn value<E: de::Error>(visitor: &Value<'_>, text: &str) -> Result<Val, E> {
    match visitor.shape {
        Shape::String => {
            visitor.trace.charge(visitor.shape, text.len(), 1)?;
            Ok(Val::String(text.to_owned()))
        }
        Shape::Bytes => bytes(visitor, text).map(Val::List),
        Shape::FixedBytes(length) => {
            let values = bytes(visitor, text)?;
            if values.len() != *length {
                return Err(visitor.wrong(&format!("{} bytes", values.len())));
            }
            Ok(Val::FixedLengthList(values))
        }
        Shape::Char => character(visitor, text),
        Shape::Enum(names) => match names.find(text, 0) {
            Some(index) => Ok(Val::Enum(names.get(index).to_owned())),
            None => Err(objects::unknown_case(
                visitor.trace,
                visitor.shape,
                names,
                text,
            )),
        },
        Shape::Variant(variant) => objects::bare_case(visitor.trace, visitor.shape, variant, text),
        Shape::S64 | Shape::U64 => decimal(visitor, text),
        Shape::F32 => match float(text) {
            Some(number) => Ok(Val::Float32(number as f32)),
            None => Err(visitor.wrong("a string")),
        },
        Shape::F64 => match float(text) {
            Some(number) => Ok(Val::Float64(number)),
            None => Err(visitor.wrong("a string")),
        },
        _ => Err(visitor.wrong("a string")),
    }
}

/// u64 and s64 as decimal text: digits only, with `-` for s64.
fn decimal<E: de::Error>(visitor: &Value<'_>, text: &str) -> Result<Val, E> {
    let signed = matches!(visitor.shape, Shape::S64);
    let digits = text.strip_prefix('-').filter(|_| signed).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(visitor.wrong(&format!("the string {}", quote(text))));
    }
    match text.parse::<i128>() {
        Ok(number) => visitor.integer(number),
        Err(_) => Err(visitor.out_of_range(quote(text))),
    }
}

fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// How JSON says a number that it has no form for; MessagePack has one.
pub(super) fn not_finite(number: f64) -> &'static str {
    match number {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

fn character<E: de::Error>(visitor: &Value<'_>, text: &str) -> Result<Val, E> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(Val::Char(character)),
        (None, _) => Err(visitor.wrong("an empty string")),
        _ => Err(visitor.wrong("a string of more than one character")),
    }
}

fn bytes<E: de::Error>(visitor: &Value<'_>, text: &str) -> Result<Vec<Val>, E> {
    // Three bytes for four characters, each a value.
    visitor
        .trace
        .charge(visitor.shape, text.len() / 4 * 3, size_of::<Val>())?;
    let mut bytes = Vec::new();
    match base64::decode(text.as_bytes(), &mut bytes) {
        Ok(()) => Ok(bytes.into_iter().map(Val::U8).collect()),
        Err(problem) => Err(visitor.trace.bad_base64(visitor.shape, &problem)),
    }
}

/// Bytes that are not written as text.
pub(super) fn plain_bytes<E: de::Error>(visitor: &Value<'_>, bytes: &[u8]) -> Result<Val, E> {
    let values = || {
        visitor
            .trace
            .charge(visitor.shape, bytes.len(), size_of::<Val>())?;
        Ok(bytes.iter().copied().map(Val::U8).collect())
    };
    match visitor.shape {
        Shape::Bytes => Ok(Val::List(values()?)),
        Shape::FixedBytes(length) if bytes.len() == *length => Ok(Val::FixedLengthList(values()?)),
        Shape::FixedBytes(_) => Err(visitor.wrong(&format!("{} bytes", bytes.len()))),
        _ => Err(visitor.wrong("bytes")),
    }
}

/// One name of a set of flags, marked in the set.
pub(super) struct Flag<'a> {
    pub(super) names: &'a Names,
    pub(super) set: &'a mut [bool],
    pub(super) visitor: Value<'a>,
}

impl<'de> de::DeserializeSeed<'de> for Flag<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, text: D) -> Result<(), D::Error> {
        let visitor = self.visitor;
        text.deserialize_any(self)
            .map_err(|error| visitor.trace.adopt(visitor.shape, error))
    }
}

impl de::Visitor<'_> for Flag<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<(), E> {
        let expected = || self.visitor.shape.name();
        let Some(index) = self.names.find(name, 0) else {
            let hint = self.names.hint(name);
            let message = format!("{} is not one of the flags{hint}", quote(name));
            return Err(self.visitor.trace.fail(expected(), message));
        };
        match self.set.get_mut(index) {
            Some(set) if !*set => {
                *set = true;
                Ok(())
            }
            _ => {
                let message = format!("the flag {} is given twice", quote(name));
                Err(self.visitor.trace.fail(expected(), message))
            }
        }
    }
}
