//! Peers of the reclaim bench: haphazard, crossbeam-epoch, std's `Arc`, each used as its own
//! documentation shows for a read in a loop.

use std::hint::black_box;
use std::sync::Arc;

use atoll_bench_peers::{arguments, report};
use haphazard::{AtomicPtr, HazardPointer};

fn hazard(case: &str, operations: u64) {
    let place = AtomicPtr::from(Box::new(1_u64));
    let mut hazard = HazardPointer::new();
    let mut sum = 0;
    report(case, operations, |count| {
        for _ in 0..count {
            sum += place.safe_load(&mut hazard).expect("it is set");
            hazard.reset_protection();
        }
    });
    black_box(sum);
}

fn epoch(case: &str, operations: u64) {
    report(case, operations, |count| {
        for _ in 0..count {
            black_box(&crossbeam_epoch::pin());
        }
    });
}

fn refcount(case: &str, operations: u64) {
    let shared = Arc::new([0_u8; 64]);
    report(case, operations, |count| {
        for _ in 0..count {
            drop(black_box(Arc::clone(&shared)));
        }
    });
}

fn main() {
    let (case, operations) = arguments();
    match case.as_str() {
        "hazard" => hazard(&case, operations),
        "epoch" => epoch(&case, operations),
        "refcount" => refcount(&case, operations),
        other => panic!("no case {other}"),
    }
}
