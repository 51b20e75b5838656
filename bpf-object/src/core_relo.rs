//! CO-RE relocations: instructions whose operands depend on the kernel's types.

use std::fmt;

/// What a relocation asks about the kernel: `enum bpf_core_relo_kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoreKind {
    /// Offset of a field in bytes.
    FieldByteOffset,
    /// Size of a field in bytes.
    FieldByteSize,
    /// Whether a field exists.
    FieldExists,
    /// Whether a field is signed.
    FieldSigned,
    /// Left shift that isolates a bit field.
    FieldLshiftU64,
    /// Right shift that isolates a bit field.
    FieldRshiftU64,
    /// Id of a type in the object's own BTF.
    TypeIdLocal,
    /// Id of a type in the kernel's BTF.
    TypeIdTarget,
    /// Whether a type exists.
    TypeExists,
    /// Size of a type in bytes.
    TypeSize,
    /// Whether an enumerator exists.
    EnumvalExists,
    /// Value of an enumerator.
    EnumvalValue,
    /// Whether a type has the same shape.
    TypeMatches,
    /// A kind that came after this was written.
    Unknown(u32),
}

impl CoreKind {
    pub(crate) fn from_raw(raw: u32) -> Self {
        match raw {
            0 => CoreKind::FieldByteOffset,
            1 => CoreKind::FieldByteSize,
            2 => CoreKind::FieldExists,
            3 => CoreKind::FieldSigned,
            4 => CoreKind::FieldLshiftU64,
            5 => CoreKind::FieldRshiftU64,
            6 => CoreKind::TypeIdLocal,
            7 => CoreKind::TypeIdTarget,
            8 => CoreKind::TypeExists,
            9 => CoreKind::TypeSize,
            10 => CoreKind::EnumvalExists,
            11 => CoreKind::EnumvalValue,
            12 => CoreKind::TypeMatches,
            other => CoreKind::Unknown(other),
        }
    }

    /// Whether it asks about a whole type.
    pub fn is_type(self) -> bool {
        use CoreKind as K;
        matches!(
            self,
            K::TypeIdLocal | K::TypeIdTarget | K::TypeExists | K::TypeSize | K::TypeMatches
        )
    }

    /// Whether it asks about an enumerator.
    pub fn is_enumerator(self) -> bool {
        matches!(self, CoreKind::EnumvalExists | CoreKind::EnumvalValue)
    }

    /// Whether absence is an answer (0) and never an error.
    pub fn is_question(self) -> bool {
        use CoreKind as K;
        matches!(
            self,
            K::FieldExists | K::TypeExists | K::EnumvalExists | K::TypeMatches
        )
    }

    /// Whether it cannot be answered without BTF of the kernel, its own or supplied.
    pub fn needs_target_btf(self) -> bool {
        self != CoreKind::TypeIdLocal
    }
}

impl fmt::Display for CoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CoreKind as K;
        f.write_str(match self {
            K::FieldByteOffset => "byte offset",
            K::FieldByteSize => "size",
            K::FieldExists | K::TypeExists | K::EnumvalExists => "existence",
            K::FieldSigned => "signedness",
            K::FieldLshiftU64 => "left shift",
            K::FieldRshiftU64 => "right shift",
            K::TypeIdLocal => "local type id",
            K::TypeIdTarget => "type id",
            K::TypeSize => "type size",
            K::EnumvalValue => "value",
            K::TypeMatches => "shape",
            K::Unknown(n) => return write!(f, "relocation kind {n}"),
        })
    }
}

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
