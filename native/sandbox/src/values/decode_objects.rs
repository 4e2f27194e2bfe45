//! JSON objects to values: the arguments themselves, records, variants and results.
//!
//! Keys are names of a fixed set here; those of a `map` are in `decode_maps`.

use std::fmt;
use std::sync::LazyLock;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use wasmtime::component::Val;

use super::ArgumentError;
use super::decode::Seed;
use super::names::Names;
use super::path::{Trace, quote};
use super::shape::{Record, Shape, Variant};

/// What a text on the heap takes, in bytes, besides its own.
const NAME_COST: usize = 32;

static RESULT_NAMES: LazyLock<Names> =
    LazyLock::new(|| Names::new(vec!["ok".into(), "error".into()]));

static OPTION_NAMES: LazyLock<Names> = LazyLock::new(|| Names::new(vec!["some".into()]));

/// Reads the object of named arguments; the values are in the order of `shapes`.
pub(super) fn arguments(
    names: &Names,
    shapes: &[Shape],
    json: &[u8],
) -> Result<Vec<Val>, ArgumentError> {
    let trace = Trace::new(json.len());
    let mut text = serde_json::Deserializer::from_slice(json);
    let visitor = Arguments {
        names,
        shapes,
        trace: &trace,
    };
    match text
        .deserialize_map(visitor)
        .and_then(|values| text.end().map(|()| values))
    {
        Ok(values) => Ok(values),
        Err(error) => Err(trace.finish(&error)),
    }
}

/// The object of named arguments.
pub(super) struct Arguments<'a> {
    pub(super) names: &'a Names,
    pub(super) shapes: &'a [Shape],
    pub(super) trace: &'a Trace,
}

impl<'de> Visitor<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vec<Val>, A::Error> {
        let trace = self.trace;
        let mut values: Vec<Option<Val>> = Vec::new();
        values.resize_with(self.shapes.len(), || None);
        let mut hint = 0;
        let key = |hint| Key {
            names: self.names,
            hint,
            noun: "parameter",
            trace,
        };
        while let Some(index) = entries.next_key_seed(key(hint))? {
            let (Some(shape), Some(slot)) = (self.shapes.get(index), values.get_mut(index)) else {
                break;
            };
            let name = self.names.get(index);
            if slot.is_some() {
                return Err(twice(trace, name, shape));
            }
            match entries.next_value_seed(Seed { shape, trace }) {
                Ok(value) => *slot = Some(value),
                Err(error) => return Err(trace.at_name(name, error)),
            }
            hint = index + 1;
        }
        let complete = values
            .into_iter()
            .zip(self.shapes)
            .enumerate()
            .map(|(index, slot)| match slot {
                (Some(value), _) => Ok(value),
                (None, shape) => missing(trace, "argument", self.names.get(index), shape),
            });
        complete.collect()
    }
}

/// Reads the fields of a record; they come out in the order of the record's type.
pub(super) fn record<'de, A: MapAccess<'de>>(
    trace: &Trace,
    shape: &Shape,
    record: &Record,
    mut entries: A,
) -> Result<Val, A::Error> {
    // Each field has its name on the heap, too.
    trace.charge(
        shape,
        record.fields.len(),
        size_of::<(String, Val)>() + NAME_COST,
    )?;
    trace.charge(shape, record.name_bytes, 1)?;
    // A field not yet given has no name here: WIT's names are never empty.
    let mut fields: Vec<(String, Val)> = Vec::new();
    fields.resize_with(record.fields.len(), || (String::new(), Val::Bool(false)));
    let mut hint = 0;
    let key = |hint| Key {
        names: &record.json,
        hint,
        noun: "field",
        trace,
    };
    while let Some(index) = entries.next_key_seed(key(hint))? {
        let (Some(field), Some(slot)) = (record.fields.get(index), fields.get_mut(index)) else {
            break;
        };
        let name = record.json.get(index);
        if !slot.0.is_empty() {
            return Err(twice(trace, name, &field.shape));
        }
        match entries.next_value_seed(Seed {
            shape: &field.shape,
            trace,
        }) {
            Ok(value) => *slot = (String::from(&*field.wit), value),
            Err(error) => return Err(trace.at_name(name, error)),
        }
        hint = index + 1;
    }
    for (index, (field, slot)) in record.fields.iter().zip(&mut fields).enumerate() {
        if slot.0.is_empty() {
            let value = missing(trace, "field", record.json.get(index), &field.shape)?;
            *slot = (String::from(&*field.wit), value);
        }
    }
    Ok(Val::Record(fields))
}

/// `{"case": payload}`
pub(super) fn variant<'de, A: MapAccess<'de>>(
    trace: &Trace,
    shape: &Shape,
    variant: &Variant,
    entries: A,
) -> Result<Val, A::Error> {
    let payload = |index: usize| variant.payloads.get(index).and_then(Option::as_ref);
    let (index, value) = only_entry(trace, shape, &variant.names, payload, entries)?;
    Ok(Val::Variant(variant.names.get(index).to_owned(), value))
}

