//! What a frame says, as an archive of rkyv: read in place, validated by bytecheck or trusted.

use std::hint::black_box;

use atoll_bench_peers::{arguments, report};
use rkyv::rancor::Error;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Serialize};

const FRAMES: usize = 64;

#[derive(Archive, Serialize)]
struct Frame {
    kind: u8,
    flags: u16,
    request_id: u64,
    target: u32,
    budget_us: u32,
    payload: Vec<u8>,
}

fn frames() -> Vec<AlignedVec> {
    (0..FRAMES)
        .map(|index| {
            let frame = Frame {
                kind: 1,
                flags: 258,
                request_id: index as u64,
                target: index as u32 * 3,
                budget_us: 1_000_000,
                payload: vec![index as u8; 64],
            };
            rkyv::to_bytes::<Error>(&frame).expect("an archive")
        })
        .collect()
}

fn read(frame: &ArchivedFrame) -> u64 {
    frame.request_id.to_native()
        + u64::from(frame.target.to_native())
        + u64::from(frame.budget_us.to_native())
        + u64::from(frame.kind)
        + u64::from(frame.flags.to_native())
        + frame.payload.len() as u64
        + u64::from(frame.payload[0])
}

fn main() {
    let (case, operations) = arguments();
    let frames = frames();
    match case.as_str() {
        "checked" => report(&case, operations, |count| {
            let mut sum = 0;
            for i in 0..count as usize {
                let bytes = black_box(&frames[i % FRAMES]);
                let frame = rkyv::access::<ArchivedFrame, Error>(bytes).expect("valid");
                sum += read(frame);
            }
            black_box(sum);
        }),
        "trusted" => report(&case, operations, |count| {
            let mut sum = 0;
            for i in 0..count as usize {
                let bytes = black_box(&frames[i % FRAMES]);
                // SAFETY: made above.
                sum += read(unsafe { rkyv::access_unchecked::<ArchivedFrame>(bytes) });
            }
            black_box(sum);
        }),
        other => panic!("no case {other}"),
    }
}
