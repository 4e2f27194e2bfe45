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

mod concurrent;
mod count;
mod read;
mod sizes;
mod sums;

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Core instances of one instance of the component, but for those that wasmtime adds where
    /// components call each other.
    pub core_instances: u64,
    /// It has functions, types or instructions of tasks that run side by side.
    pub concurrent: bool,
}

/// Counts, and refuses a component that is too large. The error goes on where "the component"
/// begins.
pub fn take(bytes: &[u8]) -> Result<Census, String> {
    let (bodies, concurrent) = read::bodies(bytes).map_err(|e| format!("is broken: {e}"))?;
    Ok(Census {
        core_instances: count::count(&bodies)?.core_instances,
        concurrent,
    })
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
