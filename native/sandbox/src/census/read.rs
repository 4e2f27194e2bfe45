//! The components of a binary, as far as the census looks at them.
//!
//! Owns: what one instance of each component comes to by itself, and the steps that need what is
//! known only when it is instantiated. The binary is validated on the way, code excepted.

use wasmparser::types::Types;
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentType, ComponentTypeRef, Encoding, Instance, Parser, Payload,
    Result, ValidPayload, Validator, WasmFeatures,
};

use super::concurrent;
use super::sizes::Sizes;
use super::sums::Sums;

/// One component of the binary: what is done each time it is instantiated.
#[derive(Default)]
pub struct Body<'a> {
    /// In their order.
    pub steps: Vec<Step<'a>>,
    /// What every instance of it comes to by itself.
    pub own: Sums,
    /// Exports that are neither components nor instances.
    pub exports: u64,
    /// Components further out that it, or one nested in it, refers to; 1 is the one around it.
    pub captures: Vec<Outer>,
    /// As many modules.
    pub module_captures: u64,
}

/// A component further out; 0 is the component itself.
#[derive(Clone, Copy)]
pub struct Outer {
    /// How much further.
    pub count: u32,
    /// Its index there.
    pub index: u32,
}

/// A component or an instance by its index.
#[derive(Clone, Copy)]
pub enum Named {
    /// A component.
    Component(u32),
    /// An instance of one.
    Instance(u32),
}

/// What is to be had of an import or of an instance's export.
#[derive(Clone, Copy)]
pub enum Sort {
    /// A component.
    Component,
    /// An instance, and the size of its type.
    Instance(u64),
}

/// What adds a component or an instance to the index spaces.
pub enum Step<'a> {
    /// A nested component, by its number in the binary.
    Define(usize),
    /// One of a component further out.
    Outer(Outer),
    /// What the component was given.
    Import(&'a str, Sort),
    /// An instance of a component, with arguments.
    Instantiate(u32, Vec<(&'a str, Named)>),
    /// An instance put together, with so many exports of other kinds.
    Bundle(Vec<(&'a str, Named)>, u64),
    /// An export of an instance.
    Alias(u32, &'a str, Sort),
    /// Exporting gives another index.
    Export(&'a str, Named),
}

impl Step<'_> {
    fn is_instance(&self) -> bool {
        match self {
            Step::Define(_) | Step::Outer(_) => false,
            Step::Instantiate(..) | Step::Bundle(..) => true,
            Step::Import(_, sort) | Step::Alias(_, _, sort) => matches!(sort, Sort::Instance(_)),
            Step::Export(_, named) => matches!(named, Named::Instance(_)),
        }
    }
}

/// The components of a binary, of which the first is the outermost; and whether any has to do with
/// tasks that run side by side.
pub fn bodies(bytes: &[u8]) -> Result<(Vec<Body<'_>>, bool)> {
    let mut reader = Reader {
        bodies: Vec::new(),
        open: Vec::new(),
        sizes: Sizes::default(),
        concurrent: false,
    };
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        let types = match validator.payload(&payload)? {
            ValidPayload::End(types) => Some(types),
            _ => None,
        };
        reader.payload(payload, types)?;
    }
    Ok((reader.bodies, reader.concurrent))
}

struct Reader<'a> {
    bodies: Vec<Body<'a>>,
    /// Numbers of the components that the parser is inside of; none for a module.
    open: Vec<Option<usize>>,
    sizes: Sizes,
    concurrent: bool,
}

impl<'a> Reader<'a> {
    fn payload(&mut self, payload: Payload<'a>, types: Option<Types>) -> Result<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                let number = self.bodies.len();
                let is_component = encoding == Encoding::Component;
                if is_component {
                    if let Some(body) = self.current() {
                        body.steps.push(Step::Define(number));
                    }
                    self.bodies.push(Body::default());
                } else if let Some(body) = self.current() {
                    body.own.parts += 1;
                }
                self.open.push(is_component.then_some(number));
            }
            Payload::End(_) => {
                if let (Some(Some(number)), Some(types)) = (self.open.pop(), types) {
                    measure(&mut self.bodies[number], &mut self.sizes, &types);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(alias?);
                }
            }
            other => {
                self.concurrent = self.concurrent || concurrent::section(&other)?;
                if let Some(body) = self.current() {
                    section(body, other)?;
                }
            }
        }
        Ok(())
    }

    fn current(&mut self) -> Option<&mut Body<'a>> {
        let number = self.open.last().copied().flatten()?;
        self.bodies.get_mut(number)
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) {
        let step = match alias {
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => sort(kind).map(|sort| Step::Alias(instance_index, name, sort)),
            ComponentAlias::Outer { kind, count, index } => match kind {
                ComponentOuterAliasKind::Component => {
                    self.capture(count, Some(index));
                    Some(Step::Outer(Outer { count, index }))
                }
                ComponentOuterAliasKind::CoreModule => {
                    self.capture(count, None);
                    None
                }
                ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => None,
            },
            ComponentAlias::CoreInstanceExport { .. } => None,
        };
        if let Some(body) = self.current() {
            body.own.parts += 1;
            body.steps.extend(step);
        }
    }

    /// Each component between here and there carries along what is referred to.
    fn capture(&mut self, count: u32, component: Option<u32>) {
        for (count, number) in (1..=count).rev().zip(self.open.iter().rev().flatten()) {
            let body = &mut self.bodies[*number];
            match component {
                Some(index) => body.captures.push(Outer { count, index }),
                None => body.module_captures += 1,
            }
        }
    }
}

