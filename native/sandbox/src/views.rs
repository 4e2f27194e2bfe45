//! The keys of a component and the targets that each of them has.
//!
//! Owns: which keys there are, and which are forgotten when there are too many. A key is compared
//! here, once and whole; from then on its targets stand for it. It must not know how a key's
//! instances are lent.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::abi::{ATOLL_INVALID_ARGUMENT, ATOLL_OVERLOADED};
use crate::engine::Engine;
use crate::error::Outcome;
use crate::exports::{Instances, add_exports};
use crate::isolation::Family;
use crate::keyed::Keyed;

/// Keys of a component. Each takes a target for each of its functions.
const KEYS_MAX: usize = 1_000;

/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 1_024;

/// What a key has in the engine.
pub struct View {
    /// Targets of the component's functions for its calls.
    pub targets: Vec<u32>,
    /// Their handles.
    pub handles: Vec<u32>,
    /// Its instances.
    pub keyed: Arc<Keyed>,
}

impl View {
    /// The answer for the caller.
    pub fn answer(&self) -> Value {
        let functions: Vec<Value> = self
            .targets
            .iter()
            .map(|target| json!({ "target": target }))
            .collect();
        json!({ "functions": functions })
    }
}

/// What a key of a component has; made at its first use.
pub fn isolate(engine: &Engine, component: u32, key: &str) -> Result<Value, Outcome> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let message = format!("a key has 1 to {KEY_BYTES_MAX} bytes");
        return Err(Outcome::message(ATOLL_INVALID_ARGUMENT, message));
    }
    let known = engine.with_component(component, |loaded| {
        let answer = loaded.views.get(key).map(View::answer);
        (answer, loaded.family.clone(), loaded.handles.clone())
    });
    let (answer, family, handles) = known.ok_or_else(Outcome::not_found)?;
    if let Some(answer) = answer {
        return Ok(answer);
    }
    let family = family.ok_or_else(|| {
        Outcome::unsupported("each call has a fresh instance: there is nothing to keep apart")
    })?;
    make_room(engine, component)?;
    let mut view = Some(make(engine, &family, &handles)?);
    let answer = engine.with_component(component, |loaded| match loaded.views.get(key) {
        // Another thread was faster.
        Some(theirs) => Some(theirs.answer()),
        None => {
            let own = view.take()?;
            let answer = own.answer();
            loaded.views.insert(key.to_owned(), own);
            Some(answer)
        }
    });
    if let Some(view) = view {
        engine.remove_exports(&view.targets, &view.handles);
    }
    answer.flatten().ok_or_else(Outcome::not_found)
}

/// Forgets the keys for which nothing runs and nothing rests, once there are too many.
fn make_room(engine: &Engine, component: u32) -> Result<(), Outcome> {
    let forgotten = engine.with_component(component, |loaded| {
        let full = loaded.views.len() >= KEYS_MAX;
        let empty = loaded
            .views
            .extract_if(|_, view| full && view.keyed.is_empty());
        let views: Vec<View> = empty.map(|(_, view)| view).collect();
        (full, views)
    });
    let (full, views) = forgotten.ok_or_else(Outcome::not_found)?;
    for view in &views {
        engine.remove_exports(&view.targets, &view.handles);
    }
    if full && views.is_empty() {
        let message = format!("the plugin keeps instances of {KEYS_MAX} keys, which is the most");
        let facts = json!({ "message": message, "retryAfterSeconds": 1 });
        return Err(Outcome::json(ATOLL_OVERLOADED, &facts));
    }
    Ok(())
}

/// Makes targets for a key of a component.
fn make(engine: &Engine, family: &Arc<Family>, handles: &[u32]) -> Result<View, Outcome> {
    let keyed = Keyed::new(family, &family.plugin.limits())?;
    let instances = Instances::Keyed(Arc::clone(&keyed));
    let group = keyed.group().unwrap_or(family.plugin.group());
    let (targets, handles) = add_exports(engine, handles, group, &instances)?;
    Ok(View {
        targets,
        handles,
        keyed,
    })
}
