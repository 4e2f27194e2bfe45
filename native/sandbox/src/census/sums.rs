//! What a census sums up, and the most there may be of it.
//!
//! Owns: the bounds, and the words for what is beyond one. It must not know how anything is counted.

/// Most definitions of all kinds, each counted as often as it is made or copied.
const PARTS_MAX: u64 = 1_000_000;

/// Most nodes of types, each counted as often as its type is used.
const TYPE_NODES_MAX: u64 = 10_000_000;

/// Most core instances: the largest value of `limits.instances`.
const CORE_INSTANCES_MAX: u64 = 10_000;

/// Most instances of components. For each the compiler copies what it knows of resources.
const COMPONENT_INSTANCES_MAX: u64 = 1_000;

/// Most resource types, each counted as often as a component or an instance brings it along.
const RESOURCES_MAX: u64 = 20_000;

/// Most functions that components call of the host or of each other: each becomes machine code.
const LOWERED_MAX: u64 = 20_000;

/// What is summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Definitions of all kinds.
    pub parts: u64,
    /// Nodes of types.
    pub type_nodes: u64,
    /// Core instances.
    pub core_instances: u64,
    /// Instances of components.
    pub component_instances: u64,
    /// Resource types.
    pub resources: u64,
    /// Functions that are lowered.
    pub lowered: u64,
}

impl Sums {
    /// So many definitions.
    pub fn parts(parts: u64) -> Sums {
        Sums {
            parts,
            ..Sums::default()
        }
    }

    /// Adds to each.
    pub fn add(&mut self, more: &Sums) {
        let Sums {
            parts,
            type_nodes,
            core_instances,
            component_instances,
            resources,
            lowered,
        } = self;
        for (sum, more) in [
            (parts, more.parts),
            (type_nodes, more.type_nodes),
            (core_instances, more.core_instances),
            (component_instances, more.component_instances),
            (resources, more.resources),
            (lowered, more.lowered),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// Refuses what is more than a component may have.
    pub fn check(&self) -> Result<(), String> {
        let most = [
            (self.parts, PARTS_MAX, "definitions"),
            (self.type_nodes, TYPE_NODES_MAX, "nodes of types"),
            (
                self.core_instances,
                CORE_INSTANCES_MAX,
                "core instances (the most that limits.instances can allow)",
            ),
            (
                self.component_instances,
                COMPONENT_INSTANCES_MAX,
                "instances of components",
            ),
            (self.resources, RESOURCES_MAX, "resource types"),
            (self.lowered, LOWERED_MAX, "lowered functions"),
        ];
        match most.iter().find(|(sum, most, _)| sum > most) {
            Some((_, most, what)) => Err(format!(
                "is too large: with everything in it written out it has more than {most} {what}"
            )),
            None => Ok(()),
        }
    }
}
