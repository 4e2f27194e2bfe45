//! Carrying out the instantiations of a component, with nothing but components and instances in them.
//!
//! Owns: what is in each index space, and what naming it costs. It must not know how a binary is read.

use std::collections::HashMap;
use std::rc::Rc;

use super::read::{Body, Named, Outer, Sort, Step};
use super::sums::Sums;

/// How deep instantiations may be nested.
const DEPTH_MAX: usize = 100;

/// Everything that the outermost component comes to.
pub fn count(bodies: &[Body<'_>]) -> Result<Sums, String> {
    let mut count = Count {
        bodies,
        frames: Vec::new(),
        spent: Sums::default(),
    };
    let outermost = Closure {
        body: 0,
        outer: None,
        size: 1,
    };
    count.expand(outermost, HashMap::new(), 0)?;
    Ok(count.spent)
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
