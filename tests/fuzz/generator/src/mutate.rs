//! Valid components with faults: flipped bits, parts moved, lengths that lie.

use std::ops::Range;

use crate::random::Random;

const HEADER_BYTES: usize = 8;

/// One of the components with some faults.
pub fn component(random: &mut Random, valid: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = valid[random.below(valid.len())].clone();
    for _ in 0..=random.below(3) {
        let other = &valid[random.below(valid.len())];
        fault(random, &mut bytes, other);
        if bytes.is_empty() {
            return bytes;
        }
    }
    bytes
}

fn fault(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    match random.below(9) {
        0 | 1 => {
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
        2 => {
            let at = random.below(bytes.len());
            bytes[at] = random.pick(&[&0, &0x7f, &0x80, &0xff]).to_owned();
        }
        3 => bytes.truncate(random.below(bytes.len())),
        4 => {
            let part = part(random, other);
            let at = random.below(bytes.len());
            bytes.splice(at..at, other[part].iter().copied());
        }
        5 => drop(bytes.drain(part(random, bytes))),
        6 => {
            let from = section(random, other);
            let to = section(random, bytes);
            bytes.splice(to, other[from].iter().copied());
        }
        7 => {
            let from = section(random, bytes);
            let copy = bytes[from].to_vec();
            let at = section(random, bytes).start;
            bytes.splice(at..at, copy);
        }
        _ => drop(bytes.drain(section(random, bytes))),
    }
}

fn part(random: &mut Random, of: &[u8]) -> Range<usize> {
    let start = random.below(of.len());
    start..(start + random.below(200)).min(of.len())
}

/// A whole section, if the bytes still have sections.
fn section(random: &mut Random, of: &[u8]) -> Range<usize> {
    let mut sections = Vec::new();
    let mut at = HEADER_BYTES;
    while at < of.len() {
        let Some((length, start)) = leb(of, at + 1) else {
            break;
        };
        let end = start.saturating_add(length).min(of.len());
        sections.push(at..end);
        at = end;
    }
    match sections.is_empty() {
        true => part(random, of),
        false => sections[random.below(sections.len())].clone(),
    }
}

/// An unsigned LEB128 and where it ends.
fn leb(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}
