//! The bytes of replies: buffers, and strings and bytes as JSON text without dynamic values.
//!
//! Owns: the two writers of the typed fast path and one buffer a thread. It must not know calls.

use std::cell::RefCell;

/// Buffers up to this size are kept for the next call of the thread.
const BUFFER_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends `text` as a JSON string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(control >> 4), hex(control)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

/// Appends `bytes` as a JSON string of base64 (RFC 4648, section 4, with padding).
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(3) * 4 + 2);
    out.push(b'"');
    let letter = |bits: u32| ALPHABET[(bits & 63) as usize];
    let (groups, rest) = bytes.as_chunks::<3>();
    for [a, b, c] in groups {
        let bits = u32::from(*a) << 16 | u32::from(*b) << 8 | u32::from(*c);
        out.extend_from_slice(&[
            letter(bits >> 18),
            letter(bits >> 12),
            letter(bits >> 6),
            letter(bits),
        ]);
    }
    match *rest {
        [a] => {
            let bits = u32::from(a) << 16;
            out.extend_from_slice(&[letter(bits >> 18), letter(bits >> 12), b'=', b'=']);
        }
        [a, b] => {
            let bits = u32::from(a) << 16 | u32::from(b) << 8;
            let last = letter(bits >> 6);
            out.extend_from_slice(&[letter(bits >> 18), letter(bits >> 12), last, b'=']);
        }
        _ => {}
    }
    out.push(b'"');
}

/// An empty buffer, the thread's own if it is there.
pub fn take_buffer() -> Vec<u8> {
    BUFFER.with(RefCell::take)
}

/// Keeps a buffer for the next call of the thread.
pub fn give_buffer(mut buffer: Vec<u8>) {
    if buffer.capacity() > 0 && buffer.capacity() <= BUFFER_BYTES {
        buffer.clear();
        BUFFER.with(|kept| kept.replace(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_serde_json_writes() {
        let all: String = (0..0x250u32).filter_map(char::from_u32).collect();
        for text in ["", "plain", "a\"b\\c\n\r\t\u{1}\u{1f}", "ä€😀", &all] {
            let mut out = Vec::new();
            write_text(text, &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), text);
        }
    }

    #[test]
    fn bytes_are_padded_base64() {
        for (bytes, base64) in [
            (&b""[..], "\"\""),
            (b"f", "\"Zg==\""),
            (b"fo", "\"Zm8=\""),
            (b"foo", "\"Zm9v\""),
            (b"foobar", "\"Zm9vYmFy\""),
            (&[0xff, 0xfe, 0xfb], "\"//77\""),
        ] {
            let mut out = Vec::new();
            write_bytes(bytes, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), base64);
        }
    }
}
