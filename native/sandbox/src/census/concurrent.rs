//! Whether a component has to do with tasks that run side by side.
//!
//! Owns: which functions, types and instructions of a component those are. wasmtime refuses each of
//! them where its engine does not support concurrent tasks. It must not know engines.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentDefinedType, ComponentType,
    ComponentTypeDeclaration, InstanceTypeDeclaration, Payload, Result,
};

/// Whether a section of a component has any.
pub fn section(payload: &Payload<'_>) -> Result<bool> {
    match payload {
        Payload::ComponentCanonicalSection(section) => {
            for function in section.clone() {
                if is_concurrent(&function?) {
                    return Ok(true);
                }
            }
        }
        Payload::ComponentTypeSection(section) => {
            for ty in section.clone() {
                if has_concurrent(&ty?) {
                    return Ok(true);
                }
            }
        }
        _ => {}
    }
    Ok(false)
}

fn is_concurrent(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.contains(&CanonicalOption::Async)
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => false,
        _ => true,
    }
}

fn has_concurrent(ty: &ComponentType<'_>) -> bool {
    match ty {
        ComponentType::Func(function) => function.async_,
        ComponentType::Defined(ty) => matches!(
            ty,
            ComponentDefinedType::Future(_) | ComponentDefinedType::Stream(_)
        ),
        ComponentType::Component(items) => items
            .iter()
            .any(|item| matches!(item, ComponentTypeDeclaration::Type(ty) if has_concurrent(ty))),
        ComponentType::Instance(items) => items
            .iter()
            .any(|item| matches!(item, InstanceTypeDeclaration::Type(ty) if has_concurrent(ty))),
        ComponentType::Resource { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::census;

    fn concurrent(wat: &str) -> bool {
        let bytes = wat::parse_str(wat).expect("WAT");
        census::take(&bytes).expect("a component").concurrent
    }

    #[test]
    fn asynchronous_functions_types_and_instructions_are_found() {
        let plain = r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func (export "f") (canon lift (core func $i "f"))))"#;
        assert!(!concurrent(plain));
        assert!(concurrent(r#"(component (type (func async)))"#));
        assert!(concurrent(r#"(component (type (stream u8)))"#));
        assert!(concurrent(r#"(component (type (future)))"#));
        assert!(concurrent(
            r#"(component (import "a" (instance (export "f" (func async)))))"#
        ));
        assert!(concurrent(
            r#"(component (component (core func (canon task.cancel))))"#
        ));
        assert!(concurrent(
            r#"(component (import "f" (func $f async))
                (core func (canon lower (func $f) async)))"#
        ));
    }
}
