//! Random WIT types, as a package writes them and as errors name them.

use std::fmt::Write;

use super::random::Random;

/// A type and how it is written; named ones carry their name in the package.
pub enum Ty {
    Scalar(&'static str),
    Bytes(Option<usize>),
    List(Box<Ty>, Option<usize>),
    Tuple(Vec<Ty>),
    Record(String, Vec<Ty>),
    Variant(String, Vec<Option<Ty>>),
    Enum(String, usize),
    Flags(String, usize),
    Option(Box<Ty>),
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Map(Box<Ty>, Box<Ty>),
}

const SCALARS: [&str; 13] = [
    "bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string",
];

const KEYS: [&str; 6] = ["bool", "u8", "s32", "u64", "char", "string"];

/// Makes types and collects the definitions of the named ones.
pub struct Types<'r> {
    random: &'r mut Random,
    pub definitions: String,
    count: usize,
}

impl<'r> Types<'r> {
    pub fn new(random: &'r mut Random) -> Types<'r> {
        Types {
            random,
            definitions: String::new(),
            count: 0,
        }
    }

    fn ty(&mut self, depth: usize) -> Ty {
        let kinds = if depth == 0 { 4 } else { 13 };
        match self.random.below(kinds) {
            0 | 1 => Ty::Scalar(SCALARS[self.random.below(SCALARS.len())]),
            2 => Ty::Bytes(self.random.chance(2).then(|| 1 + self.random.below(7))),
            3 => self.names(),
            4 | 5 => match self.random.chance(3) {
                true => Ty::List(self.element(depth), Some(1 + self.random.below(3))),
                false => Ty::List(self.element(depth), None),
            },
            6 => Ty::Tuple(self.several(depth)),
            7 | 8 => self.record(depth),
            9 => self.variant(depth),
            10 => Ty::Option(Box::new(self.ty(depth - 1))),
            11 => Ty::Result(
                self.maybe(depth).map(Box::new),
                self.maybe(depth).map(Box::new),
            ),
            _ => {
                let key = Ty::Scalar(KEYS[self.random.below(KEYS.len())]);
                Ty::Map(Box::new(key), Box::new(self.ty(depth - 1)))
            }
        }
    }

    /// A list's element: anything but u8, which would be a list of bytes.
    pub fn element(&mut self, depth: usize) -> Box<Ty> {
        match self.ty(depth - 1) {
            Ty::Scalar("u8") => Box::new(Ty::Scalar("s8")),
            ty => Box::new(ty),
        }
    }

    fn several(&mut self, depth: usize) -> Vec<Ty> {
        (0..1 + self.random.below(12 / depth.min(4)))
            .map(|_| self.ty(depth - 1))
            .collect()
    }

    fn maybe(&mut self, depth: usize) -> Option<Ty> {
        (!self.random.chance(3)).then(|| self.ty(depth - 1))
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("named-t{}", self.count)
    }

    fn names(&mut self) -> Ty {
        let (name, count) = (self.name(), 1 + self.random.below(20));
        let names: Vec<String> = (0..count).map(|n| format!("n-a{n}")).collect();
        let (keyword, ty) = match self.random.chance(2) {
            true => ("enum", Ty::Enum(name.clone(), count)),
            false => ("flags", Ty::Flags(name.clone(), count)),
        };
        let _ = writeln!(
            self.definitions,
            "  {keyword} {name} {{ {} }}",
            names.join(", ")
        );
        ty
    }

    fn record(&mut self, depth: usize) -> Ty {
        let types = self.several(depth);
        let name = self.name();
        let fields = types
            .iter()
            .enumerate()
            .map(|(n, ty)| format!("f-a{n}: {}", ty.wit()));
        let fields: Vec<String> = fields.collect();
        let _ = writeln!(
            self.definitions,
            "  record {name} {{ {} }}",
            fields.join(", ")
        );
        Ty::Record(name, types)
    }

    fn variant(&mut self, depth: usize) -> Ty {
        let payloads: Vec<Option<Ty>> = (0..1 + self.random.below(10))
            .map(|_| self.maybe(depth))
            .collect();
        let name = self.name();
        let cases = payloads
            .iter()
            .enumerate()
            .map(|(n, payload)| match payload {
                Some(ty) => format!("c-a{n}({})", ty.wit()),
                None => format!("c-a{n}"),
            });
        let cases: Vec<String> = cases.collect();
        let _ = writeln!(
            self.definitions,
            "  variant {name} {{ {} }}",
            cases.join(", ")
        );
        Ty::Variant(name, payloads)
    }
}

impl Ty {
    /// The type as the package has it.
    pub fn wit(&self) -> String {
        match self {
            Ty::Record(name, _) | Ty::Variant(name, _) | Ty::Enum(name, _) | Ty::Flags(name, _) => {
                name.clone()
            }
            _ => self.generic(Ty::wit),
        }
    }

    /// The type as errors have it.
    pub fn shown(&self) -> String {
        match self {
            Ty::Record(..) => "record".to_owned(),
            Ty::Variant(..) => "variant".to_owned(),
            Ty::Enum(..) => "enum".to_owned(),
            Ty::Flags(..) => "flags".to_owned(),
            _ => self.generic(Ty::shown),
        }
    }

    fn generic(&self, show: fn(&Ty) -> String) -> String {
        match self {
            Ty::Scalar(name) => (*name).to_owned(),
            Ty::Bytes(None) => "list<u8>".to_owned(),
            Ty::Bytes(Some(length)) => format!("list<u8, {length}>"),
            Ty::List(ty, None) => format!("list<{}>", show(ty)),
            Ty::List(ty, Some(length)) => format!("list<{}, {length}>", show(ty)),
            Ty::Tuple(types) => {
                let types: Vec<String> = types.iter().map(show).collect();
                format!("tuple<{}>", types.join(", "))
            }
            Ty::Option(ty) => format!("option<{}>", show(ty)),
            Ty::Map(key, value) => format!("map<{}, {}>", show(key), show(value)),
            Ty::Result(None, None) => "result".to_owned(),
            Ty::Result(Some(ok), None) => format!("result<{}>", show(ok)),
            Ty::Result(None, Some(error)) => format!("result<_, {}>", show(error)),
            Ty::Result(Some(ok), Some(error)) => format!("result<{}, {}>", show(ok), show(error)),
            Ty::Record(..) | Ty::Variant(..) | Ty::Enum(..) | Ty::Flags(..) => String::new(),
        }
    }
}
