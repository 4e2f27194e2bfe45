//! An exported function that can be called, and whether it is one of those that need no tree of values.
//!
//! Owns: which types are copied straight into the guest. It must not know how a call is run.

use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::instance::Data;
use crate::values::Signature;

/// An exported function.
pub struct Function {
    /// Its component, ready to be instantiated.
    pub pre: InstancePre<Data>,
    /// Where it is in an instance.
    pub index: ComponentExportIndex,
    /// Its types.
    pub signature: Signature,
    /// Whether it can be called without dynamic values.
    pub fast: Fast,
    /// It is an `async func`: its result comes out of the guest by a call of the host.
    pub is_async: bool,
}

/// Functions with one parameter that is copied once, straight into the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fast {
    /// No such function.
    No,
    /// `func(string) -> …`
    Text(Returns),
    /// `func(list<u8>) -> …`
    Bytes(Returns),
}

/// What such a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// `string`
    Text,
    /// `list<u8>`
    Bytes,
    /// `result<string, string>`
    TextOrText,
    /// `result<list<u8>, string>`
    BytesOrText,
}

impl Fast {
    /// By the function's types, in a component that is ready to be instantiated.
    pub fn of(ty: &ComponentFunc, pre: &InstancePre<Data>) -> Fast {
        let types = pre.instance_type();
        macro_rules! is {
            ($param:ty, $result:ty) => {
                ty.typecheck::<($param,), ($result,)>(&types).is_ok()
            };
        }
        if is!(&str, String) {
            Fast::Text(Returns::Text)
        } else if is!(&str, Vec<u8>) {
            Fast::Text(Returns::Bytes)
        } else if is!(&str, Result<String, String>) {
            Fast::Text(Returns::TextOrText)
        } else if is!(&str, Result<Vec<u8>, String>) {
            Fast::Text(Returns::BytesOrText)
        } else if is!(&[u8], String) {
            Fast::Bytes(Returns::Text)
        } else if is!(&[u8], Vec<u8>) {
            Fast::Bytes(Returns::Bytes)
        } else if is!(&[u8], Result<String, String>) {
            Fast::Bytes(Returns::TextOrText)
        } else if is!(&[u8], Result<Vec<u8>, String>) {
            Fast::Bytes(Returns::BytesOrText)
        } else {
            Fast::No
        }
    }
}
