//! crossbeam's `ArrayQueue`, under the rules of `bench/native/queue.c`.

use std::sync::Arc;
use std::thread;

use atoll_bench_peers::{arguments, report};
use crossbeam_queue::ArrayQueue;

const CAPACITY: usize = 1024;
const SPINS_MAX: u32 = 64;

unsafe extern "C" {
    fn sched_setaffinity(process: i32, bytes: usize, mask: *const u64) -> i32;
}

fn bind_thread(index: u32) {
    let mask = 1u64 << (index % 2);
    // SAFETY: the mask is eight bytes long and outlives the call; 0 is the calling thread.
    unsafe { sched_setaffinity(0, size_of::<u64>(), &mask) };
}

fn wait_a_little(spins: &mut u32) {
    if *spins > SPINS_MAX {
        thread::yield_now();
        return;
    }
    for _ in 0..*spins {
        std::hint::spin_loop();
    }
    *spins *= 2;
}

fn produce(queue: &ArrayQueue<u64>, values: u64) {
    for value in 1..=values {
        let mut spins = 1;
        while queue.push(value).is_err() {
            wait_a_little(&mut spins);
        }
    }
}

fn consume(queue: &ArrayQueue<u64>, values: u64) -> u64 {
    let mut sum = 0;
    for _ in 0..values {
        let mut spins = 1;
        sum += loop {
            if let Some(value) = queue.pop() {
                break value;
            }
            wait_a_little(&mut spins);
        };
    }
    sum
}

fn pass(queue: &Arc<ArrayQueue<u64>>, values: u64, pairs: u32) {
    let each = values / u64::from(pairs);
    let threads: Vec<_> = (0..2 * pairs)
        .map(|index| {
            let queue = Arc::clone(queue);
            thread::spawn(move || {
                bind_thread(index);
                if index < pairs {
                    produce(&queue, each);
                    return 0;
                }
                consume(&queue, each)
            })
        })
        .collect();
    let sum: u64 = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    assert_eq!(sum, u64::from(pairs) * (each * (each + 1) / 2));
}

fn main() {
    let (case, operations) = arguments();
    let pairs = if case == "mpmc-2x2" { 2 } else { 1 };
    let queue = Arc::new(ArrayQueue::new(CAPACITY));
    report(&case, operations, |values| pass(&queue, values, pairs));
}
