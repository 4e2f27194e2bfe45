//! Random types, random values of them through a real guest, and wrong values at a known place.
//! The seed is fixed: a failure comes back at every run.

use serde_json::Value;

use super::corpus::same;
use super::echo::{Echo, engine};
use super::random_types::{Ty, Types};

/// Marsaglia's xorshift64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// Writes values; at most one place in a text is wrong.
struct Values<'r> {
    random: &'r mut Random,
    /// Where a wrong value is to be put: reached after so many more values.
    countdown: Option<usize>,
    /// The place and the type that the wrong value was put in for.
    wrong: Option<(String, String)>,
}

impl Values<'_> {
    /// A value as the converter writes it, whose place is `path`.
    fn value(&mut self, ty: &Ty, path: &str) -> String {
        let plain_option = matches!(ty, Ty::Option(inner) if !matches!(**inner, Ty::Option(_)));
        if !plain_option && self.is_wrong_here() {
            self.wrong = Some((path.to_owned(), ty.shown()));
            let is_bool = matches!(ty, Ty::Scalar("bool"));
            return if is_bool {
                "7".to_owned()
            } else {
                "true".to_owned()
            };
        }
        match ty {
            Ty::Scalar(name) => self.scalar(name),
            Ty::Bytes(length) => {
                let length = length.unwrap_or_else(|| self.random.below(20));
                let mut text = b"\"".to_vec();
                let bytes = (0..length).map(|_| self.random.next() as u8);
                super::super::base64::encode(&bytes.collect::<Vec<u8>>(), &mut text);
                text.push(b'"');
                String::from_utf8(text).unwrap()
            }
            Ty::List(ty, length) => {
                let length = length.unwrap_or_else(|| self.random.below(4));
                let items = (0..length).map(|n| self.value(ty, &format!("{path}[{n}]")));
                array(items.collect())
            }
            Ty::Tuple(types) => {
                let items = (0..)
                    .zip(types)
                    .map(|(n, ty)| self.value(ty, &format!("{path}[{n}]")));
                array(items.collect())
            }
            Ty::Record(_, types) => {
                let fields = (0..).zip(types).map(|(n, ty)| {
                    format!("\"f_a{n}\":{}", self.value(ty, &format!("{path}.f_a{n}")))
                });
                let mut fields: Vec<String> = fields.collect();
                let (a, b) = (
                    self.random.below(fields.len()),
                    self.random.below(fields.len()),
                );
                // A field that is looked at earlier would hide the wrong value behind another.
                fields.swap(a, b);
                format!("{{{}}}", fields.join(","))
            }
            Ty::Variant(_, payloads) => {
                let n = self.random.below(payloads.len());
                let name = format!("c-a{n}");
                self.entry(&name, payloads[n].as_ref(), path)
            }
            Ty::Enum(_, count) => format!("\"n-a{}\"", self.random.below(*count)),
            Ty::Flags(_, count) => {
                let names = (0..*count).filter(|_| self.random.chance(2));
                array(names.map(|n| format!("\"n-a{n}\"")).collect())
            }
            Ty::Option(_) if self.random.chance(4) => "null".to_owned(),
            Ty::Option(ty) if plain_option => self.value(ty, path),
            Ty::Option(ty) => self.entry("some", Some(ty), path),
            Ty::Result(ok, error) => match self.random.chance(2) {
                true => self.entry("ok", ok.as_deref(), path),
                false => self.entry("error", error.as_deref(), path),
            },
            Ty::Map(key, value) => self.map(key, value, path),
        }
    }

    fn is_wrong_here(&mut self) -> bool {
        match self.countdown {
            Some(0) => {
                self.countdown = None;
                true
            }
            Some(left) => {
                self.countdown = Some(left - 1);
                false
            }
            None => false,
        }
    }

    fn entry(&mut self, name: &str, payload: Option<&Ty>, path: &str) -> String {
        let value = match payload {
            Some(ty) => self.value(ty, &format!("{path}.{name}")),
            None => "null".to_owned(),
        };
        format!("{{\"{name}\":{value}}}")
    }

    fn map(&mut self, key: &Ty, value: &Ty, path: &str) -> String {
        let Ty::Scalar(key) = key else {
            panic!("keys are scalars")
        };
        let mut keys = Vec::new();
        for _ in 0..self.random.below(14) {
            let key = match *key {
                "string" => format!("\"k{}\"", self.random.below(1000)),
                key => self.scalar(key),
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let pairs = (0..).zip(&keys).map(|(n, text)| match *key {
            "string" => {
                let name = text.trim_matches('"');
                format!("{text}:{}", self.value(value, &format!("{path}.{name}")))
            }
            _ => format!("[{text},{}]", self.value(value, &format!("{path}[{n}][1]"))),
        });
        let pairs: Vec<String> = pairs.collect();
        match *key {
            "string" => format!("{{{}}}", pairs.join(",")),
            _ => array(pairs),
        }
    }

    fn scalar(&mut self, name: &str) -> String {
        let bits = self.random.next() >> self.random.below(64);
        let integer = |number: i128| match number.unsigned_abs() < 1 << 53 {
            true => number.to_string(),
            false => format!("\"{number}\""),
        };
        match name {
            "bool" => (bits & 1 == 0).to_string(),
            "s8" => (bits as i8).to_string(),
            "u8" => (bits as u8).to_string(),
            "s16" => (bits as i16).to_string(),
            "u16" => (bits as u16).to_string(),
            "s32" => (bits as i32).to_string(),
            "u32" => (bits as u32).to_string(),
            "s64" => integer(i128::from(bits as i64)),
            "u64" => integer(i128::from(bits)),
            "f32" => match f32::from_bits(bits as u32) {
                number if number.is_finite() => serde_json::to_string(&number).unwrap(),
                _ => "\"-Infinity\"".to_owned(),
            },
            "f64" => match f64::from_bits(self.random.next()) {
                number if number.is_finite() => serde_json::to_string(&number).unwrap(),
                _ => "\"NaN\"".to_owned(),
            },
            "char" => serde_json::to_string(&self.character().to_string()).unwrap(),
            _ => {
                let length = self.random.below(40);
                let text: String = (0..length).map(|_| self.character()).collect();
                serde_json::to_string(&text).unwrap()
            }
        }
    }

    fn character(&mut self) -> char {
        let bound = [0x30, 0x80, 0x800, 0x11_0000][self.random.below(4)];
        char::from_u32(self.random.below(bound) as u32).unwrap_or('\u{fffd}')
    }
}

fn array(items: Vec<String>) -> String {
    format!("[{}]", items.join(","))
}

#[test]
fn random_values_return_from_a_guest_and_wrong_ones_are_found() {
    let engine = engine();
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let (mut kept, mut refused) = (0, 0);
    for _ in 0..120 {
        let mut types = Types::new(&mut random);
        // In a list, since a result at the top is unwrapped.
        let ty = Ty::List(types.element(4), None);
        let (definitions, name) = (types.definitions, ty.wit());
        let wit = format!(
            "package test:values;\ninterface api {{\n{definitions}  echo: func(v: {name}) -> {name};\n}}\nworld plugin {{ export api; }}\n"
        );
        let echo = Echo::new(&engine, &wit, &name);
        for round in 0..30 {
            let countdown = (round % 3 == 0).then(|| random.below(25));
            let mut values = Values {
                random: &mut random,
                countdown,
                wrong: None,
            };
            let json = values.value(&ty, "arguments.v");
            match (values.wrong, echo.call(&json)) {
                (None, answer) => {
                    let answer = answer.unwrap_or_else(|e| panic!("{wit}{json}\n{e}")).json;
                    let given: Value = serde_json::from_str(&json).unwrap();
                    let got: Value = serde_json::from_str(&answer).unwrap();
                    assert!(same(&given, &got), "{wit}{given}\n{got}");
                    kept += 1;
                }
                (Some((path, expected)), answer) => {
                    let error = answer.expect_err(&json);
                    assert_eq!(error.path, path, "{wit}{json}\n{error}");
                    assert_eq!(error.expected, shortened(expected), "{wit}{json}\n{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(
        kept > 1500 && refused > 300,
        "{kept} kept, {refused} refused"
    );
}

/// Long names of types are cut.
fn shortened(mut name: String) -> String {
    if name.len() > 160 {
        name.truncate(160);
        name.push('…');
    }
    name
}

#[test]
fn damaged_json_is_refused_or_understood_but_never_breaks() {
    let engine = engine();
    let wit = "package test:values;
interface api {
  record r { name: string, data: option<list<u8>>, tags: map<string, list<f64>> }
  echo: func(v: list<r>) -> list<r>;
}
world plugin { export api; }
";
    let echo = Echo::new(&engine, wit, "list<r>");
    let whole = r#"[{"name":"a\u00e9\ud83d\ude00","data":"AAEC","tags":{"x":[1,2.5e3,"NaN"]}},{"name":"","tags":{}}]"#;
    echo.call(whole).unwrap();
    let mut random = Random::new(42);
    let mut refused = 0;
    for _ in 0..5000 {
        let mut bytes = format!("{{\"v\":{whole}}}").into_bytes();
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = random.next() as u8,
                2 => bytes.insert(at, b"{}[]\",:\\0-en"[random.below(12)]),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b' ');
            }
        }
        if let Err(error) = echo.signature().parse_arguments(&bytes) {
            assert!(error.path.starts_with("arguments"));
            assert!(!error.message.is_empty());
            refused += 1;
        }
    }
    assert!(refused > 3000, "only {refused} refused");
}
