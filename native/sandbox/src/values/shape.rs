//! The types of a signature as a tree of our own, made once when a component is loaded.
//!
//! Owns what each WIT type is called and how it is laid out for the two converters. It must not
//! know JSON beyond the names that fields have there.

use wasmtime::component::Type;

use super::names::Names;

/// How many nodes the types of one function may have, written out as a tree.
///
/// Types in a component are a graph: a hundred lines of `tuple<t, t>` are 2^100 nodes as a tree.
pub(super) const NODES_MAX: usize = 10_000;

/// How many nodes the types of all functions of a component may have.
const COMPONENT_NODES_MAX: usize = 100_000;

/// Bytes of a name that count as a node.
const NAME_BYTES_PER_NODE: usize = 32;

/// What the types of one component may still take; its functions share it.
#[derive(Debug)]
pub struct TypeBudget {
    nodes: usize,
}

impl Default for TypeBudget {
    fn default() -> TypeBudget {
        TypeBudget {
            nodes: COMPONENT_NODES_MAX,
        }
    }
}

/// Longest name of a type in an error, in bytes.
const NAME_MAX: usize = 160;

/// One WIT type.
#[derive(Debug)]
pub(super) enum Shape {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    /// `list<u8>`
    Bytes,
    /// `list<u8, N>`
    FixedBytes(usize),
    List(Box<Shape>),
    FixedList(Box<Shape>, usize),
    Map(Box<MapShape>),
    Record(Box<Record>),
    Tuple(Box<[Shape]>),
    Variant(Box<Variant>),
    Enum(Box<Names>),
    Flags(Box<Names>),
    /// An option whose payload cannot be `null` in JSON: `null` or the payload.
    Option(Box<Shape>),
    /// An option of an option: `null` or `{"some": payload}`.
    NestedOption(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
}

/// `map<key, value>`
#[derive(Debug)]
pub(super) struct MapShape {
    pub(super) key: Shape,
    pub(super) value: Shape,
}

/// A record: `json` and `fields` have the same order, that of the WIT text.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) json: Names,
    pub(super) fields: Box<[Field]>,
    /// Bytes of all names in WIT.
    pub(super) name_bytes: usize,
}

/// One field of a record.
#[derive(Debug)]
pub(super) struct Field {
    /// The name in WIT, which wasmtime checks.
    pub(super) wit: Box<str>,
    pub(super) shape: Shape,
}

/// A variant: `names` and `payloads` have the same order.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) names: Names,
    pub(super) payloads: Box<[Option<Shape>]>,
}

/// The name a WIT name has in JSON: words are joined by `_`.
pub(super) fn json_name(wit: &str) -> Box<str> {
    wit.replace('-', "_").into()
}

/// Copies wasmtime's types, counting nodes and names before they are made.
pub(super) struct Builder<'a> {
    nodes: usize,
    budget: &'a mut TypeBudget,
}

impl Builder<'_> {
    pub(super) fn new(budget: &mut TypeBudget) -> Builder<'_> {
        Builder { nodes: 0, budget }
    }

    /// The function was copied: what it has is taken from the component.
    pub(super) fn done(self) {
        self.budget.nodes = self.budget.nodes.saturating_sub(self.nodes);
    }

    fn charge(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(format!("makes the types larger than {NODES_MAX} nodes"));
        }
        if self.nodes > self.budget.nodes {
            return Err(format!(
                "makes the types of the component larger than {COMPONENT_NODES_MAX} nodes"
            ));
        }
        Ok(())
    }

    /// The JSON name of a parameter.
    pub(super) fn param(&mut self, name: &str) -> Result<Box<str>, String> {
        self.name(name)?;
        Ok(json_name(name))
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        self.charge(1 + name.len() / NAME_BYTES_PER_NODE)
    }

    /// The shape of `ty`, or what stands in the way as the end of a sentence.
    pub(super) fn shape(&mut self, ty: &Type) -> Result<Shape, String> {
        self.charge(1)?;
        Ok(match ty {
            Type::Bool => Shape::Bool,
            Type::S8 => Shape::S8,
            Type::U8 => Shape::U8,
            Type::S16 => Shape::S16,
            Type::U16 => Shape::U16,
            Type::S32 => Shape::S32,
            Type::U32 => Shape::U32,
            Type::S64 => Shape::S64,
            Type::U64 => Shape::U64,
            Type::Float32 => Shape::F32,
            Type::Float64 => Shape::F64,
            Type::Char => Shape::Char,
            Type::String => Shape::String,
            Type::List(list) => match self.shape(&list.ty())? {
                Shape::U8 => Shape::Bytes,
                element => Shape::List(Box::new(element)),
            },
            Type::FixedLengthList(list) => {
                let length = usize::try_from(list.len()).unwrap_or(usize::MAX);
                match self.shape(&list.ty())? {
                    Shape::U8 => Shape::FixedBytes(length),
                    element => Shape::FixedList(Box::new(element), length),
                }
            }
            Type::Map(map) => Shape::Map(Box::new(MapShape {
                key: self.shape(&map.key())?,
                value: self.shape(&map.value())?,
            })),
            Type::Tuple(tuple) => Shape::Tuple(
                tuple
                    .types()
                    .map(|ty| self.shape(&ty))
                    .collect::<Result<Box<[_]>, _>>()?,
            ),
            Type::Option(option) => match self.shape(&option.ty())? {
                inner @ (Shape::Option(_) | Shape::NestedOption(_)) => {
                    Shape::NestedOption(Box::new(inner))
                }
                inner => Shape::Option(Box::new(inner)),
            },
            Type::Result(result) => {
                Shape::Result(self.boxed(result.ok())?, self.boxed(result.err())?)
            }
            Type::Enum(names) => Shape::Enum(Box::new(self.names(names.names())?)),
            Type::Flags(names) => Shape::Flags(Box::new(self.names(names.names())?)),
            Type::Record(_) | Type::Variant(_) => self.named(ty)?,
            Type::Own(_) | Type::Borrow(_) => return Err("holds a resource".to_owned()),
            Type::Future(_) => return Err("holds a future".to_owned()),
            Type::Stream(_) => return Err("holds a stream".to_owned()),
            Type::ErrorContext => return Err("holds an error context".to_owned()),
        })
    }

    fn named(&mut self, ty: &Type) -> Result<Shape, String> {
        match ty {
            Type::Record(record) => {
                let mut json = Vec::new();
                let mut fields = Vec::new();
                for field in record.fields() {
                    self.name(field.name)?;
                    json.push(json_name(field.name));
                    fields.push(Field {
                        wit: field.name.into(),
                        shape: self.shape(&field.ty)?,
                    });
                }
                let name_bytes = fields.iter().map(|field: &Field| field.wit.len()).sum();
                Ok(Shape::Record(Box::new(Record {
                    json: Names::new(json),
                    fields: fields.into(),
                    name_bytes,
                })))
            }
            Type::Variant(variant) => {
                let mut names: Vec<Box<str>> = Vec::new();
                let mut payloads = Vec::new();
                for case in variant.cases() {
                    self.name(case.name)?;
                    names.push(case.name.into());
                    payloads.push(match &case.ty {
                        Some(ty) => Some(self.shape(ty)?),
                        None => None,
                    });
                }
                Ok(Shape::Variant(Box::new(Variant {
                    names: Names::new(names),
                    payloads: payloads.into(),
                })))
            }
            _ => Err("is of a type without fields".to_owned()),
        }
    }

    fn boxed(&mut self, ty: Option<Type>) -> Result<Option<Box<Shape>>, String> {
        match ty {
            Some(ty) => Ok(Some(Box::new(self.shape(&ty)?))),
            None => Ok(None),
        }
    }

    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<Names, String> {
        let mut copied: Vec<Box<str>> = Vec::new();
        for name in names {
            self.name(name)?;
            copied.push(name.into());
        }
        Ok(Names::new(copied))
    }
}

