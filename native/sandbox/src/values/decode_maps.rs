//! JSON to maps: objects where the keys are strings, arrays of `[key, value]` for any key.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use super::decode::Seed;
use super::decode_objects::twice;
use super::path::Trace;
use super::shape::MapShape;

/// Maps up to this size are searched for a repeated key from front to back.
const LINEAR_MAX: usize = 8;

/// A map with string keys as an object.
pub(super) fn object_map<'de, A: MapAccess<'de>>(
    trace: &Trace,
    map: &MapShape,
    mut entries: A,
) -> Result<Val, A::Error> {
    let mut pairs = Vec::new();
    while let Some(key) = entries.next_key::<String>()? {
        match entries.next_value_seed(Seed {
            shape: &map.value,
            trace,
        }) {
            Ok(value) => pairs.push((Val::String(key), value)),
            Err(error) => return Err(trace.at_name(&key, error)),
        }
    }
    match repeated(&pairs).and_then(|index| pairs.get(index)) {
        Some((Val::String(key), _)) => Err(twice(trace, key, &map.value)),
        _ => Ok(Val::Map(pairs)),
    }
}

/// A map as an array of `[key, value]`.
pub(super) fn pair_map<'de, A: SeqAccess<'de>>(
    trace: &Trace,
    map: &MapShape,
    items: &mut A,
) -> Result<Val, A::Error> {
    let mut pairs = Vec::new();
    loop {
        match items.next_element_seed(Pair { map, trace }) {
            Ok(Some(pair)) => pairs.push(pair),
            Ok(None) => break,
            Err(error) => return Err(trace.at_index(pairs.len(), error)),
        }
    }
    if let Some(index) = repeated(&pairs) {
        let error = trace.fail(map.key.name(), "the key is given twice".to_owned());
        return Err(trace.at_index(index, trace.at_index(0, error)));
    }
    Ok(Val::Map(pairs))
}

/// The index of the first pair whose key an earlier pair has.
fn repeated(pairs: &[(Val, Val)]) -> Option<usize> {
    if pairs.len() <= LINEAR_MAX {
        return (1..pairs.len()).find(|&at| pairs[..at].iter().any(|(key, _)| *key == pairs[at].0));
    }
    let mut seen = HashSet::with_capacity(pairs.len());
    pairs
        .iter()
        .position(|(key, _)| !seen.insert(identity(key)))
}

/// The pairs whose key a later pair repeats.
pub(super) fn overridden(pairs: &[(Val, Val)]) -> HashSet<usize> {
    if repeated(pairs).is_none() {
        return HashSet::new();
    }
    let mut seen = HashSet::with_capacity(pairs.len());
    let backwards = pairs.iter().enumerate().rev();
    backwards
        .filter(|(_, (key, _))| !seen.insert(identity(key)))
        .map(|(index, _)| index)
        .collect()
}

/// A key in a form that can be hashed; WIT allows scalars without floats, and strings.
#[derive(PartialEq, Eq, Hash)]
enum Identity<'a> {
    Number(i128),
    Text(&'a str),
    Other,
}

fn identity(key: &Val) -> Identity<'_> {
    match key {
        Val::Bool(value) => Identity::Number(i128::from(*value)),
        Val::S8(value) => Identity::Number(i128::from(*value)),
        Val::U8(value) => Identity::Number(i128::from(*value)),
        Val::S16(value) => Identity::Number(i128::from(*value)),
        Val::U16(value) => Identity::Number(i128::from(*value)),
        Val::S32(value) => Identity::Number(i128::from(*value)),
        Val::U32(value) => Identity::Number(i128::from(*value)),
        Val::S64(value) => Identity::Number(i128::from(*value)),
        Val::U64(value) => Identity::Number(i128::from(*value)),
        Val::Char(value) => Identity::Number(i128::from(u32::from(*value))),
        Val::String(value) => Identity::Text(value),
        _ => Identity::Other,
    }
}

/// One `[key, value]`.
struct Pair<'a> {
    map: &'a MapShape,
    trace: &'a Trace,
}

impl Pair<'_> {
    fn name(&self) -> String {
        format!("tuple<{}, {}>", self.map.key.name(), self.map.value.name())
    }

    fn not_a_pair<E: Error>(&self, got: &str) -> E {
        let expected = self.name();
        let message = format!("expected {expected} as [key, value], got {got} elements");
        self.trace.fail(expected, message)
    }
}

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = (Val, Val);

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<(Val, Val), D::Error> {
        let Pair { map, trace } = self;
        let adopt = |error| {
            trace.adopt_as(
                || {
                    let name = Pair { map, trace }.name();
                    (name.clone(), name)
                },
                error,
            )
        };
        text.deserialize_any(self).map_err(adopt)
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = (Val, Val);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key, value]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(Val, Val), A::Error> {
        let Pair { map, trace } = self;
        let key = items
            .next_element_seed(Seed {
                shape: &map.key,
                trace,
            })
            .map_err(|error| trace.at_index(0, error))?
            .ok_or_else(|| self.not_a_pair("no"))?;
        let value = items
            .next_element_seed(Seed {
                shape: &map.value,
                trace,
            })
            .map_err(|error| trace.at_index(1, error))?
            .ok_or_else(|| self.not_a_pair("1"))?;
        match items.next_element::<serde::de::IgnoredAny>()? {
            None => Ok((key, value)),
            Some(_) => Err(self.not_a_pair("more than 2")),
        }
    }
}
