//! Values to JSON, written straight into the output and no further than the limit.

use wasmtime::component::Val;

use super::shape::{MapShape, Record, Shape};
use super::{OutputError, ResultSide, base64};

/// Integers beyond this are written as text: a JSON number is an f64 to most readers.
const SAFE_MAX: u64 = (1 << 53) - 1;

/// Writes the result of a call; see [`super::Signature::write_result`].
pub(super) fn write_result(
    shape: Option<&Shape>,
    results: &[Val],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<ResultSide, OutputError> {
    let start = out.len();
    let mut writer = Writer::new(out, limit);
    let written = match (shape, results) {
        (None, []) => writer.raw(b"null").map(|()| ResultSide::Ok),
        (Some(Shape::Result(ok, error)), [Val::Result(value)]) => match value {
            Ok(value) => writer
                .payload(ok.as_deref(), value)
                .map(|()| ResultSide::Ok),
            Err(value) => writer
                .payload(error.as_deref(), value)
                .map(|()| ResultSide::Error),
        },
        (Some(shape), [value]) => writer.value(shape, value).map(|()| ResultSide::Ok),
        (Some(shape), _) => Err(mismatch(shape)),
        (None, _) => Err(OutputError::Mismatch {
            expected: "no value".to_owned(),
        }),
    };
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Writes text as JSON; see [`super::write_text`].
pub(super) fn write_text(text: &str, out: &mut Vec<u8>, limit: usize) -> bool {
    out.reserve(text.len() + 2);
    Writer::new(out, limit).string(text).is_ok()
}

/// Writes bytes as JSON; see [`super::write_bytes`].
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>, limit: usize) -> bool {
    let length = base64::encoded_len(bytes.len()).saturating_add(2);
    if length > limit {
        return false;
    }
    out.reserve(length);
    out.push(b'"');
    base64::encode(bytes, out);
    out.push(b'"');
    true
}

/// Writes the plain bytes of a result that is text or bytes; `false` where it is neither.
pub(super) fn write_raw(
    results: &[Val],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, OutputError> {
    let value = match results {
        [Val::Result(Ok(Some(value)))] => value,
        [Val::Result(_)] => return Ok(false),
        [value] => value,
        _ => return Ok(false),
    };
    match value {
        Val::String(text) if text.len() > limit => Err(OutputError::TooLarge { limit }),
        Val::String(text) => {
            out.extend_from_slice(text.as_bytes());
            Ok(true)
        }
        Val::List(bytes) if bytes.len() > limit => Err(OutputError::TooLarge { limit }),
        Val::List(bytes) => {
            out.extend(bytes.iter().map(byte));
            Ok(true)
        }
        _ => Ok(false),
    }
}

#[cold]
fn mismatch(shape: &Shape) -> OutputError {
    OutputError::Mismatch {
        expected: shape.name(),
    }
}

/// The byte of an element of a `list<u8>`, whose elements wasmtime has checked to be just that.
fn byte(value: &Val) -> u8 {
    match value {
        Val::U8(byte) => *byte,
        _ => 0,
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// The length `out` must not exceed.
    end: usize,
    limit: usize,
}

impl Writer<'_> {
    fn new(out: &mut Vec<u8>, limit: usize) -> Writer<'_> {
        Writer {
            end: out.len().saturating_add(limit),
            limit,
            out,
        }
    }

    fn room(&self, bytes: usize) -> Result<(), OutputError> {
        if self.end - self.out.len() < bytes {
            return Err(OutputError::TooLarge { limit: self.limit });
        }
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.room(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn payload(
        &mut self,
        shape: Option<&Shape>,
        value: &Option<Box<Val>>,
    ) -> Result<(), OutputError> {
        match (shape, value) {
            (None, None) => self.raw(b"null"),
            (Some(shape), Some(value)) => self.value(shape, value),
            (Some(shape), None) => Err(mismatch(shape)),
            (None, Some(_)) => Err(OutputError::Mismatch {
                expected: "no value".to_owned(),
            }),
        }
    }

    fn value(&mut self, shape: &Shape, value: &Val) -> Result<(), OutputError> {
        match (shape, value) {
            (Shape::Bool, Val::Bool(true)) => self.raw(b"true"),
            (Shape::Bool, Val::Bool(false)) => self.raw(b"false"),
            (Shape::S8, Val::S8(n)) => self.signed(i64::from(*n)),
            (Shape::S16, Val::S16(n)) => self.signed(i64::from(*n)),
            (Shape::S32, Val::S32(n)) => self.signed(i64::from(*n)),
            (Shape::S64, Val::S64(n)) => self.signed(*n),
            (Shape::U8, Val::U8(n)) => self.unsigned(u64::from(*n)),
            (Shape::U16, Val::U16(n)) => self.unsigned(u64::from(*n)),
            (Shape::U32, Val::U32(n)) => self.unsigned(u64::from(*n)),
            (Shape::U64, Val::U64(n)) => self.unsigned(*n),
            (Shape::F32, Val::Float32(n)) => self.float(f64::from(*n), n),
            (Shape::F64, Val::Float64(n)) => self.float(*n, n),
            (Shape::Char, Val::Char(c)) => self.string(c.encode_utf8(&mut [0; 4])),
            (Shape::String, Val::String(text)) => self.string(text),
            (Shape::Bytes, Val::List(bytes))
            | (Shape::FixedBytes(_), Val::FixedLengthList(bytes)) => self.bytes(bytes),
            (Shape::List(element), Val::List(values))
            | (Shape::FixedList(element, _), Val::FixedLengthList(values)) => {
                self.array(values.iter().map(|value| (&**element, value)))
            }
            (Shape::Tuple(shapes), Val::Tuple(values)) if shapes.len() == values.len() => {
                self.array(shapes.iter().zip(values))
            }
            (Shape::Map(map), Val::Map(pairs)) => self.map(map, pairs),
            (Shape::Record(record), Val::Record(fields)) if fields.len() == record.fields.len() => {
                self.record(record, fields)
            }
            (Shape::Variant(variant), Val::Variant(name, value)) => {
                let index = variant.names.find(name, 0).ok_or_else(|| mismatch(shape))?;
                let payload = variant.payloads.get(index).and_then(Option::as_ref);
                self.entry(name, payload, value)
            }
            (Shape::Enum(_), Val::Enum(name)) => self.string(name),
            (Shape::Flags(_), Val::Flags(names)) => self.names(names),
            (Shape::Option(_) | Shape::NestedOption(_), Val::Option(None)) => self.raw(b"null"),
            (Shape::Option(inner), Val::Option(Some(value))) => self.value(inner, value),
            (Shape::NestedOption(inner), Val::Option(value)) => {
                self.entry("some", Some(inner), value)
            }
            (Shape::Result(ok, _), Val::Result(Ok(value))) => {
                self.entry("ok", ok.as_deref(), value)
            }
            (Shape::Result(_, error), Val::Result(Err(value))) => {
                self.entry("error", error.as_deref(), value)
            }
            _ => Err(mismatch(shape)),
        }
    }

    fn signed(&mut self, number: i64) -> Result<(), OutputError> {
        if number < 0 {
            self.number(number.unsigned_abs(), b"-")
        } else {
            self.number(number.unsigned_abs(), b"")
        }
    }

    fn unsigned(&mut self, number: u64) -> Result<(), OutputError> {
        self.number(number, b"")
    }

    fn number(&mut self, magnitude: u64, sign: &[u8]) -> Result<(), OutputError> {
        // 20 digits hold every u64.
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = magnitude;
        loop {
            start -= 1;
            // The remainder of 10 fits a byte.
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let quote: &[u8] = if magnitude > SAFE_MAX { b"\"" } else { b"" };
        self.raw(quote)?;
        self.raw(sign)?;
        self.raw(&digits[start..])?;
        self.raw(quote)
    }

    /// The shortest text that reads back as `number`: `0.1` as f32 is longer as f64.
    fn float(&mut self, wide: f64, number: &impl serde::Serialize) -> Result<(), OutputError> {
        if wide.is_nan() {
            return self.raw(b"\"NaN\"");
        }
        if wide.is_infinite() {
            return self.raw(if wide > 0.0 {
                b"\"Infinity\""
            } else {
                b"\"-Infinity\""
            });
        }
        let mut text = [0; 32];
        let mut rest = &mut text[..];
        let room = rest.len();
        let written = serde_json::to_writer(&mut rest, number).map(|()| room - rest.len());
        let length = written.map_err(|_| OutputError::Mismatch {
            expected: "f64".to_owned(),
        })?;
        let text = &text[..length];
        self.raw(text.strip_suffix(b".0").unwrap_or(text))
    }

    fn bytes(&mut self, bytes: &[Val]) -> Result<(), OutputError> {
        self.room(base64::encoded_len(bytes.len()).saturating_add(2))?;
        self.out.push(b'"');
        // A multiple of three, so that only the last part is padded.
        let mut part = [0; 768];
        for values in bytes.chunks(part.len()) {
            for (slot, value) in part.iter_mut().zip(values) {
                *slot = byte(value);
            }
            base64::encode(&part[..values.len()], self.out);
        }
        self.out.push(b'"');
        Ok(())
    }

    fn array<'v>(
        &mut self,
        values: impl Iterator<Item = (&'v Shape, &'v Val)>,
    ) -> Result<(), OutputError> {
        self.raw(b"[")?;
        for (index, (shape, value)) in values.enumerate() {
            if index > 0 {
                self.raw(b",")?;
            }
            self.value(shape, value)?;
        }
        self.raw(b"]")
    }

    fn names(&mut self, names: &[String]) -> Result<(), OutputError> {
        self.raw(b"[")?;
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                self.raw(b",")?;
            }
            self.string(name)?;
        }
        self.raw(b"]")
    }

    fn record(&mut self, record: &Record, fields: &[(String, Val)]) -> Result<(), OutputError> {
        self.raw(b"{")?;
        for (index, (field, (_, value))) in record.fields.iter().zip(fields).enumerate() {
            self.raw(if index > 0 { b",\"" } else { b"\"" })?;
            self.raw(record.json.get(index).as_bytes())?;
            self.raw(b"\":")?;
            self.value(&field.shape, value)?;
        }
        self.raw(b"}")
    }

    fn entry(
        &mut self,
        name: &str,
        payload: Option<&Shape>,
        value: &Option<Box<Val>>,
    ) -> Result<(), OutputError> {
        self.raw(b"{\"")?;
        self.raw(name.as_bytes())?;
        self.raw(b"\":")?;
        self.payload(payload, value)?;
        self.raw(b"}")
    }

    /// An object where the keys are strings, else pairs. A guest may repeat a key: the last counts.
    fn map(&mut self, map: &MapShape, pairs: &[(Val, Val)]) -> Result<(), OutputError> {
        let as_object = matches!(map.key, Shape::String);
        let hidden = super::decode_maps::overridden(pairs);
        self.raw(if as_object { b"{" } else { b"[" })?;
        let mut first = true;
        for (index, (key, value)) in pairs.iter().enumerate() {
            if hidden.contains(&index) {
                continue;
            }
            if !first {
                self.raw(b",")?;
            }
            first = false;
            if as_object {
                self.value(&map.key, key)?;
                self.raw(b":")?;
                self.value(&map.value, value)?;
            } else {
                self.raw(b"[")?;
                self.value(&map.key, key)?;
                self.raw(b",")?;
                self.value(&map.value, value)?;
                self.raw(b"]")?;
            }
        }
        self.raw(if as_object { b"}" } else { b"]" })
    }

    fn string(&mut self, text: &str) -> Result<(), OutputError> {
        let bytes = text.as_bytes();
        self.raw(b"\"")?;
        let mut start = 0;
        while let Some(length) = plain(&bytes[start..]) {
            let at = start + length;
            self.raw(&bytes[start..at])?;
            self.escape(bytes[at])?;
            start = at + 1;
        }
        self.raw(&bytes[start..])?;
        self.raw(b"\"")
    }

    fn escape(&mut self, byte: u8) -> Result<(), OutputError> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        match byte {
            b'"' => self.raw(b"\\\""),
            b'\\' => self.raw(b"\\\\"),
            b'\n' => self.raw(b"\\n"),
            b'\r' => self.raw(b"\\r"),
            b'\t' => self.raw(b"\\t"),
            0x08 => self.raw(b"\\b"),
            0x0c => self.raw(b"\\f"),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                self.raw(&[b'\\', b'u', b'0', b'0', high, low])
            }
        }
    }
}

/// How many bytes from the start need no escape, if one that does follows them.
fn plain(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // Eight bytes at a time. A borrow between bytes can only add a false alarm above a true one,
    // and the bytes of the first alarming group are looked at one by one.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (groups, _) = bytes.as_chunks::<8>();
    let mut start = 0;
    for group in groups {
        let word = u64::from_le_bytes(*group);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        if control | quote | backslash != 0 {
            break;
        }
        start += 8;
    }
    let escaped = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    bytes[start..]
        .iter()
        .position(escaped)
        .map(|length| start + length)
}
