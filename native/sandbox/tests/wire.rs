//! The frames of `tests/corpus/wire`, read by a reader of its own in Rust.
//!
//! Owns: an independent reading of `docs/reference/wire.md` with the generated constants, for peers
//! that are written in Rust. It must not know the other readers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use atoll_sandbox::abi::*;

const NAMES: [&str; 16] = [
    "none",
    "short",
    "magic",
    "version",
    "kind",
    "flags",
    "encoding",
    "length",
    "checksum",
    "extension",
    "critical",
    "duplicate",
    "value",
    "parts",
    "clock",
    "padding",
];

type Result<T> = std::result::Result<T, AtollFault>;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// CRC-32C (RFC 3720, B.4), bit by bit.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

#[derive(Default)]
struct Extensions {
    trace: Option<(Vec<u8>, Vec<u8>, u8)>,
    deadline: Option<(u8, u64)>,
    parts: Vec<[u32; 4]>,
}

fn parts(tag: u16, value: &[u8], payload_length: u32) -> Result<Vec<[u32; 4]>> {
    if tag & ATOLL_EXTENSION_CRITICAL == 0
        || value.len() < 20
        || !(value.len() - 4).is_multiple_of(16)
    {
        return Err(ATOLL_FAULT_PARTS);
    }
    let (parts, _) = value[4..].as_chunks::<16>();
    let parts: Vec<[u32; 4]> = parts
        .iter()
        .map(|part| [0, 4, 8, 12].map(|at| u32_at(part, at)))
        .collect();
    let sum: u64 = parts.iter().map(|part| u64::from(part[3])).sum();
    let good = parts.len() <= ATOLL_PARTS_MAX as usize
        && parts
            .iter()
            .all(|part| part[3] > 0 && part[2].checked_add(part[3]).is_some())
        && sum == u64::from(u32_at(value, 0))
        && sum + u64::from(payload_length) <= u64::from(u32::MAX);
    if good {
        Ok(parts)
    } else {
        Err(ATOLL_FAULT_PARTS)
    }
}

fn known(found: &mut Extensions, tag: u16, value: &[u8], payload_length: u32) -> Result<()> {
    let kind = tag & !ATOLL_EXTENSION_CRITICAL;
    match kind {
        ATOLL_EXTENSION_TRACE if value.len() >= 28 => {
            found.trace = Some((value[4..20].to_vec(), value[20..28].to_vec(), value[0]));
        }
        ATOLL_EXTENSION_DEADLINE if value.len() >= 12 => {
            if ![ATOLL_CLOCK_MONOTONIC, ATOLL_CLOCK_REALTIME].contains(&value[0]) {
                return Err(ATOLL_FAULT_CLOCK);
            }
            found.deadline = Some((value[0], u64_at(value, 4)));
        }
        ATOLL_EXTENSION_PAYLOAD => found.parts = parts(tag, value, payload_length)?,
        ATOLL_EXTENSION_PRINCIPAL | ATOLL_EXTENSION_TENANT if (1..=255).contains(&value.len()) => {}
        _ => return Err(ATOLL_FAULT_VALUE),
    }
    Ok(())
}

fn extensions(area: &[u8], level: AtollLevel, payload_length: u32) -> Result<Extensions> {
    let mut found = Extensions::default();
    let mut seen = 0u32;
    let mut at = 0;
    while at < area.len() {
        let tag = u16_at(area, at);
        let end = at + 4 + usize::from(u16_at(area, at + 2));
        if end > area.len() {
            return Err(ATOLL_FAULT_EXTENSION);
        }
        let next = end.next_multiple_of(8);
        if level == ATOLL_LEVEL_FULL && area[end..next].iter().any(|byte| *byte != 0) {
            return Err(ATOLL_FAULT_PADDING);
        }
        let kind = tag & !ATOLL_EXTENSION_CRITICAL;
        if kind > ATOLL_EXTENSION_PAYLOAD {
            if kind != tag {
                return Err(ATOLL_FAULT_CRITICAL);
            }
        } else if kind != ATOLL_EXTENSION_PADDING {
            if seen & 1 << kind != 0 {
                return Err(ATOLL_FAULT_DUPLICATE);
            }
            seen |= 1 << kind;
            known(&mut found, tag, &area[at + 4..end], payload_length)?;
        }
        at = next;
    }
    found.trace = found
        .trace
        .filter(|(id, _, _)| id.iter().any(|byte| *byte != 0));
    Ok(found)
}

