//! The sizes of types when they are written out as trees.
//!
//! Owns: finding each once, since types are a graph in which every node may be used often. A type is
//! nested at most a hundred levels deep, which the validator has seen to.

use std::collections::HashMap;

use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType,
    ComponentFuncTypeId, ComponentInstanceTypeId, ComponentItem, ComponentTypeId, ComponentValType,
};
use wasmparser::types::Types;

/// What a type comes to.
#[derive(Clone, Copy, Default)]
pub struct Size {
    /// Nodes of types, its own included.
    pub nodes: u64,
    /// Resources that it names.
    pub resources: u64,
    /// Exports of an instance, with those of the instances in it, and itself.
    pub items: u64,
}

impl Size {
    fn nodes(nodes: u64) -> Size {
        Size {
            nodes,
            resources: 0,
            items: 1,
        }
    }

    fn add(&mut self, more: Size) {
        self.nodes = self.nodes.saturating_add(more.nodes);
        self.resources = self.resources.saturating_add(more.resources);
        self.items = self.items.saturating_add(more.items);
    }
}

/// Those that are known already.
#[derive(Default)]
pub struct Sizes {
    known: HashMap<ComponentAnyTypeId, Size>,
}

impl Sizes {
    /// The size of an instance's type.
    pub fn instance(&mut self, types: &Types, id: ComponentInstanceTypeId) -> Size {
        self.once(ComponentAnyTypeId::Instance(id), |sizes| {
            sizes.items(types, types[id].exports.values())
        })
    }

    /// The nodes of a function's type.
    pub fn function(&mut self, types: &Types, id: ComponentFuncTypeId) -> u64 {
        let size = self.once(ComponentAnyTypeId::Func(id), |sizes| {
            let function = &types[id];
            let params = function.params.iter().map(|(_, ty)| ty);
            Size::nodes(sizes.values(types, params.chain(&function.result)))
        });
        size.nodes
    }

    fn once(&mut self, id: ComponentAnyTypeId, size: impl FnOnce(&mut Sizes) -> Size) -> Size {
        if let Some(size) = self.known.get(&id) {
            return *size;
        }
        let size = size(self);
        self.known.insert(id, size);
        size
    }

    fn component(&mut self, types: &Types, id: ComponentTypeId) -> Size {
        self.once(ComponentAnyTypeId::Component(id), |sizes| {
            let component = &types[id];
            let items = component.imports.values();
            sizes.items(types, items.chain(component.exports.values()))
        })
    }

    fn items<'a>(&mut self, types: &Types, items: impl Iterator<Item = &'a ComponentItem>) -> Size {
        let mut sum = Size::nodes(1);
        for item in items {
            sum.add(match item.ty {
                ComponentEntityType::Instance(id) => self.instance(types, id),
                ComponentEntityType::Component(id) => Size {
                    items: 1,
                    ..self.component(types, id)
                },
                ComponentEntityType::Func(id) => Size::nodes(self.function(types, id)),
                ComponentEntityType::Value(ty) => Size::nodes(self.value(types, &ty)),
                ComponentEntityType::Type { created, .. } => match created {
                    ComponentAnyTypeId::Resource(_) => Size {
                        resources: 1,
                        ..Size::nodes(1)
                    },
                    ComponentAnyTypeId::Defined(id) => Size::nodes(self.defined(types, id)),
                    _ => Size::nodes(1),
                },
                ComponentEntityType::Module(id) => {
                    let module = &types[id];
                    Size::nodes((1 + module.imports.len() + module.exports.len()) as u64)
                }
            });
        }
        sum
    }

    fn value(&mut self, types: &Types, ty: &ComponentValType) -> u64 {
        match ty {
            ComponentValType::Primitive(_) => 1,
            ComponentValType::Type(id) => self.defined(types, *id),
        }
    }

    fn values<'a>(
        &mut self,
        types: &Types,
        values: impl Iterator<Item = &'a ComponentValType>,
    ) -> u64 {
        values.fold(1, |sum: u64, ty| sum.saturating_add(self.value(types, ty)))
    }

    fn defined(&mut self, types: &Types, id: ComponentDefinedTypeId) -> u64 {
        let size = self.once(ComponentAnyTypeId::Defined(id), |sizes| {
            Size::nodes(match &types[id] {
                ComponentDefinedType::Primitive(_)
                | ComponentDefinedType::Own(_)
                | ComponentDefinedType::Borrow(_) => 1,
                ComponentDefinedType::Record(record) => sizes.values(types, record.fields.values()),
                ComponentDefinedType::Variant(variant) => {
                    let cases = variant.cases.len() as u64;
                    let payloads = variant.cases.values().filter_map(|case| case.ty.as_ref());
                    cases.saturating_add(sizes.values(types, payloads))
                }
                ComponentDefinedType::Tuple(tuple) => sizes.values(types, tuple.types.iter()),
                ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => {
                    1 + names.len() as u64
                }
                ComponentDefinedType::List { element, .. }
                | ComponentDefinedType::FixedLengthList { element, .. } => {
                    sizes.values(types, [element].into_iter())
                }
                ComponentDefinedType::Option { ty, .. } => sizes.values(types, [ty].into_iter()),
                ComponentDefinedType::Map { key, value, .. } => {
                    sizes.values(types, [key, value].into_iter())
                }
                ComponentDefinedType::Result { ok, err, .. } => {
                    sizes.values(types, ok.iter().chain(err))
                }
                ComponentDefinedType::Future { ty, .. }
                | ComponentDefinedType::Stream { ty, .. } => sizes.values(types, ty.iter()),
            })
        });
        size.nodes
    }
}
