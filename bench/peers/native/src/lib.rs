//! What the peers share: arguments in, one line out, as `bench/native/programs.ts` expects.

use std::time::Instant;

/// The case and the number of operations of a round.
pub fn arguments() -> (String, u64) {
    let mut args = std::env::args().skip(1);
    let case = args.next().expect("a case");
    let operations = args.next().and_then(|text| text.parse().ok());
    (case, operations.expect("a number of operations"))
}

/// Runs a body twice, the first time to warm up, and prints nanoseconds an operation.
pub fn report(case: &str, operations: u64, mut body: impl FnMut(u64)) {
    body(operations / 4 + 1);
    let begin = Instant::now();
    body(operations);
    let nanoseconds = begin.elapsed().as_nanos() as f64 / operations as f64;
    println!("{{\"case\":\"{case}\",\"value\":{nanoseconds:.4}}}");
}
