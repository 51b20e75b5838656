//! CO-RE relocations: instructions whose operands depend on the kernel's types.

use std::fmt;

pub use btf::co_re::CoreKind;

/// A place in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// File as the compiler was given it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub column: u32,
    /// The line's text without leading blanks, cut to 256 bytes; empty if the compiler left it out.
    pub text: String,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.rsplit('/').next().unwrap_or(&self.file);
        write!(f, "{file}:{}", self.line)
    }
}

/// An instruction whose operand depends on the kernel's types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreRelocation {
    /// Section of the instruction.
    pub section: String,
    /// Where the instruction begins, in bytes from the start of the section.
    pub instruction_offset: u64,
    /// The function it is in: a program, or a subprogram in `.text`.
    pub program: Option<String>,
    /// What it asks.
    pub kind: CoreKind,
    /// Keyword of the type: `struct`, `union`, `enum`, `typedef` or `type`.
    pub type_keyword: &'static str,
    /// Name of the type, with its flavour (`task_struct___v46`).
    pub type_name: String,
    /// The access as the object has it (`0:1:2`).
    pub access: String,
    /// The access spelled with names (`task_struct.signal.nr_threads`). If it does not fit the
    /// object's own types: the type's name and the raw access.
    pub field_path: String,
    /// The source line that it comes from, if the object has line information.
    pub source_line: Option<SourceLine>,
}

impl CoreRelocation {
    /// What it refers to, and where: ``field task_struct.tgid (byte offset) in `prog` at prog.bpf.c:12``.
    pub fn describe(&self) -> String {
        let mut text = format!("{} ({})", self.subject(), self.kind);
        if let Some(program) = &self.program {
            text.push_str(&format!(" in `{program}`"));
        }
        if let Some(line) = &self.source_line {
            text.push_str(&format!(" at {line}"));
        }
        text
    }

    /// What the verifier's refusal of this instruction means, when the loader had poisoned it
    /// because the kernel has no such thing.
    pub fn describe_missing(&self) -> String {
        let place = self
            .source_line
            .as_ref()
            .map_or(String::new(), |line| match line.text.as_str() {
                "" => format!("; used at {line}"),
                text => format!("; used at {line}: {text}"),
            });
        format!("{} does not exist in this kernel{place}", self.subject())
    }

    fn subject(&self) -> String {
        if self.kind.is_type() {
            format!("{} {}", self.type_keyword, self.field_path)
        } else if self.kind.is_enumerator() {
            format!("enumerator {}", self.field_path)
        } else {
            format!("field {}", self.field_path)
        }
    }
}
