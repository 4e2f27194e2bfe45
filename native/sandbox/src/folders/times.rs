//! Times of files, as finely as a guest is told time.
//!
//! Owns: rounding. It must not know files: a file's times would else be a clock that is finer than
//! the one that is granted.

use std::time::Duration;

use wasmtime_wasi::clocks::HostWallClock as _;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorStat, NewTimestamp};

use crate::sources::{CoarseWallClock, coarse};

/// Now, by the guest's clock.
pub fn stamped(stamp: NewTimestamp, resolution: Duration) -> NewTimestamp {
    match stamp {
        NewTimestamp::Now => {
            let now = CoarseWallClock { resolution }.now();
            NewTimestamp::Timestamp(Datetime {
                seconds: now.as_secs(),
                nanoseconds: now.subsec_nanos(),
            })
        }
        other => other,
    }
}

/// What the guest is told of a file.
pub fn told(stat: DescriptorStat, resolution: Duration) -> DescriptorStat {
    let rounded = |time: Option<Datetime>| time.map(|time| rounded(time, resolution));
    DescriptorStat {
        data_access_timestamp: rounded(stat.data_access_timestamp),
        data_modification_timestamp: rounded(stat.data_modification_timestamp),
        status_change_timestamp: rounded(stat.status_change_timestamp),
        ..stat
    }
}

/// Down. A resolution is a second at most, so that seconds stay what they are.
fn rounded(time: Datetime, resolution: Duration) -> Datetime {
    let nanoseconds = coarse(Duration::from_nanos(time.nanoseconds.into()), resolution);
    Datetime {
        seconds: time.seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi::p2::bindings::filesystem::types::DescriptorType;

    use super::*;

    #[test]
    fn times_of_files_are_as_coarse_as_the_clock() {
        let millisecond = Duration::from_millis(1);
        let time = Some(Datetime {
            seconds: 7,
            nanoseconds: 123_456_789,
        });
        let stat = DescriptorStat {
            type_: DescriptorType::RegularFile,
            link_count: 1,
            size: 0,
            data_access_timestamp: time,
            data_modification_timestamp: time,
            status_change_timestamp: time,
        };
        let told = told(stat, millisecond);
        for time in [
            told.data_access_timestamp,
            told.data_modification_timestamp,
            told.status_change_timestamp,
        ] {
            let time = time.expect("a time");
            assert_eq!((time.seconds, time.nanoseconds), (7, 123_000_000));
        }
        let second = Duration::from_secs(1);
        let NewTimestamp::Timestamp(now) = stamped(NewTimestamp::Now, second) else {
            panic!("a time");
        };
        assert!(now.seconds > 0 && now.nanoseconds == 0);
        assert!(matches!(
            stamped(NewTimestamp::NoChange, second),
            NewTimestamp::NoChange
        ));
    }
}
