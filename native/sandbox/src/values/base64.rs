//! Base64 with the standard alphabet and padding (RFC 4648, section 4), strict in reading.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Marks a byte outside the alphabet.
const INVALID: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut index = 0;
    while index < 64 {
        values[ALPHABET[index] as usize] = index as u8;
        index += 1;
    }
    values
};

/// How many characters `bytes` bytes become.
pub(super) fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}

/// Appends `bytes` to `out` as base64.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let (groups, rest) = bytes.as_chunks::<3>();
    let start = out.len();
    out.resize(start + groups.len() * 4, 0);
    let (slots, _) = out[start..].as_chunks_mut::<4>();
    for (group, slot) in groups.iter().zip(slots) {
        *slot = characters(*group);
    }
    match *rest {
        [a] => {
            let [first, second, ..] = characters([a, 0, 0]);
            out.extend_from_slice(&[first, second, b'=', b'=']);
        }
        [a, b] => {
            let [first, second, third, _] = characters([a, b, 0]);
            out.extend_from_slice(&[first, second, third, b'=']);
        }
        _ => {}
    }
}

fn characters([a, b, c]: [u8; 3]) -> [u8; 4] {
    let character = |bits: u8| ALPHABET[usize::from(bits & 63)];
    [
        character(a >> 2),
        character(a << 4 | b >> 4),
        character(b << 2 | c >> 6),
        character(c),
    ]
}

/// Appends the bytes that `text` stands for to `out`.
///
/// Fails with what is wrong and where, counted in characters from 0; `out` then holds a part.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        // A character outside the alphabet says more than a wrong length.
        if let Some(at) = text
            .iter()
            .position(|&b| b != b'=' && VALUES[usize::from(b)] == INVALID)
        {
            return Err(format!("invalid character at position {at}"));
        }
        return Err(format!(
            "{} characters are not a multiple of 4; padding is needed",
            text.len()
        ));
    }
    let Some((last, groups)) = groups.split_last() else {
        return Ok(());
    };
    let start = out.len();
    out.resize(start + groups.len() * 3, 0);
    let (slots, _) = out[start..].as_chunks_mut::<3>();
    let mut seen = 0;
    for (group, slot) in groups.iter().zip(slots) {
        let values = group.map(|byte| VALUES[usize::from(byte)]);
        seen |= values[0] | values[1] | values[2] | values[3];
        *slot = bytes(values);
    }
    if seen > 63 {
        let outside = |&byte: &u8| VALUES[usize::from(byte)] == INVALID;
        let at = groups.as_flattened().iter().position(outside);
        return Err(invalid(at.unwrap_or(0)));
    }
    let at = groups.len() * 4;
    let padding = match last {
        [_, _, b'=', b'='] => 2,
        [_, _, _, b'='] => 1,
        _ => 0,
    };
    let mut group = *last;
    group[4 - padding..].fill(b'A');
    let values = group.map(|byte| VALUES[usize::from(byte)]);
    if let Some(index) = values.iter().position(|&value| value == INVALID) {
        return Err(invalid(at + index));
    }
    let bytes = bytes(values);
    let (kept, spare) = bytes.split_at(3 - padding);
    if spare.iter().any(|&byte| byte != 0) {
        return Err(format!(
            "stray bits before the padding at position {}",
            at + 4 - padding
        ));
    }
    out.extend_from_slice(kept);
    Ok(())
}

fn invalid(at: usize) -> String {
    format!("invalid character at position {at}")
}

/// The three bytes of four values of six bits.
fn bytes([a, b, c, d]: [u8; 4]) -> [u8; 3] {
    [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]
}
