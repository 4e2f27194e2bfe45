//! Heads of HTTP messages as text at the boundary.
//!
//! Owns: the form `METHOD SP URL LF` or `STATUS LF`, then `name:value LF` for each field, then `LF`.
//! Bytes 0 to 255 of a value cross as the characters of the same number, in UTF-8. It must not know
//! bodies or guests.

use crate::abi::ATOLL_INVALID_ARGUMENT;
use crate::error::Outcome;
use crate::limits::{LimitExceeded, LimitKind, Limits};

/// A request's head, and the bytes behind it.
pub fn read<'a>(
    payload: &'a [u8],
    limits: &Limits,
) -> Result<(http::request::Builder, &'a [u8]), Outcome> {
    let Some(end) = payload.windows(2).position(|pair| pair == b"\n\n") else {
        return Err(refused("it has no end"));
    };
    let Ok(head) = std::str::from_utf8(&payload[..end]) else {
        return Err(refused("it is not UTF-8"));
    };
    let mut lines = head.split('\n');
    let (method, url) = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .ok_or_else(|| refused("it has no method and URL"))?;
    let mut builder = http::Request::builder().method(method).uri(url);
    let mut bytes = 0;
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| refused("a field has no colon"))?;
        bytes += name.len() + value.len();
        if bytes as u64 > limits.field_bytes {
            let value = limits.field_bytes;
            return Err(Outcome::limit(&LimitExceeded {
                kind: LimitKind::Fields,
                value,
            }));
        }
        builder = match value.is_ascii() {
            true => builder.header(name, value),
            false => builder.header(
                name,
                latin1(value).ok_or_else(|| refused("a field is not a byte string"))?,
            ),
        };
    }
    match builder.uri_ref().map(|uri| uri.authority().is_some()) {
        Some(false) => Err(refused("its URL is not absolute")),
        _ => Ok((builder, &payload[end + 2..])),
    }
}

/// The reply to a head that cannot be used.
pub fn refused(reason: &str) -> Outcome {
    Outcome::message(
        ATOLL_INVALID_ARGUMENT,
        format!("the request's head is broken: {reason}"),
    )
}

/// Appends a response's head.
pub fn write(parts: &http::response::Parts, out: &mut Vec<u8>) {
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b'\n');
    for (name, value) in &parts.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(b':');
        for &byte in value.as_bytes() {
            match byte {
                0..0x80 => out.push(byte),
                _ => out.extend_from_slice(&[0xc0 | byte >> 6, 0x80 | byte & 0x3f]),
            }
        }
        out.push(b'\n');
    }
    out.push(b'\n');
}

fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_with_what_follows_it() {
        let payload = "POST https://h:1/p?q\naccept:a:b\nx:ä\nx:\n\nbody".as_bytes();
        let (builder, rest) = read(payload, &Limits::default()).ok().expect("a head");
        let request = builder.body(()).expect("a request");
        assert_eq!(rest, b"body");
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "https://h:1/p?q");
        assert_eq!(request.headers()["accept"], "a:b");
        let values: Vec<_> = request
            .headers()
            .get_all("x")
            .iter()
            .map(|v| v.as_bytes())
            .collect();
        assert_eq!(values, [&b"\xe4"[..], b""]);
    }

    #[test]
    fn a_head_is_written_as_it_is_read() {
        let response = http::Response::builder()
            .status(404)
            .header("x", &b"\x80\xff~"[..])
            .header("x", "2")
            .body(())
            .expect("a response");
        let mut out = Vec::new();
        write(&response.into_parts().0, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "404\nx:\u{80}\u{ff}~\nx:2\n\n"
        );
    }
}
