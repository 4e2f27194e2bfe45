//! A component for any WIT type whose function gives back what it gets, made without a toolchain.

use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Config, Engine, Store};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;
use wit_parser::abi::{AbiVariant, WasmType};

use super::super::{ArgumentError, ResultSide, Signature, TypeBudget};

/// More parameters than registers: wasmtime then passes all of them in memory, in the very layout
/// that a result of the same types has, so that the guest need only return the address it got.
const PADDING: usize = 17;

/// Room for the values of one call.
const PAGES: u64 = 64;

pub struct Echo {
    component: Component,
    signature: Signature,
}

/// What a call answered.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub json: String,
    pub side: ResultSide,
}

pub fn engine() -> Engine {
    let mut config = Config::new();
    config.wasm_component_model_map(true);
    config.wasm_component_model_async(true);
    config.wasm_component_model_error_context(true);
    config.wasm_component_model_fixed_length_lists(true);
    Engine::new(&config).unwrap()
}

/// The component and its exported functions of a package with `interface api` and `world plugin`.
/// Functions do nothing but return their first parameter.
pub fn component(engine: &Engine, wit: &str) -> Component {
    let mut resolve = Resolve {
        all_features: true,
        ..Resolve::default()
    };
    let package = resolve
        .push_source("test.wit", wit)
        .unwrap_or_else(|e| panic!("{e:?}\n{wit}"));
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let interface = resolve.packages[package].interfaces["api"];
    let mut types = TypeSection::new();
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (index, (name, function)) in (0..).zip(&resolve.interfaces[interface].functions) {
        let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
        let values = |types: &[WasmType]| types.iter().map(value_type).collect::<Vec<_>>();
        let (params, results) = (values(&signature.params), values(&signature.results));
        let mut body = Function::new([]);
        if name.ends_with("in-memory") {
            body.instructions().local_get(0).end();
        } else {
            body.instructions().unreachable().end();
        }
        types.ty().function(params, results);
        functions.function(index);
        exports.export(&format!("test:values/api#{name}"), ExportKind::Func, index);
        code.function(&body);
    }
    let realloc = types.len();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    functions.function(realloc);
    exports.export("cabi_realloc", ExportKind::Func, realloc);
    exports.export("memory", ExportKind::Memory, 0);
    code.function(&bump());
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: PAGES,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    let global = GlobalType {
        val_type: ValType::I32,
        mutable: true,
        shared: false,
    };
    globals.global(global, &wasm_encoder::ConstExpr::i32_const(16));
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memories)
        .section(&globals);
    module.section(&exports).section(&code);
    let mut module = module.finish();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let bytes = ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .encode()
        .unwrap();
    Component::new(engine, bytes).unwrap()
}

/// An allocator that only goes forward: `align` is parameter 2, `new size` parameter 3.
fn bump() -> Function {
    let mut body = Function::new([]);
    let mut code = body.instructions();
    // next = (next + align - 1) & -align, kept in parameter 0
    code.global_get(0)
        .local_get(2)
        .i32_add()
        .i32_const(1)
        .i32_sub();
    code.i32_const(0)
        .local_get(2)
        .i32_sub()
        .i32_and()
        .local_tee(0);
    code.local_get(3).i32_add().global_set(0).local_get(0).end();
    body
}

fn value_type(ty: &WasmType) -> ValType {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
        WasmType::F32 => ValType::F32,
        WasmType::F64 => ValType::F64,
        _ => ValType::I32,
    }
}

/// The type of an exported function.
pub fn function(component: &Component, name: &str) -> ComponentFunc {
    let api = component.get_export_index(None, "test:values/api").unwrap();
    match component.get_export(Some(&api), name) {
        Some((ComponentItem::ComponentFunc(function), _)) => function,
        other => panic!("{name} is {other:?}"),
    }
}

impl Echo {
    /// `wit` has the line `echo: func(v: ty) -> ty;`.
    pub fn new(engine: &Engine, wit: &str, ty: &str) -> Echo {
        let padding = format!("tuple<{}>", vec!["u64"; PADDING].join(", "));
        let in_memory =
            format!("echo-in-memory: func(v: {ty}, padding: {padding}) -> tuple<{ty}, {padding}>;");
        let with_both = wit.replacen("echo: func", &format!("{in_memory}\n  echo: func"), 1);
        let component = component(engine, &with_both);
        let signature =
            Signature::of(&function(&component, "echo"), &mut TypeBudget::default()).unwrap();
        Echo {
            component,
            signature,
        }
    }

    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Reads `{"v": json}`, passes the value through the guest and writes what comes back.
    pub fn call(&self, json: &str) -> Result<Answer, ArgumentError> {
        let mut values = self
            .signature
            .parse_arguments(format!("{{\"v\":{json}}}").as_bytes())?;
        assert_eq!(values.len(), 1);
        values = vec![self.through_guest(values.remove(0))];
        let mut out = b"before".to_vec();
        let side = self
            .signature
            .write_result(&values, &mut out, usize::MAX)
            .unwrap();
        assert!(out.starts_with(b"before"));
        Ok(Answer {
            json: String::from_utf8(out.split_off(6)).unwrap(),
            side,
        })
    }

    fn through_guest(&self, value: Val) -> Val {
        let engine = self.component.engine();
        let mut store = Store::new(engine, ());
        let instance = Linker::new(engine)
            .instantiate(&mut store, &self.component)
            .unwrap();
        let api = self
            .component
            .get_export_index(None, "test:values/api")
            .unwrap();
        let echo = self
            .component
            .get_export_index(Some(&api), "echo-in-memory")
            .unwrap();
        let echo = instance.get_func(&mut store, echo).unwrap();
        let padding = Val::Tuple(vec![Val::U64(7); PADDING]);
        let mut results = [Val::Bool(false)];
        echo.call(&mut store, &[value, padding], &mut results)
            .unwrap();
        match results {
            [Val::Tuple(mut values)] => values.swap_remove(0),
            other => panic!("{other:?}"),
        }
    }
}