fn section<'a>(body: &mut Body<'a>, payload: Payload<'a>) -> Result<()> {
    let Body {
        steps,
        own,
        exports,
        ..
    } = body;
    match payload {
        Payload::InstanceSection(section) => {
            for instance in section {
                own.parts += 1;
                match instance? {
                    Instance::Instantiate { args, .. } => {
                        own.core_instances += 1;
                        own.parts += args.len() as u64;
                    }
                    Instance::FromExports(exports) => own.parts += exports.len() as u64,
                }
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section {
                own.parts += 1;
                steps.push(match instance? {
                    ComponentInstance::Instantiate {
                        component_index,
                        args,
                    } => {
                        own.parts += args.len() as u64;
                        let args = args.iter();
                        let args = args.filter_map(|a| Some((a.name, named(a.kind, a.index)?)));
                        Step::Instantiate(component_index, args.collect())
                    }
                    ComponentInstance::FromExports(exports) => {
                        own.parts += exports.len() as u64;
                        let kept: Vec<_> = exports
                            .iter()
                            .filter_map(|e| Some((e.name.name, named(e.kind, e.index)?)))
                            .collect();
                        let others = exports.len() - kept.len();
                        Step::Bundle(kept, others as u64)
                    }
                });
            }
        }
        Payload::ComponentImportSection(section) => {
            for import in section {
                let import = import?;
                own.parts += 1;
                own.resources += u64::from(matches!(import.ty, ComponentTypeRef::Type(_)));
                let sort = sort(import.ty.kind());
                steps.extend(sort.map(|sort| Step::Import(import.name.name, sort)));
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section {
                let export = export?;
                own.parts += 1;
                match named(export.kind, export.index) {
                    Some(named) => steps.push(Step::Export(export.name.name, named)),
                    None => *exports += 1,
                }
            }
        }
        Payload::ComponentCanonicalSection(section) => {
            for function in section {
                own.parts += 1;
                own.lowered += u64::from(matches!(function?, CanonicalFunction::Lower { .. }));
            }
        }
        Payload::ComponentTypeSection(section) => {
            for ty in section {
                own.parts += 1;
                own.resources += u64::from(matches!(ty?, ComponentType::Resource { .. }));
            }
        }
        Payload::CoreTypeSection(section) => own.parts += u64::from(section.count()),
        _ => {}
    }
    Ok(())
}

fn named(kind: ComponentExternalKind, index: u32) -> Option<Named> {
    match kind {
        ComponentExternalKind::Component => Some(Named::Component(index)),
        ComponentExternalKind::Instance => Some(Named::Instance(index)),
        _ => None,
    }
}

/// The size of an instance is told once the component was read to its end.
fn sort(kind: ComponentExternalKind) -> Option<Sort> {
    match kind {
        ComponentExternalKind::Component => Some(Sort::Component),
        ComponentExternalKind::Instance => Some(Sort::Instance(0)),
        _ => None,
    }
}

/// Adds the types of what is in a component to what it comes to.
fn measure(body: &mut Body<'_>, sizes: &mut Sizes, types: &Types) {
    let Body { steps, own, .. } = body;
    // Each such step has given an index, in their order.
    let instances = 0..u32::try_from(types.component_instance_count()).unwrap_or(u32::MAX);
    for (step, index) in steps.iter_mut().filter(|s| s.is_instance()).zip(instances) {
        let size = sizes.instance(types, types.component_instance_at(index));
        own.type_nodes = own.type_nodes.saturating_add(size.nodes);
        own.resources = own.resources.saturating_add(size.resources);
        if let Step::Import(_, Sort::Instance(items)) | Step::Alias(_, _, Sort::Instance(items)) =
            step
        {
            *items = size.items;
        }
    }
    for index in 0..types.component_function_count() {
        let nodes = sizes.function(types, types.component_function_at(index));
        own.type_nodes = own.type_nodes.saturating_add(nodes);
    }
}
