//! One budget a call: what a guest may make the host hold, and how long it may run.
//!
//! Owns: the limits' names, units and JSON keys (the same as in `src/core/limits.ts`), and
//! [`LimitExceeded`], the error that names a limit. It must not know how what is limited is counted,
//! nor how calls are run or replied to.

use std::fmt;

use rkyv::Archive;
use serde::Deserialize;

use crate::abi::AtollGroupLimits;

/// Bytes of wasm stack of a call. Fixed for the engine.
pub const STACK_BYTES: usize = 512 * 1024;

/// Bytes that one call of the host may make it copy, besides HTTP fields: streams take 64 KiB at a
/// time, and nothing interrupts the copying. Fixed for the engine.
const HOST_CALL_BYTES: u64 = 256 * 1024;

/// Bytes of randomness that may be asked for at once. Fixed for the engine.
pub const RANDOM_BYTES: u64 = 1024 * 1024;

/// Limits of one plugin, each summed over everything one call makes the host hold.
#[derive(
    Archive, Clone, Copy, Debug, Deserialize, PartialEq, Eq, rkyv::Deserialize, rkyv::Serialize,
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of all memories of the instance, in bytes.
    pub memory_bytes: u64,
    /// CPU time of the guest, in milliseconds.
    pub cpu_ms: u64,
    /// Wall clock from submit to reply, in milliseconds.
    pub wall_ms: u64,
    /// Result of one call, in bytes. Streamed HTTP bodies do not count.
    pub output_bytes: u64,
    /// Standard output and standard error together, in bytes; a line counts as 16 at least.
    pub log_bytes: u64,
    /// Elements of all tables of the instance.
    pub table_elements: u64,
    /// Core instances of one component instance.
    pub instances: u64,
    /// Resource handles the guest may hold.
    pub resources: u64,
    /// HTTP header fields of one message: names and values, in bytes. All messages that a call makes
    /// have eight times as much together.
    pub field_bytes: u64,
    /// What requests of one call send and receive together, in bytes.
    pub egress_bytes: u64,
    /// Connections that one call has open at once; as many rest between calls.
    pub connections: u64,
    /// Calls running at once. One that takes several shares of the pool counts as several.
    pub concurrency: u64,
    /// Calls waiting for one of those places.
    pub queue: u64,
    /// Calls a second, and as many at once after a quiet second; 0: any number.
    pub requests_per_second: u64,
    /// Linear memory over all instances of the plugin, those at rest too, in bytes; 0: any amount.
    pub plugin_memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 64 * 1024 * 1024,
            cpu_ms: 1_000,
            wall_ms: 30_000,
            output_bytes: 1024 * 1024,
            log_bytes: 64 * 1024,
            table_elements: 100_000,
            instances: 64,
            resources: 1_000,
            field_bytes: 128 * 1024,
            egress_bytes: 64 * 1024 * 1024,
            connections: 8,
            concurrency: 64,
            queue: 1_000,
            requests_per_second: 0,
            plugin_memory_bytes: 0,
        }
    }
}

impl Limits {
    /// The part that the core's bulkhead counts, for a plugin each of whose calls takes so many shares
    /// of the pool: together they never take more than as many calls of a usual plugin.
    pub fn group(&self, pool_share: u32) -> AtollGroupLimits {
        AtollGroupLimits {
            concurrency_max: (count(self.concurrency) / pool_share).max(1),
            queue_max: count(self.queue),
            budget_default_us: saturate(self.wall_ms.saturating_mul(1_000)).max(1),
            rate_max: saturate(self.requests_per_second),
            rate_group: 0,
            reserved: 0,
        }
    }

    /// The same for a part of the plugin that runs one call at a time. As many may wait as for the
    /// whole, with whose group it counts calls a second.
    pub fn part(&self, whole: u32) -> AtollGroupLimits {
        AtollGroupLimits {
            concurrency_max: 1,
            rate_group: whole,
            ..self.group(1)
        }
    }

    /// The value of a limit, in the unit of its key.
    pub fn value(&self, kind: LimitKind) -> u64 {
        match kind {
            LimitKind::Memory => self.memory_bytes,
            LimitKind::Cpu => self.cpu_ms,
            LimitKind::Wall => self.wall_ms,
            LimitKind::Stack => STACK_BYTES as u64,
            LimitKind::Output => self.output_bytes,
            LimitKind::Log => self.log_bytes,
            LimitKind::Tables => self.table_elements,
            LimitKind::Instances => self.instances,
            LimitKind::Resources => self.resources,
            LimitKind::Fields => self.field_bytes,
            LimitKind::Egress => self.egress_bytes,
            LimitKind::Connections => self.connections,
            LimitKind::HostCall => HOST_CALL_BYTES.saturating_add(self.field_bytes),
            LimitKind::Random => RANDOM_BYTES,
            LimitKind::PluginMemory => self.plugin_memory_bytes,
        }
    }
}

/// What the core counts up to in a group.
const COUNT_MAX: u32 = 0xff_ffff;

fn count(value: u64) -> u32 {
    saturate(value).min(COUNT_MAX)
}

