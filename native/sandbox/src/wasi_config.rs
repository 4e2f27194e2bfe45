//! `wasi:config`: a plugin reads its own configuration.
//!
//! Owns: the interface. It must not know where the configuration comes from.

use wasmtime::component::{ComponentType, Linker, Lower};
use wasmtime::{Result, StoreContextMut};

use crate::instance::Data;

/// The versions that guests are built for; they differ in their names alone.
const NAMES: [&str; 2] = [
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-rc.1",
];

/// What a guest may be told instead of a value. Nothing can go wrong here, but the type has to be
/// the interface's.
#[derive(ComponentType, Lower)]
#[component(variant)]
#[allow(dead_code)]
enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Store<'a> = StoreContextMut<'a, Data>;
type Value = std::result::Result<Option<String>, ConfigError>;
type Values = std::result::Result<Vec<(String, String)>, ConfigError>;

/// Puts the interface into a linker.
pub fn link(linker: &mut Linker<Data>) -> Result<()> {
    for name in NAMES {
        let mut store = linker.instance(name)?;
        store.func_wrap("get", |store: Store<'_>, (key,): (String,)| {
            let value = store.data().config().and_then(|config| config.get(&key));
            let value: Value = Ok(value.cloned());
            Ok((value,))
        })?;
        store.func_wrap("get-all", |store: Store<'_>, (): ()| {
            let all = store.data().config().into_iter().flatten();
            let values: Values = Ok(all.map(|(k, v)| (k.clone(), v.clone())).collect());
            Ok((values,))
        })?;
    }
    Ok(())
}
