//! crc-fast, the peer of the bench `crc32c`, by its one-shot function for CRC-32/ISCSI: what its
//! documentation names as the fastest way.
//!
//! The same work as `bench/native/crc32c.c`: the address of each buffer depends on the checksum
//! before it, so that calls cannot overlap.

use atoll_bench_peers::arguments;
use crc_fast::crc32_iscsi;
use std::hint::black_box;
use std::time::Instant;

const CAPACITY: usize = 1 << 20;
const HEADER_BYTES: usize = 32;
const SMALL: [usize; 4] = [32, 64, 128, 256];
const LARGE: [usize; 5] = [4096, 16384, 65536, 262_144, 1_048_576];

/// Memory that starts at a page, as the other side's does.
#[repr(align(4096))]
struct Aligned([u8; CAPACITY]);

/// Nanoseconds of a call, given where its buffer starts; a quarter more before, to warm up.
fn measure(length: usize, budget: u64, mut call: impl FnMut(usize) -> u32) -> f64 {
    let calls = budget / length as u64 + 1;
    // Zero, which the compiler does not know.
    let mask = black_box(0usize);
    let mut crc = 0u32;
    for _ in 0..calls / 4 + 1 {
        crc = call(crc as usize & mask);
    }
    let begin = Instant::now();
    for _ in 0..calls {
        crc = call(crc as usize & mask);
    }
    let each = begin.elapsed().as_nanos() as f64 / calls as f64;
    black_box(crc);
    each
}

fn nanoseconds(bytes: &[u8], length: usize, budget: u64) -> f64 {
    let length = black_box(length);
    assert!(length <= bytes.len());
    // SAFETY: start is 0, because the mask is; the length was checked above. A checked slice would
    // charge the peer for the check.
    let at =
        |start: usize| unsafe { std::slice::from_raw_parts(bytes.as_ptr().add(start), length) };
    measure(length, budget, |start| crc32_iscsi(at(start)))
}

/// A header whose checksum is a field of it has to be copied, for that field to count as zero.
fn header(bytes: &[u8], budget: u64) -> f64 {
    assert!(HEADER_BYTES <= bytes.len());
    measure(HEADER_BYTES, budget, |start| {
        let mut header = [0u8; HEADER_BYTES];
        // SAFETY: as above.
        header.copy_from_slice(unsafe {
            std::slice::from_raw_parts(bytes.as_ptr().add(start), HEADER_BYTES)
        });
        header[28..].fill(0);
        crc32_iscsi(&header)
    })
}

fn mean(sizes: &[usize], figure: impl Fn(usize) -> f64) -> f64 {
    let logarithms: f64 = sizes.iter().map(|&size| figure(size).ln()).sum();
    (logarithms / sizes.len() as f64).exp()
}

fn main() {
    let (case, budget) = arguments();
    let mut memory = Box::new(Aligned([0; CAPACITY]));
    for (i, byte) in memory.0.iter_mut().enumerate() {
        *byte = ((i as u64 * 2_654_435_761) >> 13) as u8;
    }
    let bytes = &memory.0[..];
    let small = |length: usize| nanoseconds(bytes, length, budget);
    let large = |length: usize| length as f64 * 1e9 / small(length) / (1u64 << 30) as f64;
    let value = match case.split_once('-') {
        Some(("small", length)) => small(length.parse().expect("a size")),
        Some(("large", length)) => large(length.parse().expect("a size")),
        _ if case == "small" => mean(&SMALL, small),
        _ if case == "large" => mean(&LARGE, large),
        _ if case == "header" => header(bytes, budget),
        _ => panic!("no case {case}"),
    };
    println!("{{\"case\":\"{case}\",\"value\":{value:.4}}}");
}