fn saturate(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Linear memory.
    Memory,
    /// CPU time.
    Cpu,
    /// Wall clock.
    Wall,
    /// The guest's call stack.
    Stack,
    /// Result or response.
    Output,
    /// Standard output and error.
    Log,
    /// Table elements.
    Tables,
    /// Core instances.
    Instances,
    /// Resource handles.
    Resources,
    /// HTTP header fields.
    Fields,
    /// What is sent and received.
    Egress,
    /// Connections that are open.
    Connections,
    /// What one call of the host may have it copy.
    HostCall,
    /// Randomness asked for at once.
    Random,
    /// Linear memory over all instances of the plugin.
    PluginMemory,
}

impl LimitKind {
    /// The name in an error's `limit` field.
    pub fn name(self) -> &'static str {
        match self {
            LimitKind::Memory => "memory",
            LimitKind::Cpu => "cpu",
            LimitKind::Wall => "wall",
            LimitKind::Stack => "stack",
            LimitKind::Output => "output",
            LimitKind::Log => "log",
            LimitKind::Tables => "tables",
            LimitKind::Instances => "instances",
            LimitKind::Resources => "resources",
            LimitKind::Fields => "fields",
            LimitKind::Egress => "egress",
            LimitKind::Connections => "connections",
            LimitKind::HostCall => "hostCall",
            LimitKind::Random => "random",
            LimitKind::PluginMemory => "pluginMemory",
        }
    }

    /// The configuration key that changes it; none for what is the engine's.
    pub fn key(self) -> Option<&'static str> {
        Some(match self {
            LimitKind::Memory => "limits.memoryBytes",
            LimitKind::Cpu => "limits.cpuMs",
            LimitKind::Wall => "limits.wallMs",
            LimitKind::Stack | LimitKind::HostCall | LimitKind::Random => return None,
            LimitKind::Output => "limits.outputBytes",
            LimitKind::Log => "limits.logBytes",
            LimitKind::Tables => "limits.tableElements",
            LimitKind::Instances => "limits.instances",
            LimitKind::Resources => "limits.resources",
            LimitKind::Fields => "limits.fieldBytes",
            LimitKind::PluginMemory => "limits.pluginMemoryBytes",
            LimitKind::Egress => "limits.egressBytes",
            LimitKind::Connections => "limits.connections",
        })
    }

    fn what(self) -> (&'static str, &'static str) {
        match self {
            LimitKind::Memory => ("linear memory", "bytes"),
            LimitKind::Cpu => ("CPU time", "ms"),
            LimitKind::Wall => ("wall clock", "ms"),
            LimitKind::Stack => ("call stack", "bytes"),
            LimitKind::Output => ("output", "bytes"),
            LimitKind::Log => ("log output", "bytes"),
            LimitKind::Tables => ("tables", "elements"),
            LimitKind::Instances => ("core instances", "instances"),
            LimitKind::Resources => ("resource handles", "handles"),
            LimitKind::Fields => ("HTTP header fields", "bytes"),
            LimitKind::Egress => ("data sent and received", "bytes"),
            LimitKind::Connections => ("open connections", "connections"),
            LimitKind::HostCall => ("data in one call of the host", "bytes"),
            LimitKind::Random => ("randomness at once", "bytes"),
            LimitKind::PluginMemory => ("linear memory over all instances", "bytes"),
        }
    }
}

/// The guest went over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Which one.
    pub kind: LimitKind,
    /// Its value, in the unit of its key.
    pub value: u64,
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, unit) = self.kind.what();
        write!(
            f,
            "the guest exceeded its limit of {} {unit} of {what}",
            self.value
        )?;
        match self.kind.key() {
            Some(key) => write!(f, " ({key})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LimitExceeded {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_configuration() {
        let json = r#"{"memoryBytes":1,"cpuMs":2,"wallMs":3,"outputBytes":4,"logBytes":5,
            "tableElements":6,"instances":7,"resources":8,"fieldBytes":9,"concurrency":10,"queue":11,
            "egressBytes":14,"connections":15,"requestsPerSecond":12,"pluginMemoryBytes":13}"#;
        let limits: Limits = serde_json::from_str(json).expect("limits");
        assert_eq!(limits.value(LimitKind::Memory), 1);
        assert_eq!(limits.value(LimitKind::Fields), 9);
        assert_eq!(limits.value(LimitKind::Egress), 14);
        assert_eq!(limits.value(LimitKind::Connections), 15);
        assert_eq!(limits.group(1).budget_default_us, 3_000);
        assert_eq!(limits.group(1).concurrency_max, 10);
        assert_eq!(limits.group(3).concurrency_max, 3);
        assert_eq!(limits.group(11).concurrency_max, 1);
        assert_eq!(limits.value(LimitKind::PluginMemory), 13);
        let (whole, part) = (limits.group(1), limits.part(17));
        assert_eq!((whole.rate_max, whole.rate_group), (12, 0));
        assert_eq!((part.rate_max, part.rate_group), (12, 17));
        assert_eq!((part.concurrency_max, part.queue_max), (1, 11));
        assert!(serde_json::from_str::<Limits>(r#"{"memory":1}"#).is_err());
    }
}
