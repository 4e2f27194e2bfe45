//! JSON to values: one pass over the text, led by the shapes.
//!
//! Owns what JSON writes as null, a boolean, a number, a string or an array; what it writes as an
//! object is in `decode_objects`. Recursion is bounded twice: by the depth of the WIT types and by
//! serde_json's 128 levels.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use super::decode_maps as maps;
use super::decode_objects as objects;
use super::decode_text as text;
use super::names::Names;
use super::path::Trace;
use super::shape::Shape;

/// Integers up to this size are exact as an f64, which is how `3.0` and `3e2` arrive.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// The largest integer that no other integer is rounded to: JavaScript's MAX_SAFE_INTEGER.
const EXACT_INTEGER_MAX: u128 = 9_007_199_254_740_991;

/// Decodes one value of a shape.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    pub(super) shape: &'a Shape,
    pub(super) trace: &'a Trace,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Val, D::Error> {
        let Seed { shape, trace } = self;
        trace.charge(shape, 1, size_of::<Val>())?;
        let (shape, nullable) = match shape {
            Shape::Option(inner) => (&**inner, true),
            Shape::NestedOption(_) => (shape, true),
            _ => (shape, false),
        };
        let visitor = Value {
            shape,
            nullable,
            trace,
        };
        let value = match json.deserialize_any(visitor) {
            Ok(value) => value,
            Err(error) => return Err(trace.adopt(shape, error)),
        };
        if nullable {
            Ok(Val::Option(value.map(Box::new)))
        } else {
            value.ok_or_else(|| visitor.wrong("null"))
        }
    }
}

/// Takes any JSON value for a shape; gives `None` for `null`, which only an option may be.
///
/// For an option of an option the value is the payload, as for a plain option.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) shape: &'a Shape,
    nullable: bool,
    pub(super) trace: &'a Trace,
}

