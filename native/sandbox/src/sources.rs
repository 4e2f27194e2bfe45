//! Where a guest's time and randomness come from.
//!
//! Owns: clocks as coarse as is granted, and sequences of a granted seed. It must not know which
//! functions read them.

use std::time::{Duration, Instant, SystemTime};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};
use wasmtime_wasi::{Rng as _, WasiCtxBuilder};

use crate::grants::{Clocks, Seed};
use crate::limits::RANDOM_BYTES;

/// The resolution that is granted.
pub fn resolution(clocks: Option<&Clocks>) -> Duration {
    let micros = clocks.map_or(Clocks::default().resolution_us, |c| c.resolution_us);
    Duration::from_micros(micros.max(1))
}

/// Gives a context its randomness: of a seed, or its own.
pub fn random_of(builder: &mut WasiCtxBuilder, seed: Option<&Seed>) {
    builder.max_random_size(RANDOM_BYTES);
    if let Some(Seed { seed }) = seed {
        let mut hash = seeded(*seed, 2);
        builder
            .secure_random(seeded(*seed, 0))
            .insecure_random(seeded(*seed, 1))
            .insecure_random_seed(u128::from(hash.next_u64()) << 64 | u128::from(hash.next_u64()));
    }
}

/// A sequence of a seed; those of two numbers have nothing in common.
fn seeded(seed: u64, sequence: u64) -> ChaCha20Rng {
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    random.set_stream(sequence);
    random
}

/// The last reading of a clock of a resolution.
pub fn coarse(time: Duration, resolution: Duration) -> u64 {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    nanos - nanos % u64::try_from(resolution.as_nanos()).unwrap_or(u64::MAX)
}

/// Tells the time of day.
pub struct CoarseWallClock {
    /// From one reading to the next.
    pub resolution: Duration,
}

impl HostWallClock for CoarseWallClock {
    fn resolution(&self) -> Duration {
        self.resolution
    }

    fn now(&self) -> Duration {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Duration::from_nanos(coarse(now, self.resolution))
    }
}

/// Tells how much time has passed since it was made.
pub struct CoarseMonotonicClock {
    start: Instant,
    resolution: Duration,
}

impl CoarseMonotonicClock {
    /// Begins at its first step, never at 0: Go's run-time library takes that for a clock that does not
    /// work, and aborts.
    pub fn new(resolution: Duration) -> CoarseMonotonicClock {
        CoarseMonotonicClock {
            start: Instant::now(),
            resolution,
        }
    }
}

impl HostMonotonicClock for CoarseMonotonicClock {
    fn resolution(&self) -> u64 {
        u64::try_from(self.resolution.as_nanos()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        coarse(self.start.elapsed(), self.resolution).saturating_add(self.resolution())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_as_coarse_as_is_granted() {
        for (granted, nanos) in [(None, 1_000_000), (Some(250), 250_000), (Some(0), 1_000)] {
            let clocks = granted.map(|resolution_us| Clocks { resolution_us });
            let resolution = resolution(clocks.as_ref());
            let wall = CoarseWallClock { resolution };
            let monotonic = CoarseMonotonicClock::new(resolution);
            assert_eq!(monotonic.resolution(), nanos);
            assert_eq!(wall.resolution().as_nanos(), u128::from(nanos));
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(u128::from(monotonic.now()) % u128::from(nanos), 0);
            assert_eq!(wall.now().as_nanos() % u128::from(nanos), 0);
            assert!(monotonic.now() >= 1_000_000, "it goes on");
        }
    }

    #[test]
    fn a_seed_has_sequences_that_differ() {
        let first = |seed, sequence| seeded(seed, sequence).next_u64();
        assert_eq!(first(7, 0), first(7, 0));
        assert_ne!(first(7, 0), first(7, 1));
        assert_ne!(first(7, 0), first(8, 0));
    }
}
