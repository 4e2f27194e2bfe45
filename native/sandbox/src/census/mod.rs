//! How large a component is once everything in it is written out.
//!
//! Owns: the count of what a component consists of when each instantiation in it is carried out and
//! each type is a tree, as wasmtime does both when it compiles. A hundred bytes can say "two of
//! these" forty times over, and the compiler would go on for ever: nothing interrupts it. It must
//! not know wasmtime, nor what the component is for.
//!
//! Which component is instantiated where may depend on what another one was given, so the
//! instantiations are carried out here too, with nothing but components and instances in them.
//! Wasmtime copies an instance with all that is nested in it wherever it is named, and a component
//! with those that it refers to; naming one costs its whole size here as well.

mod read;
mod sizes;

use std::collections::HashMap;
use std::rc::Rc;

use read::{Body, Named, Outer, Sort, Step};

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

/// How deep instantiations may be nested.
const DEPTH_MAX: usize = 100;

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Core instances of one instance of the component, but for those that wasmtime adds where
    /// components call each other.
    pub core_instances: u64,
}

/// Counts, and refuses a component that is too large. The error goes on where "the component"
/// begins.
pub fn take(bytes: &[u8]) -> Result<Census, String> {
    let bodies = read::bodies(bytes).map_err(|e| format!("is broken: {e}"))?;
    let mut count = Count {
        bodies: &bodies,
        frames: Vec::new(),
        spent: Sums::default(),
    };
    let outermost = Closure {
        body: 0,
        outer: None,
        size: 1,
    };
    count.expand(outermost, HashMap::new(), 0)?;
    Ok(Census {
        core_instances: count.spent.core_instances,
    })
}

/// What is summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    parts: u64,
    type_nodes: u64,
    core_instances: u64,
    component_instances: u64,
    resources: u64,
    lowered: u64,
}

impl Sums {
    fn parts(parts: u64) -> Sums {
        Sums {
            parts,
            ..Sums::default()
        }
    }

    fn add(&mut self, more: &Sums) {
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

    fn check(&self) -> Result<(), String> {
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

/// A component and where it was defined.
#[derive(Clone, Copy)]
struct Closure {
    body: usize,
    /// Frame of the component around it.
    outer: Option<usize>,
    /// With those that it refers to.
    size: u64,
}

/// An instance of a component.
struct Bundle<'a> {
    /// Components and instances among its exports; none are known of one that the host gives.
    items: HashMap<&'a str, Item<'a>>,
    /// With all that is nested in it.
    size: u64,
}

#[derive(Clone)]
enum Item<'a> {
    Component(Closure),
    Instance(Rc<Bundle<'a>>),
}

impl Item<'_> {
    fn size(&self) -> u64 {
        match self {
            Item::Component(closure) => closure.size,
            Item::Instance(bundle) => bundle.size,
        }
    }
}

/// One instantiation: the index spaces as far as they are filled.
struct Frame<'a> {
    outer: Option<usize>,
    components: Vec<Closure>,
    instances: Vec<Rc<Bundle<'a>>>,
}

struct Count<'a, 'b> {
    bodies: &'b [Body<'a>],
    frames: Vec<Frame<'a>>,
    spent: Sums,
}

