//! Loading a component: checked, compiled or taken from the cache, ready to be instantiated.
//!
//! Owns: what a loaded component is and the table of its exports. It must not know how a call of
//! one is run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::abi::{ATOLL_COMPONENT, ATOLL_INVALID_ARGUMENT, ATOLL_IO};
use crate::cache;
use crate::config;
use crate::egress::Egress;
use crate::engine::Engine;
use crate::error::Outcome;
use crate::exports::{Callee, Instances};
use crate::function::{Fast, Function};
use crate::granted::Granted;
use crate::grants::Grants;
use crate::host;
use crate::instance::Data;
use crate::isolation::{Family, Isolation};
use crate::keyed::Keyed;
use crate::keyvalue;
use crate::limits::Limits;
use crate::plugin::{Plugin, Reach};
use crate::values::{Signature, TypeBudget};
use crate::views::View;
use crate::wasi;
use crate::wasi3;
use crate::wasm::Wasm;
use crate::wit::{self, Description, ExportedFunction, HttpVersion};

/// Longest answer about a component, in bytes: its WIT twice over as JSON, and its functions.
const ANSWER_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Something a call can name.
pub struct Export {
    /// The component it belongs to.
    pub plugin: Arc<Plugin>,
    /// What it is.
    pub kind: ExportKind,
}

/// What an export is.
pub enum ExportKind {
    /// A function with a JSON form.
    Function(Function),
    /// A function without one.
    Unmappable {
        /// As in WIT.
        name: String,
        /// Why.
        reason: String,
    },
    /// A `wasi:http` handler.
    Http(Handler),
}

/// A `wasi:http` handler, ready to be instantiated.
pub enum Handler {
    /// `incoming-handler` of 0.2.
    Incoming(ProxyPre<Data>),
    /// `handler` of 0.3.
    Service(ServicePre<Data>),
}

/// The name by which a component's `wasi:http` handler is found.
const HTTP_NAME: &str = "wasi:http";

/// A loaded component's place in the engine.
pub struct Loaded {
    /// Its number in the core's table of names.
    pub named: u32,
    /// Targets that its exports have.
    pub targets: Vec<u32>,
    /// Handles of its exports.
    pub handles: Vec<u32>,
    /// It, ready to be instantiated.
    pub pre: InstancePre<Data>,
    /// What its keys have in common; none where no instance outlives its call.
    pub family: Option<Arc<Family>>,
    /// What each of its keys has.
    pub views: HashMap<String, View>,
    /// The component.
    pub plugin: Arc<Plugin>,
}

/// Reads a component without compiling it.
pub fn describe(bytes: &[u8]) -> Result<Value, Outcome> {
    let description = read(bytes)?;
    let functions: Vec<Value> = description
        .functions
        .iter()
        .map(|f| json!({ "interface": f.interface, "name": f.name }))
        .collect();
    Ok(json!({
        "digest": cache::digest(bytes),
        "wit": description.wit,
        "imports": description.imports,
        "functions": functions,
        "http": description.http.is_some(),
    }))
}

/// A component that was read, and is good to be compiled.
pub struct Source {
    description: Description,
    digest: String,
    started: Instant,
}

/// Reads a component.
pub fn source(bytes: &[u8]) -> Result<Source, Outcome> {
    let started = Instant::now();
    let description = read(bytes)?;
    Ok(Source {
        description,
        digest: cache::digest(bytes),
        started,
    })
}

/// Where a component's machine code comes from.
#[derive(Clone, Copy)]
pub enum Origin {
    /// It was kept.
    Cache,
    /// It was made now.
    Compiled,
}

/// Under which terms a component is loaded.
#[derive(Clone, Default)]
pub struct Terms {
    /// What one call may use.
    pub limits: Limits,
    /// How long an instance lives.
    pub isolation: Isolation,
    /// What it may reach.
    pub grants: Grants,
}