/// The lines that a vector file has for a frame.
fn read(bytes: &[u8], level: AtollLevel, remote: bool) -> Result<Vec<String>> {
    if bytes.len() < 32 {
        return Err(ATOLL_FAULT_SHORT);
    }
    if u16_at(bytes, 0) != ATOLL_FRAME_MAGIC {
        return Err(ATOLL_FAULT_MAGIC);
    }
    if bytes[2] != ATOLL_FRAME_VERSION {
        return Err(ATOLL_FAULT_VERSION);
    }
    let kind = bytes[3];
    if !matches!(kind, ATOLL_KIND_CALL..=ATOLL_KIND_CONTROL | ATOLL_KIND_REPLY..=ATOLL_KIND_CREDIT)
    {
        return Err(ATOLL_FAULT_KIND);
    }
    let flags = u16_at(bytes, 4);
    let all = ATOLL_FLAG_CHECKED | ATOLL_FLAG_END | ATOLL_FLAG_STDERR | ATOLL_FLAG_DETACHED;
    if flags & !(all | ATOLL_FLAG_ENCODING) != 0 {
        return Err(ATOLL_FAULT_FLAGS);
    }
    if flags & ATOLL_FLAG_ENCODING > ATOLL_FLAG_RKYV {
        return Err(ATOLL_FAULT_ENCODING);
    }
    let begin = 32 + usize::from(u16_at(bytes, 6)) * 8;
    let length = u32_at(bytes, 24);
    let end = begin as u64 + u64::from(length);
    if end > bytes.len() as u64 {
        return Err(ATOLL_FAULT_LENGTH);
    }
    let payload = &bytes[begin..end as usize];
    let checked = flags & ATOLL_FLAG_CHECKED != 0;
    if checked || level == ATOLL_LEVEL_FULL {
        let covered = &bytes[..if checked { end as usize } else { begin }];
        let blanked = covered.iter().enumerate();
        let crc = crc32c(blanked.map(|(at, byte)| if (28..32).contains(&at) { 0 } else { *byte }));
        if crc != u32_at(bytes, 28) {
            return Err(ATOLL_FAULT_CHECKSUM);
        }
    }
    let found = match level {
        ATOLL_LEVEL_HEADER => Extensions::default(),
        _ => extensions(&bytes[32..begin], level, length)?,
    };
    if remote
        && found
            .deadline
            .is_some_and(|(clock, _)| clock == ATOLL_CLOCK_MONOTONIC)
    {
        return Err(ATOLL_FAULT_CLOCK);
    }
    let mut lines = vec![
        format!("kind {kind}"),
        format!("flags {flags}"),
        format!("request_id {}", u64_at(bytes, 8)),
        format!("target {}", u32_at(bytes, 16)),
        format!("budget_us {}", u32_at(bytes, 20)),
        format!("length {end}"),
    ];
    if let Some((id, span, flags)) = &found.trace {
        lines.push(format!("trace {} {} {flags}", hex(id), hex(span)));
    }
    if let Some((clock, at)) = found.deadline {
        lines.push(format!("deadline {clock} {at}"));
    }
    for [segment, slot, offset, length] in &found.parts {
        lines.push(format!("part {segment} {slot} {offset} {length}"));
    }
    lines.push(format!("payload {}", hex(payload)).trim_end().to_owned());
    Ok(lines)
}

#[test]
fn each_frame_of_the_corpus_is_read_or_refused_for_its_reason() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/wire");
    let mut count = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "frame")
        {
            continue;
        }
        count += 1;
        let text = fs::read_to_string(&path).unwrap();
        let (mut level, mut remote, mut digits, mut fault) = (0, false, String::new(), "none");
        let mut expected = Vec::new();
        for line in text.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("" | "#", _) => {}
                ("level", "header") => level = ATOLL_LEVEL_HEADER,
                ("level", "structure") => level = ATOLL_LEVEL_STRUCTURE,
                ("level", _) => level = ATOLL_LEVEL_FULL,
                ("remote", _) => remote = true,
                ("hex", more) => digits.push_str(more),
                ("fault", name) => fault = name,
                _ => expected.push(line.to_owned()),
            }
        }
        let (pairs, _) = digits.as_bytes().as_chunks::<2>();
        let bytes: Vec<u8> = pairs
            .iter()
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        match read(&bytes, level, remote) {
            Ok(lines) => assert_eq!((fault, &lines), ("none", &expected), "{}", path.display()),
            Err(found) => assert_eq!(NAMES[found as usize], fault, "{}", path.display()),
        }
    }
    assert!(count >= 88);
}