impl<'a> Count<'a, '_> {
    fn charge(&mut self, more: &Sums) -> Result<(), String> {
        self.spent.add(more);
        self.spent.check()
    }

    /// Instantiates a component; its exports.
    fn expand(
        &mut self,
        component: Closure,
        args: HashMap<&'a str, Item<'a>>,
        depth: usize,
    ) -> Result<Rc<Bundle<'a>>, String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "is nested too deeply: more than {DEPTH_MAX} components are inside of each other"
            ));
        }
        let bodies = self.bodies;
        let body = bodies.get(component.body).ok_or_else(inconsistent)?;
        self.charge(&body.own)?;
        let frame = self.frames.len();
        self.frames.push(Frame {
            outer: component.outer,
            components: Vec::new(),
            instances: Vec::new(),
        });
        let mut exports = HashMap::new();
        for step in &body.steps {
            let item = match step {
                Step::Define(body) => Item::Component(self.define(*body, frame)?),
                Step::Outer(outer) => Item::Component(self.outer(frame, *outer)?),
                Step::Import(name, sort) => match (args.get(name), sort) {
                    (Some(item), _) => item.clone(),
                    (None, sort) => given(*sort)?,
                },
                Step::Instantiate(index, named) => {
                    let component = *self.frames[frame]
                        .components
                        .get(*index as usize)
                        .ok_or_else(inconsistent)?;
                    let args = self.all(frame, named)?;
                    let one = Sums {
                        component_instances: 1,
                        ..Sums::default()
                    };
                    self.charge(&one)?;
                    Item::Instance(self.expand(component, args, depth + 1)?)
                }
                Step::Bundle(named, own) => {
                    let items = self.all(frame, named)?;
                    Item::Instance(bundle(items, *own))
                }
                Step::Alias(index, name, sort) => {
                    let instance = self.frames[frame].instances.get(*index as usize);
                    let instance = instance.ok_or_else(inconsistent)?;
                    match instance.items.get(name) {
                        Some(item) => item.clone(),
                        None => given(*sort)?,
                    }
                }
                Step::Export(name, named) => {
                    let item = self.item(frame, *named)?;
                    self.charge(&Sums::parts(item.size()))?;
                    exports.insert(*name, item.clone());
                    item
                }
            };
            self.charge(&Sums::parts(item.size()))?;
            let frame = &mut self.frames[frame];
            match item {
                Item::Component(component) => frame.components.push(component),
                Item::Instance(instance) => frame.instances.push(instance),
            }
        }
        Ok(bundle(exports, body.exports))
    }

    fn define(&self, number: usize, frame: usize) -> Result<Closure, String> {
        let body = self.bodies.get(number).ok_or_else(inconsistent)?;
        let mut size = 1 + body.module_captures;
        for capture in &body.captures {
            // Seen from the component that is around it.
            let outer = Outer {
                count: capture.count - 1,
                ..*capture
            };
            size = size.saturating_add(self.outer(frame, outer)?.size);
        }
        Ok(Closure {
            body: number,
            outer: Some(frame),
            size,
        })
    }

    fn outer(&self, frame: usize, outer: Outer) -> Result<Closure, String> {
        let mut at = frame;
        for _ in 0..outer.count {
            at = self.frames[at].outer.ok_or_else(inconsistent)?;
        }
        let component = self.frames[at].components.get(outer.index as usize);
        component.copied().ok_or_else(inconsistent)
    }

    fn item(&self, frame: usize, named: Named) -> Result<Item<'a>, String> {
        let frame = &self.frames[frame];
        match named {
            Named::Component(index) => frame
                .components
                .get(index as usize)
                .map(|c| Item::Component(*c)),
            Named::Instance(index) => frame
                .instances
                .get(index as usize)
                .map(|i| Item::Instance(Rc::clone(i))),
        }
        .ok_or_else(inconsistent)
    }

    fn all(
        &mut self,
        frame: usize,
        named: &[(&'a str, Named)],
    ) -> Result<HashMap<&'a str, Item<'a>>, String> {
        let mut items = HashMap::with_capacity(named.len());
        for &(name, named) in named {
            let item = self.item(frame, named)?;
            self.charge(&Sums::parts(item.size()))?;
            items.insert(name, item);
        }
        Ok(items)
    }
}

/// An instance with those exports, and so many others.
fn bundle<'a>(items: HashMap<&'a str, Item<'a>>, others: u64) -> Rc<Bundle<'a>> {
    let nested = items.values().map(Item::size);
    let size = nested.fold(1 + others, u64::saturating_add);
    Rc::new(Bundle { items, size })
}

/// What the host gives.
fn given<'a>(sort: Sort) -> Result<Item<'a>, String> {
    match sort {
        Sort::Component => Err("asks its host for a component".into()),
        Sort::Instance(size) => Ok(Item::Instance(Rc::new(Bundle {
            items: HashMap::new(),
            size,
        }))),
    }
}

#[cold]
fn inconsistent() -> String {
    "is broken: an index is out of bounds".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(wat: &str) -> Result<(), String> {
        take(&wat::parse_str(wat).expect("WAT")).map(drop)
    }

    fn refused(wat: &str, what: &str) {
        let reason = checked(wat).expect_err("it is too large");
        assert!(reason.contains(what), "{reason}");
    }

    /// `body` for each number from 1 on.
    fn levels(levels: usize, body: impl Fn(usize, usize) -> String) -> String {
        (1..=levels).map(|level| body(level, level - 1)).collect()
    }

    #[test]
    fn nested_instantiations_are_carried_out() {
        let wat = |depth| {
            let doubled = levels(depth, |level, below| {
                format!(
                    "(component $c{level}
                       (alias outer 1 $c{below} (component $c))
                       (instance (instantiate $c)) (instance (instantiate $c)))\n"
                )
            });
            format!("(component (component $c0) {doubled} (instance (instantiate $c{depth})))")
        };
        assert_eq!(checked(&wat(6)), Ok(()));
        refused(&wat(10), "more than 1000 instances of components");
        refused(&wat(40), "is too large");
    }

    #[test]
    fn what_a_component_was_given_is_followed() {
        let ty = r#"(type $t (component (export "x" (func))))"#;
        let wat = |depth| {
            let doubled = levels(depth, |level, below| {
                format!(
                    r#"(component $c{level} {ty}
                       (import "c" (component $c (type $t)))
                       (component $below {ty}
                         (import "c" (component $c (type $t)))
                         (instance $i (instantiate $c)) (instance (instantiate $c))
                         (export "x" (func $i "x")))
                       (alias outer 1 $c{below} (component $next))
                       (instance $a (instantiate $next (with "c" (component $c))))
                       (instance $b (instantiate $next (with "c" (component $c))))
                       (export "x" (func $a "x")))"#
                )
            });
            format!(
                r#"(component {ty}
                   (core module $m (func (export "x")))
                   (component $leaf
                     (core instance $i (instantiate $m))
                     (func (export "x") (canon lift (core func $i "x"))))
                   (component $c0 {ty}
                     (import "c" (component $c (type $t)))
                     (instance $i (instantiate $c))
                     (export "x" (func $i "x")))
                   {doubled}
                   (instance (instantiate $c{depth} (with "c" (component $leaf)))))"#
            )
        };
        assert_eq!(checked(&wat(5)), Ok(()));
        refused(&wat(12), "instances of components");
        refused(&wat(40), "is too large");
    }

    #[test]
    fn copies_of_instances_are_counted() {
        // The validator lets a type have a million nodes.
        let bundles = levels(15, |level, below| {
            format!(
                r#"(instance $i{level} (export "a" (instance $i{below}))
                     (export "b" (instance $i{below})))"#
            )
        });
        let wat = |aliases| {
            format!(
                r#"(component (instance $i0) {bundles} {})"#,
                r#"(alias export $i15 "a" (instance))"#.repeat(aliases)
            )
        };
        assert_eq!(checked(&wat(1)), Ok(()));
        refused(&wat(100), "definitions");
    }

    #[test]
    fn components_that_carry_others_along_are_counted() {
        let carried = levels(40, |level, below| {
            format!(
                "(component $c{level}
                   (alias outer 1 $c{below} (component)) (alias outer 1 $c{below} (component)))\n"
            )
        });
        refused(
            &format!("(component (component $c0) {carried})"),
            "definitions",
        );
        // Through one that is nested deeper, too.
        let carried = levels(40, |level, below| {
            format!(
                "(component $c{level} (component
                   (alias outer 2 $c{below} (component)) (alias outer 2 $c{below} (component))))\n"
            )
        });
        refused(
            &format!("(component (component $c0) {carried})"),
            "definitions",
        );
    }

    #[test]
    fn types_are_counted_as_often_as_they_are_used() {
        // The validator lets all exports together have a million nodes; what is not exported is
        // compiled as well.
        let doubled = levels(17, |level, below| {
            format!("(type $t{level} (tuple $t{below} $t{below}))\n")
        });
        let wat = |functions: usize| {
            let function = r#"(func (param "x" $t17)
                (canon lift (core func $i "f") (memory (core memory $i "m"))
                  (realloc (core func $i "r"))))"#;
            format!(
                r#"(component (type $t0 (tuple u8 u8)) {doubled}
                   (core module $m (memory (export "m") 1) (func (export "f") (param i32))
                     (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
                   (core instance $i (instantiate $m))
                   {})"#,
                function.repeat(functions)
            )
        };
        assert_eq!(checked(&wat(10)), Ok(()));
        refused(&wat(30), "nodes of types");
    }

    #[test]
    fn core_instances_and_lowered_functions_are_counted() {
        let many = |n: usize| {
            format!(
                "(component (component $c (core module $m) {})
                   (instance (instantiate $c)) (instance (instantiate $c))
                   (instance (instantiate $c)) (instance (instantiate $c)))",
                "(core instance (instantiate $m))".repeat(n)
            )
        };
        let census = take(&wat::parse_str(many(2_000)).expect("WAT"));
        assert_eq!(census.map(|c| c.core_instances), Ok(8_000));
        refused(&many(3_000), "limits.instances");
        let lowered = |n: usize| {
            format!(
                r#"(component (import "f" (func $f)) {})"#,
                "(core func (canon lower (func $f)))".repeat(n)
            )
        };
        assert_eq!(checked(&lowered(10_000)), Ok(()));
        refused(&lowered(20_001), "lowered functions");
    }
}
