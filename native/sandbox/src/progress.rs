//! `atoll:plugin/progress`: how far a call says it is.
//!
//! Owns: which of a guest's reports are passed on (they grow, and are not too many) and their form.
//! It must not know who listens, nor what they count against (`output`).

use std::time::{Duration, Instant};

use serde_json::json;
use wasmtime::Result;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::instance::Data;

/// The interface as it is in `wit/progress.wit`.
pub const INTERFACE: &str = "atoll:plugin/progress@0.1.0";

/// Most bytes of a message: it is for a person to read in passing.
const MESSAGE_BYTES_MAX: usize = 1024;

/// So many reports in a row are passed on, whenever they come; then one each interval.
const BURST: u32 = 10;
const INTERVAL: Duration = Duration::from_millis(100);

type Report = (f64, Option<f64>, Option<String>);

/// Puts the interface into a linker.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    linker.instance(INTERFACE)?.func_wrap(
        "report",
        |mut store: StoreContextMut<'_, Data>, report: Report| {
            store.data_mut().report(report, Instant::now());
            Ok(())
        },
    )
}

/// The reports of one call.
pub struct Progress {
    reached: f64,
    /// How many may be passed on now.
    tokens: u32,
    refilled: Instant,
    /// The newest that was not passed on.
    held: Option<Vec<u8>>,
}

impl Progress {
    /// Nothing was reported so far.
    pub fn new(now: Instant) -> Progress {
        Progress {
            reached: f64::NEG_INFINITY,
            tokens: BURST,
            refilled: now,
            held: None,
        }
    }

    /// The line of a report, if it is to be passed on now.
    pub fn take(&mut self, (progress, total, message): Report, now: Instant) -> Option<Vec<u8>> {
        if !progress.is_finite() || progress <= self.reached {
            return None;
        }
        self.reached = progress;
        let mut fields = json!({ "progress": progress });
        if let Some(total) = total.filter(|total| total.is_finite()) {
            fields["total"] = json!(total);
        }
        if let Some(message) = &message {
            fields["message"] = json!(&message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)]);
        }
        let line = fields.to_string().into_bytes();
        self.refill(now);
        if self.tokens == 0 {
            self.held = Some(line);
            return None;
        }
        self.tokens -= 1;
        self.held = None;
        Some(line)
    }

    /// The last report, if it was not passed on.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        self.held.take()
    }

    fn refill(&mut self, now: Instant) {
        let intervals = now.duration_since(self.refilled).as_millis() / INTERVAL.as_millis();
        let more = u32::try_from(intervals).unwrap_or(u32::MAX);
        if more >= BURST {
            self.tokens = BURST;
            self.refilled = now;
        } else {
            self.tokens = BURST.min(self.tokens + more);
            self.refilled += INTERVAL * more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: Option<Vec<u8>>) -> Option<String> {
        line.map(|bytes| String::from_utf8(bytes).expect("JSON is UTF-8"))
    }

    #[test]
    fn reports_have_to_grow() {
        let now = Instant::now();
        let mut progress = Progress::new(now);
        let mut take = |at| text(progress.take((at, None, None), now));
        assert_eq!(take(-1.5).as_deref(), Some(r#"{"progress":-1.5}"#));
        assert_eq!(take(-1.5), None);
        assert_eq!(take(f64::NAN), None);
        assert_eq!(take(f64::INFINITY), None);
        assert_eq!(take(-2.0), None);
        assert_eq!(take(0.0).as_deref(), Some(r#"{"progress":0.0}"#));
    }

    #[test]
    fn totals_are_finite_and_messages_short() {
        let now = Instant::now();
        let mut progress = Progress::new(now);
        let report = (1.0, Some(f64::NAN), Some("é".repeat(600)));
        let line = text(progress.take(report, now)).expect("it grows");
        let message = "é".repeat(512);
        assert_eq!(line, format!(r#"{{"progress":1.0,"message":"{message}"}}"#));
        let line = text(progress.take((2.0, Some(4.0), None), now));
        assert_eq!(line.as_deref(), Some(r#"{"progress":2.0,"total":4.0}"#));
    }

    #[test]
    fn a_flood_is_thinned_out_and_its_last_report_kept() {
        let begin = Instant::now();
        let mut progress = Progress::new(begin);
        let mut passed = 0;
        for n in 0..2_000u32 {
            let now = begin + Duration::from_millis(u64::from(n));
            passed += usize::from(progress.take((n.into(), None, None), now).is_some());
        }
        // The burst, and one each tenth of the two seconds behind its end.
        assert!((29..=30).contains(&passed), "{passed}");
        assert_eq!(
            text(progress.rest()).as_deref(),
            Some(r#"{"progress":1999.0}"#)
        );
        assert_eq!(progress.rest(), None);
    }
}