impl Shape {
    /// Whether an argument or a field of this type may be left out.
    pub(super) fn is_optional(&self) -> bool {
        matches!(self, Shape::Option(_) | Shape::NestedOption(_))
    }

    /// The type in WIT's notation; named types are `record`, `variant`, `enum` and `flags`, since a
    /// component's type section does not keep their names.
    pub(super) fn name(&self) -> String {
        let mut out = String::new();
        self.write_name(&mut out);
        if out.len() > NAME_MAX {
            // Type names are ASCII, every index is a boundary.
            out.truncate(NAME_MAX);
            out.push('…');
        }
        out
    }

    /// The type as a message asks for it: with the form where that is not plain.
    pub(super) fn wanted(&self) -> String {
        let form = match self {
            Shape::Bytes | Shape::FixedBytes(_) => " as base64 text",
            Shape::NestedOption(_) => " as null or {\"some\": value}",
            Shape::Result(..) => " as {\"ok\": value} or {\"error\": value}",
            _ => "",
        };
        self.name() + form
    }

    fn write_name(&self, out: &mut String) {
        if out.len() > NAME_MAX {
            return;
        }
        match self {
            Shape::Bool => out.push_str("bool"),
            Shape::S8 => out.push_str("s8"),
            Shape::U8 => out.push_str("u8"),
            Shape::S16 => out.push_str("s16"),
            Shape::U16 => out.push_str("u16"),
            Shape::S32 => out.push_str("s32"),
            Shape::U32 => out.push_str("u32"),
            Shape::S64 => out.push_str("s64"),
            Shape::U64 => out.push_str("u64"),
            Shape::F32 => out.push_str("f32"),
            Shape::F64 => out.push_str("f64"),
            Shape::Char => out.push_str("char"),
            Shape::String => out.push_str("string"),
            Shape::Bytes => out.push_str("list<u8>"),
            Shape::FixedBytes(length) => out.push_str(&format!("list<u8, {length}>")),
            Shape::List(element) => write_generic(out, "list", &[Some(element)], ""),
            Shape::FixedList(element, length) => {
                write_generic(out, "list", &[Some(element)], &format!(", {length}"));
            }
            Shape::Map(map) => write_generic(out, "map", &[Some(&map.key), Some(&map.value)], ""),
            Shape::Tuple(types) => {
                let types: Vec<Option<&Shape>> = types.iter().map(Some).collect();
                write_generic(out, "tuple", &types, "");
            }
            Shape::Record(_) => out.push_str("record"),
            Shape::Variant(_) => out.push_str("variant"),
            Shape::Enum(_) => out.push_str("enum"),
            Shape::Flags(_) => out.push_str("flags"),
            Shape::Option(inner) | Shape::NestedOption(inner) => {
                write_generic(out, "option", &[Some(inner)], "");
            }
            Shape::Result(None, None) => out.push_str("result"),
            Shape::Result(ok, None) => write_generic(out, "result", &[ok.as_deref()], ""),
            Shape::Result(ok, error) => {
                write_generic(out, "result", &[ok.as_deref(), error.as_deref()], "");
            }
        }
    }
}

fn write_generic(out: &mut String, name: &str, types: &[Option<&Shape>], tail: &str) {
    out.push_str(name);
    out.push('<');
    for (index, ty) in types.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        match ty {
            Some(ty) => ty.write_name(out),
            None => out.push('_'),
        }
    }
    out.push_str(tail);
    out.push('>');
}