/// `"case"`, the short form of a case without a payload.
pub(super) fn bare_case<E: de::Error>(
    trace: &Trace,
    shape: &Shape,
    variant: &Variant,
    name: &str,
) -> Result<Val, E> {
    let Some(index) = variant.names.find(name, 0) else {
        return Err(unknown_case(trace, shape, &variant.names, name));
    };
    match variant.payloads.get(index) {
        Some(Some(payload)) => {
            let payload = payload.name();
            let message = format!("the case {} needs a value of {payload}", quote(name));
            Err(trace.fail(shape.name(), message))
        }
        _ => Ok(Val::Variant(name.to_owned(), None)),
    }
}

/// `{"ok": value}` or `{"error": value}`.
pub(super) fn result<'de, A: MapAccess<'de>>(
    trace: &Trace,
    shape: &Shape,
    sides: [Option<&Shape>; 2],
    entries: A,
) -> Result<Val, A::Error> {
    let payload = |index: usize| sides.get(index).copied().flatten();
    let (index, value) = only_entry(trace, shape, &RESULT_NAMES, payload, entries)?;
    Ok(Val::Result(if index == 0 { Ok(value) } else { Err(value) }))
}

/// `{"some": payload}` of an option of an option.
pub(super) fn some<'de, A: MapAccess<'de>>(
    trace: &Trace,
    shape: &Shape,
    inner: &Shape,
    entries: A,
) -> Result<Val, A::Error> {
    let (_, value) = only_entry(trace, shape, &OPTION_NAMES, |_| Some(inner), entries)?;
    match value {
        Some(value) => Ok(*value),
        None => Err(trace.fail(shape.name(), "expected a value".to_owned())),
    }
}

/// The one entry of an object that stands for a case; a case without a payload has `null`.
fn only_entry<'de, 's, A: MapAccess<'de>>(
    trace: &Trace,
    shape: &Shape,
    names: &Names,
    payload: impl Fn(usize) -> Option<&'s Shape>,
    mut entries: A,
) -> Result<(usize, Option<Box<Val>>), A::Error> {
    let Some(index) = entries.next_key_seed(CaseKey {
        names,
        shape,
        trace,
    })?
    else {
        let message = format!(
            "expected {} as an object with one key, got none",
            shape.name()
        );
        return Err(trace.fail(shape.name(), message));
    };
    let value = match payload(index) {
        Some(shape) => entries
            .next_value_seed(Seed { shape, trace })
            .map(|value| Some(Box::new(value))),
        None => entries.next_value_seed(Null { trace }).map(|()| None),
    };
    let value = value.map_err(|error| trace.at_name(names.get(index), error))?;
    if entries.next_key::<de::IgnoredAny>()?.is_some() {
        let message = format!(
            "expected {} as an object with one key, got more",
            shape.name()
        );
        return Err(trace.fail(shape.name(), message));
    }
    Ok((index, value))
}

/// Says that `name` is no case of an enum or a variant.
#[cold]
pub(super) fn unknown_case<E: de::Error>(
    trace: &Trace,
    shape: &Shape,
    names: &Names,
    name: &str,
) -> E {
    let expected = shape.name();
    let message = format!(
        "{} is not a case of the {expected}{}",
        quote(name),
        names.hint(name)
    );
    trace.fail(expected, message)
}

#[cold]
pub(super) fn twice<E: de::Error>(trace: &Trace, name: &str, shape: &Shape) -> E {
    let error = trace.fail(shape.name(), "given twice".to_owned());
    trace.at_name(name, error)
}

/// The value of an argument or a field that is not there: an option's nothing, else a failure.
pub(super) fn missing<E: de::Error>(
    trace: &Trace,
    noun: &str,
    name: &str,
    shape: &Shape,
) -> Result<Val, E> {
    if shape.is_optional() {
        return Ok(Val::Option(None));
    }
    let expected = shape.name();
    let message = format!("missing {noun}, expected {expected}");
    let error = trace.fail(expected, message);
    Err(trace.at_name(name, error))
}

/// A key of a record or of the arguments, as its index.
pub(super) struct Key<'a> {
    pub(super) names: &'a Names,
    /// The index that the key most likely has.
    pub(super) hint: usize,
    /// What a name stands for: `parameter` or `field`.
    pub(super) noun: &'a str,
    pub(super) trace: &'a Trace,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<usize, D::Error> {
        text.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<usize, E> {
        self.names.find(name, self.hint).ok_or_else(|| {
            let message = format!("unknown {}{}", self.noun, self.names.hint(name));
            let error = self.trace.fail(String::new(), message);
            self.trace.at_name(name, error)
        })
    }
}

/// The name of a case, as its index.
struct CaseKey<'a> {
    names: &'a Names,
    shape: &'a Shape,
    trace: &'a Trace,
}

impl<'de> DeserializeSeed<'de> for CaseKey<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<usize, D::Error> {
        text.deserialize_str(self)
    }
}

impl Visitor<'_> for CaseKey<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<usize, E> {
        self.names
            .find(name, 0)
            .ok_or_else(|| unknown_case(self.trace, self.shape, self.names, name))
    }
}

/// The `null` of a case without a payload.
struct Null<'a> {
    trace: &'a Trace,
}

impl<'de> DeserializeSeed<'de> for Null<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<(), D::Error> {
        let trace = self.trace;
        text.deserialize_any(self)
            .map_err(|error| trace.adopt_as(|| ("null".to_owned(), "null".to_owned()), error))
    }
}

impl Visitor<'_> for Null<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}