/// Makes a component callable under its terms: its number and the answer for the caller, as JSON.
pub fn load(
    engine: &Engine,
    id: &str,
    source: Source,
    (component, origin): (Component, Origin),
    Terms {
        limits,
        isolation,
        grants,
    }: Terms,
) -> Result<(u32, Vec<u8>), Outcome> {
    let Source {
        description,
        digest,
        started,
    } = source;
    let wasm = wasm(engine, &description)?;
    let pre = wasm
        .linker
        .instantiate_pre(&component)
        .map_err(|e| Outcome::component(format!("an import does not fit: {e:#}")))?;
    let kinds = functions(&component, &pre, &description)?;
    let handler = match description.http {
        Some(HttpVersion::V02) => Some(ProxyPre::new(pre.clone()).map(Handler::Incoming)),
        Some(HttpVersion::V03) => Some(ServicePre::new(pre.clone()).map(Handler::Service)),
        None => None,
    };
    let handler = handler
        .transpose()
        .map_err(|e| Outcome::component(format!("its wasi:http handler does not fit: {e:#}")))?;

    if engine.is_closing() {
        return Err(Outcome::cancelled());
    }
    let keyvalue = namespaces(engine, id, &grants)?;
    let egress = Egress::new(&grants, engine.network())
        .map_err(|why| Outcome::message(ATOLL_INVALID_ARGUMENT, why))?;
    let granted = Granted::open(grants, description.tasks())
        .map_err(|message| Outcome::message(ATOLL_INVALID_ARGUMENT, message))?;
    // None only of a component that imports modules, which do not link.
    let (memories, tables) = component
        .resources_required()
        .map_or((0, 0), |r| (r.num_memories, r.num_tables));
    let pool_share = config::pool_share(memories, tables, description.census.core_instances);
    if pool_share > wasm.instances {
        return Err(Outcome::component(format!(
            "an instance of it takes {pool_share} places of the pool, which has {} \
             (native.instances)",
            wasm.instances
        )));
    }
    let group = host::group_add(engine.host(), &limits.group(pool_share))
        .map_err(|status| Outcome::message(status, "no place for another plugin"))?;
    let plugin = Arc::new(Plugin::new(
        id,
        engine.host(),
        (group, pool_share),
        limits,
        Reach {
            granted,
            keyvalue,
            egress,
        },
        Arc::clone(&wasm.reserve),
    ));
    let mut exports: Vec<(String, ExportKind)> = description
        .functions
        .iter()
        .map(full_name)
        .zip(kinds)
        .collect();
    exports.extend(handler.map(|handler| (HTTP_NAME.to_owned(), ExportKind::Http(handler))));
    let family = Family::of(engine, &plugin, isolation);
    let loaded = register(engine, plugin, family, pre, exports)?;
    let named = loaded.named;

    let mut targets = loaded.targets.iter();
    let functions: Vec<Value> = description
        .functions
        .iter()
        .zip(targets.by_ref())
        .map(|(f, target)| json!({ "interface": f.interface, "name": f.name, "target": target }))
        .collect();
    let http = targets.next().copied();
    let number = engine.add_component(loaded);
    let answer = json!({
        "component": number,
        "plugin": named,
        "digest": digest,
        "wit": description.wit,
        "imports": description.imports,
        "functions": functions,
        "http": http,
        "origin": match origin {
            Origin::Cache => "cache",
            Origin::Compiled => "compiled",
        },
        "ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    let answer = answer.to_string().into_bytes();
    if answer.len() > ANSWER_BYTES_MAX {
        // Whoever loaded it would never learn its number.
        drop(engine.take_component(number));
        return Err(Outcome::component(format!(
            "the component's description has {} bytes, the most that are accepted are \
             {ANSWER_BYTES_MAX}",
            answer.len()
        )));
    }
    Ok((number, answer))
}

/// The namespaces of a plugin. Their file is opened with the first plugin that has any: what is wrong
/// with it is told at the load, not to guests.
fn namespaces(
    engine: &Engine,
    id: &str,
    grants: &Grants,
) -> Result<Option<Arc<keyvalue::Granted>>, Outcome> {
    if grants.keyvalue.is_empty() {
        return Ok(None);
    }
    let storage = engine
        .stores()
        .storage()
        .map_err(|failure| Outcome::message(ATOLL_IO, failure.to_string()))?;
    let granted = keyvalue::Granted::new(id, &grants.keyvalue, storage);
    Ok(Some(Arc::new(granted)))
}

/// Reads a component and refuses unknown imports, all of them named.
fn read(bytes: &[u8]) -> Result<Description, Outcome> {
    let description = wit::describe(bytes).map_err(Outcome::component)?;
    let unknown: Vec<&String> = description
        .imports
        .iter()
        .filter(|import| !wasi::is_known(import))
        .collect();
    if unknown.is_empty() {
        return Ok(description);
    }
    let names = unknown
        .iter()
        .map(|n| n.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    Err(Outcome::json(
        ATOLL_COMPONENT,
        &json!({
            "message": format!(
                "the component imports what Atoll does not offer: {names}; of WASI that is what \
                 versions 0.2 and {} have",
                wasi3::VERSION.1
            ),
            "imports": unknown,
        }),
    ))
}

/// The wasmtime that runs a component.
fn wasm<'a>(engine: &'a Engine, description: &Description) -> Result<&'a Wasm, Outcome> {
    let wasm = engine.wasms().of(description.tasks());
    wasm.map_err(|e| Outcome::message(ATOLL_IO, e))
}

/// Machine code that was kept.
pub fn cached(engine: &Engine, source: &Source) -> Option<(Component, Origin)> {
    let wasm = wasm(engine, &source.description).ok()?;
    let artifact = wasm.cache.as_ref()?.read(&source.digest)?;
    // SAFETY: the cache authenticated these very bytes, which nobody else can write: they come from
    // `precompile_component` of a process that has the key.
    let component = unsafe { Component::deserialize(&wasm.engine, artifact.as_slice()) };
    Some((component.ok()?, Origin::Cache))
}

/// Makes machine code. Takes long, and nothing can interrupt it.
pub fn compile(
    engine: &Engine,
    source: &Source,
    bytes: &[u8],
) -> Result<(Component, Origin), Outcome> {
    let wasm = wasm(engine, &source.description)?;
    let artifact = wasm
        .engine
        .precompile_component(bytes)
        .map_err(|e| Outcome::component(format!("the component does not compile: {e:#}")))?;
    if let Some(cache) = &wasm.cache {
        // A cache that cannot be written costs the next start its speed and nothing else.
        let _ = cache.write(&source.digest, &artifact);
    }
    // SAFETY: these bytes were made by `precompile_component` of the same engine just above.
    let component = unsafe { Component::deserialize(&wasm.engine, &artifact) }.map_err(|e| {
        Outcome::component(format!("the engine refuses the compiled component: {e:#}"))
    })?;
    Ok((component, Origin::Compiled))
}

/// The exported functions in the order of the description.
fn functions(
    component: &Component,
    pre: &InstancePre<Data>,
    description: &Description,
) -> Result<Vec<ExportKind>, Outcome> {
    let missing = |name: &str| Outcome::component(format!("the export `{name}` cannot be found"));
    let mut kinds = Vec::with_capacity(description.functions.len());
    let mut budget = TypeBudget::default();
    for function in &description.functions {
        let name = function.name.as_str();
        let parent = match &function.interface {
            Some(interface) => Some(
                component
                    .get_export_index(None, interface.as_str())
                    .ok_or_else(|| missing(interface))?,
            ),
            None => None,
        };
        let (item, index) = component
            .get_export(parent.as_ref(), name)
            .ok_or_else(|| missing(name))?;
        let ComponentItem::ComponentFunc(ty) = item else {
            return Err(missing(name));
        };
        kinds.push(match Signature::of(&ty, &mut budget) {
            Ok(signature) => ExportKind::Function(Function {
                pre: pre.clone(),
                index,
                signature,
                fast: Fast::of(&ty, pre),
                is_async: ty.async_(),
            }),
            Err(unmappable) => ExportKind::Unmappable {
                name: name.to_owned(),
                reason: unmappable.reason,
            },
        });
    }
    Ok(kinds)
}

/// `INTERFACE#NAME`, or `NAME` for a function of the world itself.
fn full_name(function: &ExportedFunction) -> String {
    match &function.interface {
        Some(interface) => format!("{interface}#{}", function.name),
        None => function.name.clone(),
    }
}

/// Makes the exports callable and known by name; on failure none is.
fn register(
    engine: &Engine,
    plugin: Arc<Plugin>,
    family: Option<Arc<Family>>,
    pre: InstancePre<Data>,
    exports: Vec<(String, ExportKind)>,
) -> Result<Loaded, Outcome> {
    let group = plugin.group();
    // That of whoever names no key.
    let keyed = match &family {
        Some(family) => Some(Keyed::new(family, &plugin.limits())?),
        None => None,
    };
    let mut names = Vec::with_capacity(exports.len());
    let mut loaded = Loaded {
        named: 0,
        targets: Vec::new(),
        handles: Vec::new(),
        pre,
        family,
        views: HashMap::new(),
        plugin,
    };
    for (name, kind) in exports {
        // A request has an instance of its own, however long those of functions live.
        let keyed = keyed
            .as_ref()
            .filter(|_| !matches!(kind, ExportKind::Http(_)));
        let group = keyed.and_then(|keyed| keyed.group()).unwrap_or(group);
        let instances = match keyed {
            Some(keyed) => Instances::Keyed(Arc::clone(keyed)),
            None => Instances::Fresh,
        };
        let export = Arc::new(Export {
            plugin: Arc::clone(&loaded.plugin),
            kind,
        });
        let callee = Callee { export, instances };
        let added = engine.exports().add(callee).and_then(|handle| {
            loaded.handles.push(handle);
            host::target_add(engine.host(), engine.number(), handle, group).ok()
        });
        match added {
            Some(target) => {
                loaded.targets.push(target);
                names.push((name, target));
            }
            None => {
                engine.remove_exports(&loaded.targets, &loaded.handles);
                return Err(Outcome::message(
                    ATOLL_IO,
                    format!("no target is left for plugin \"{}\"", loaded.plugin.id()),
                ));
            }
        }
    }
    let id = loaded.plugin.id();
    match host::plugin_add(engine.host(), engine.number(), group, id, &names) {
        Ok(named) => loaded.named = named,
        Err(status) => {
            engine.remove_exports(&loaded.targets, &loaded.handles);
            let message = format!("the names of plugin \"{id}\" find no place");
            return Err(Outcome::message(status, message));
        }
    }
    Ok(loaded)
}
