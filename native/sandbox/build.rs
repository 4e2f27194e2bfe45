//! Link options of the library.

fn main() {
    // The library is never unloaded: wasmtime's signal handlers cannot be taken out safely.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