impl Value<'_> {
    #[cold]
    pub(super) fn wrong<E: de::Error>(&self, got: &str) -> E {
        let expected = self.shape.name();
        let message = format!("expected {}, got {got}", self.shape.wanted());
        self.trace.fail(expected, message)
    }

    #[cold]
    pub(super) fn out_of_range<E: de::Error>(&self, number: impl fmt::Display) -> E {
        let expected = self.shape.name();
        let message = match range(self.shape) {
            Some((least, most)) => {
                format!("{number} is out of range for {expected} ({least} to {most})")
            }
            None => format!("{number} is out of range for {expected}"),
        };
        self.trace.fail(expected, message)
    }

    /// A JSON number. Beyond what a double holds exactly it may have been rounded on its way by
    /// whoever read the text before, so a 64-bit integer of that size has to be a string.
    fn number<E: de::Error>(&self, number: i128) -> Result<Val, E> {
        let wide = matches!(self.shape, Shape::S64 | Shape::U64) && !self.trace.exact;
        if wide && number.unsigned_abs() > EXACT_INTEGER_MAX {
            return Err(self.inexact(number));
        }
        self.integer(number)
    }

    #[cold]
    fn inexact<E: de::Error>(&self, number: impl fmt::Display) -> E {
        let message =
            format!("{number} is beyond what a JSON number holds exactly; give it as a string");
        self.trace.fail(self.shape.name(), message)
    }

    /// Whether the integer type has a number that was written with a point or an exponent.
    fn holds(&self, number: f64) -> bool {
        // Rounding the bounds to doubles moves the upper ones just out of the range.
        range(self.shape)
            .is_some_and(|(least, most)| number >= least as f64 && number < most as f64)
    }

    pub(super) fn integer<E: de::Error>(&self, number: i128) -> Result<Val, E> {
        let value = match self.shape {
            Shape::S8 => number.try_into().map(Val::S8),
            Shape::U8 => number.try_into().map(Val::U8),
            Shape::S16 => number.try_into().map(Val::S16),
            Shape::U16 => number.try_into().map(Val::U16),
            Shape::S32 => number.try_into().map(Val::S32),
            Shape::U32 => number.try_into().map(Val::U32),
            Shape::S64 => number.try_into().map(Val::S64),
            Shape::U64 => number.try_into().map(Val::U64),
            Shape::F64 => return Ok(Val::Float64(number as f64)),
            Shape::F32 => return Ok(Val::Float32(number as f32)),
            _ => return Err(self.wrong("a number")),
        };
        value.map_err(|_| self.out_of_range(number))
    }

    fn elements<'de, A: SeqAccess<'de>>(
        &self,
        element: &Shape,
        length: Option<usize>,
        items: &mut A,
    ) -> Result<Vec<Val>, A::Error> {
        let mut values = Vec::new();
        let seed = Seed {
            shape: element,
            trace: self.trace,
        };
        loop {
            match items.next_element_seed(seed) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => return Err(self.trace.at_index(values.len(), error)),
            }
            if length.is_some_and(|length| values.len() > length) {
                break;
            }
        }
        match length {
            Some(length) if values.len() > length => {
                Err(self.wrong(&format!("more than {length} elements")))
            }
            Some(length) if values.len() < length => {
                Err(self.wrong(&format!("{} elements", values.len())))
            }
            _ => Ok(values),
        }
    }

    fn tuple<'de, A: SeqAccess<'de>>(
        &self,
        shapes: &[Shape],
        items: &mut A,
    ) -> Result<Val, A::Error> {
        let mut values = Vec::with_capacity(shapes.len());
        for shape in shapes {
            match items.next_element_seed(Seed {
                shape,
                trace: self.trace,
            }) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => return Err(self.wrong(&format!("{} elements", values.len()))),
                Err(error) => return Err(self.trace.at_index(values.len(), error)),
            }
        }
        match items.next_element::<de::IgnoredAny>()? {
            None => Ok(Val::Tuple(values)),
            Some(_) => Err(self.wrong(&format!("more than {} elements", shapes.len()))),
        }
    }

    /// Flags come out in the order of their declaration, as a guest gives them back.
    fn flags<'de, A: SeqAccess<'de>>(&self, names: &Names, items: &mut A) -> Result<Val, A::Error> {
        let mut set = vec![false; names.len()];
        let mut count = 0;
        loop {
            let flag = text::Flag {
                names,
                set: &mut set,
                visitor: *self,
            };
            match items.next_element_seed(flag) {
                Ok(Some(())) => count += 1,
                Ok(None) => break,
                Err(error) => return Err(self.trace.at_index(count, error)),
            }
        }
        let chosen = set.iter().enumerate().filter(|(_, chosen)| **chosen);
        Ok(Val::Flags(
            chosen
                .map(|(index, _)| names.get(index).to_owned())
                .collect(),
        ))
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Option<Val>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shape.name())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<Val>, E> {
        if self.nullable {
            Ok(None)
        } else {
            Err(self.wrong("null"))
        }
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Option<Val>, E> {
        match self.shape {
            Shape::Bool => Ok(Some(Val::Bool(value))),
            _ => Err(self.wrong("a boolean")),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<Val>, E> {
        self.number(i128::from(number)).map(Some)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Option<Val>, E> {
        self.number(i128::from(number)).map(Some)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Option<Val>, E> {
        match self.shape {
            Shape::F64 => Ok(Some(Val::Float64(number))),
            Shape::F32 => match number as f32 {
                narrow if number.is_finite() && narrow.is_infinite() => {
                    Err(self.out_of_range(number))
                }
                narrow => Ok(Some(Val::Float32(narrow))),
            },
            _ if range(self.shape).is_none() => Err(self.wrong("a number")),
            _ if !number.is_finite() => Err(self.wrong(text::not_finite(number))),
            _ if number.fract() != 0.0 => Err(self.wrong(&format!("{number}"))),
            _ if number.abs() > EXACT_MAX => match self.holds(number) {
                true => Err(self.inexact(number)),
                false => Err(self.out_of_range(number)),
            },
            _ => self.number(number as i128).map(Some),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<Val>, E> {
        text::value(&self, text).map(Some)
    }

    /// Of encodings that have them: no base64.
    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Option<Val>, E> {
        text::plain_bytes(&self, bytes).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Val>, A::Error> {
        let value = match self.shape {
            Shape::List(element) => Val::List(self.elements(element, None, &mut items)?),
            Shape::FixedList(element, length) => {
                Val::FixedLengthList(self.elements(element, Some(*length), &mut items)?)
            }
            Shape::Tuple(shapes) => self.tuple(shapes, &mut items)?,
            Shape::Flags(names) => self.flags(names, &mut items)?,
            Shape::Map(map) => maps::pair_map(self.trace, map, &mut items)?,
            _ => return Err(self.wrong("an array")),
        };
        Ok(Some(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Option<Val>, A::Error> {
        let trace = self.trace;
        let value = match self.shape {
            Shape::Record(record) => objects::record(trace, self.shape, record, entries)?,
            Shape::Variant(variant) => objects::variant(trace, self.shape, variant, entries)?,
            Shape::Result(ok, error) => {
                let sides = [ok.as_deref(), error.as_deref()];
                objects::result(trace, self.shape, sides, entries)?
            }
            Shape::NestedOption(inner) => objects::some(trace, self.shape, inner, entries)?,
            Shape::Map(map) if matches!(map.key, Shape::String) => {
                maps::object_map(trace, map, entries)?
            }
            _ => return Err(self.wrong("an object")),
        };
        Ok(Some(value))
    }
}

/// The range of an integer type.
fn range(shape: &Shape) -> Option<(i128, i128)> {
    match shape {
        Shape::S8 => Some((i8::MIN.into(), i8::MAX.into())),
        Shape::U8 => Some((0, u8::MAX.into())),
        Shape::S16 => Some((i16::MIN.into(), i16::MAX.into())),
        Shape::U16 => Some((0, u16::MAX.into())),
        Shape::S32 => Some((i32::MIN.into(), i32::MAX.into())),
        Shape::U32 => Some((0, u32::MAX.into())),
        Shape::S64 => Some((i64::MIN.into(), i64::MAX.into())),
        Shape::U64 => Some((0, u64::MAX.into())),
        _ => None,
    }
}
