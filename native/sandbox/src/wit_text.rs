//! A component's WIT as text, up to a size.
//!
//! Owns: the layout of the text and where it ends. It must not know what is printed.

use wit_component::{Output, WitPrinter};
use wit_parser::{PackageId, Resolve};

/// Longest text, in bytes. Types without a name are written out wherever they are used, so a small
/// component can have a text without end.
pub const WIT_BYTES_MAX: usize = 1024 * 1024;

/// The text of a package and all others. The error is a sentence.
pub fn print(resolve: &Resolve, package: PackageId) -> Result<String, String> {
    let nested: Vec<PackageId> = resolve
        .packages
        .iter()
        .map(|(id, _)| id)
        .filter(|id| *id != package)
        .collect();
    let mut printer = WitPrinter::new(Text::default());
    printer
        .print(resolve, package, &nested)
        .map_err(|e| format!("the component's WIT cannot be printed: {e:#}"))?;
    match printer.output {
        Text {
            cut: false, out, ..
        } => Ok(out),
        Text { cut: true, .. } => Err(format!(
            "the component's WIT is longer than {WIT_BYTES_MAX} bytes"
        )),
    }
}

/// Two spaces a level, as `wit-component` does it; what goes beyond the size is left out.
#[derive(Default)]
struct Text {
    out: String,
    indent: usize,
    at_line_start: bool,
    cut: bool,
}

impl Output for Text {
    fn push_str(&mut self, text: &str) {
        if self.out.len() + text.len() > WIT_BYTES_MAX {
            self.cut = true;
        }
        if !self.cut {
            self.out.push_str(text);
        }
    }

    fn indent_if_needed(&mut self) -> bool {
        let needed = std::mem::take(&mut self.at_line_start);
        if needed {
            for _ in 0..self.indent {
                self.push_str("  ");
            }
        }
        needed
    }

    fn indent_start(&mut self) {
        self.push_str(" {");
        self.indent += 1;
        self.newline();
    }

    fn indent_end(&mut self) {
        self.indent = self.indent.saturating_sub(1);
        self.indent_if_needed();
        self.push_str("}");
        self.newline();
    }

    fn newline(&mut self) {
        self.push_str("\n");
        self.at_line_start = true;
    }
}
