//! Why an object cannot be resolved, for the person who must act.

use crate::error::InspectError;
use crate::resolve::plan::KernelBtfUse;

/// Why [`resolve`](crate::resolve) refused. Each message says what failed, on what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The object itself is wrong.
    #[error(transparent)]
    Object(#[from] InspectError),
    /// A program is wanted that the object does not have.
    #[error("the object has no program {name:?}; it has {}", list(.known))]
    NoSuchProgram {
        /// The name that was asked for.
        name: String,
        /// Programs of the object.
        known: Vec<String>,
    },
    /// Every program of the object asks to be left out, and none was named.
    #[error(
        "every section of the object begins with `?`, so no program is loaded unless a hook names it; name one"
    )]
    NothingWanted,
    /// A program whose section name says nothing.
    #[error(
        "program {program}: section name {section:?} is none that a loader knows, so its type is unknown; \
         give it one of libbpf's, like SEC(\"tracepoint/CATEGORY/NAME\")"
    )]
    UnknownKind {
        /// The program.
        program: String,
        /// Its section.
        section: String,
    },
    /// CO-RE without anything to relocate against.
    #[error(
        "program {program} reads {what} of the kernel by CO-RE, and there is no BTF of this kernel; give one \
         by a BTF source, or a variant without CO-RE"
    )]
    NeedsTargetBtf {
        /// The program.
        program: String,
        /// What is relocated.
        what: String,
    },
    /// Type ids are needed and the BTF is not the kernel's own.
    #[error(
        "program {program}: {used} needs the kernel's own BTF (/sys/kernel/btf/vmlinux), {}; choose an \
         alternative without it, or a kernel with CONFIG_DEBUG_INFO_BTF=y",
        if *.supplied { "and there is only BTF from elsewhere, whose type ids mean nothing to the kernel" }
        else { "and this kernel has none" }
    )]
    NeedsKernelBtf {
        /// The program.
        program: String,
        /// What needs it.
        used: KernelBtfUse,
        /// Whether there was BTF from elsewhere.
        supplied: bool,
    },
    /// A relocation that no kernel could satisfy.
    #[error(
        "program {program}: {what} cannot be relocated: {detail}; build the object again, or report this"
    )]
    Relocation {
        /// The program, or subprogram.
        program: String,
        /// What is relocated.
        what: String,
        /// What is wrong.
        detail: String,
    },
    /// A program that is tied to a kernel function when it is loaded, without one.
    #[error(
        "program {program} of kind {kind} must say what it attaches to when it is loaded; write it into its \
         section (SEC(\"{kind}/NAME\")) or give the hook a target"
    )]
    NoAttachTarget {
        /// The program.
        program: String,
        /// Its kind.
        kind: String,
    },
    /// This kernel does not have what a program attaches to.
    #[error(
        "program {program}: this kernel's BTF has no {name}{}, so it cannot be attached there; give the hook \
         an alternative for such kernels",
        module.as_ref().map_or(String::new(), |m| format!(" in module {m}"))
    )]
    AttachTargetMissing {
        /// The program.
        program: String,
        /// The name that was looked for.
        name: String,
        /// The module, if one was named.
        module: Option<String>,
    },
    /// A module that a program names is not there to be looked at.
    #[error(
        "program {program} attaches to {name} in module {module}, which is not loaded on this node, or has \
         no BTF; load the module before the program (modprobe {module}), or give the hook an alternative"
    )]
    ModuleMissing {
        /// The program.
        program: String,
        /// The name that was looked for.
        name: String,
        /// The module.
        module: String,
    },
    /// What system call functions are called in this kernel is not known.
    #[error(
        "program {program} attaches to system call {syscall}, and what this kernel calls its function is \
         not known; use kprobe with the function's name"
    )]
    NoSyscallPrefix {
        /// The program.
        program: String,
        /// The system call.
        syscall: String,
    },
    /// Configuration values that a program cannot do without.
    #[error(
        "program {program} needs {} of the kernel's configuration, which this kernel does not set or whose \
         configuration was not found; declare with __weak what it can do without",
        .names.join(", ")
    )]
    KconfigMissing {
        /// The program.
        program: String,
        /// Names of the externs.
        names: Vec<String>,
    },
    /// A kernel symbol that a program cannot do without.
    #[error(
        "program {program} needs the kernel's {what} {name}, which this kernel does not have{detail}; declare it \
         __weak and test for it, or choose another variant"
    )]
    SymbolMissing {
        /// The program.
        program: String,
        /// `function`, `variable` or `symbol`.
        what: &'static str,
        /// Its name.
        name: String,
        /// More of it, with a separator in front.
        detail: String,
    },
    /// Kernel addresses are hidden.
    #[error(
        "program {program} needs the address of kernel symbol {name}, and /proc/kallsyms gives 0 for it: \
         addresses are hidden from this process (kernel.kptr_restrict, or it lacks CAP_SYSLOG); run the \
         agent with CAP_SYSLOG and kernel.kptr_restrict below 2"
    )]
    AddressHidden {
        /// The program.
        program: String,
        /// The symbol.
        name: String,
    },
    /// A symbol that nothing defines.
    #[error(
        "program {program} uses {name}, which nothing defines; define it in the object, or {} if it is the \
         kernel's",
        if *.has_btf { "declare it with __ksym or __kconfig" }
        else { "compile the object with -g, without which it does not say so," }
    )]
    Undefined {
        /// The program.
        program: String,
        /// The symbol.
        name: String,
        /// Whether the object has BTF, which says what is the kernel's.
        has_btf: bool,
    },
    /// Something that no loader of ours can express.
    #[error("{program}: {what} is not supported; {advice}")]
    Unsupported {
        /// The program, map or section.
        program: String,
        /// What it uses.
        what: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// Contents for a data section that do not fit it.
    #[error("values for section {section:?}: {detail}; set variables that the object has")]
    Globals {
        /// The section.
        section: String,
        /// What is wrong.
        detail: String,
    },
    /// A size for a map that cannot have it.
    #[error("size of map {map:?}: {detail}")]
    MapSize {
        /// The map.
        map: String,
        /// What is wrong and what to do.
        detail: String,
    },
    /// A table of kernel operations that this kernel cannot have.
    #[error("struct_ops {table}: {detail}; choose another variant or kernel")]
    StructOps {
        /// The table, or a program that should be in one.
        table: String,
        /// What is wrong.
        detail: String,
    },
    /// A bound of the kernel or of this crate is exceeded.
    #[error("program {program}: it has {size} {what}, at most {limit} are possible; split it")]
    TooMany {
        /// The program.
        program: String,
        /// What there are too many of.
        what: &'static str,
        /// How many.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// The result could not be written.
    #[error("the resolved object cannot be written: {0}; report this with the object")]
    Write(String),
}

impl ResolveError {
    /// The program that keeps the object from being resolved; `None` if it is the object as a whole, or nothing
    /// that another choice of programs would mend.
    pub fn program(&self) -> Option<&str> {
        use ResolveError as E;
        match self {
            E::NoSuchProgram { name, .. } => Some(name),
            E::UnknownKind { program, .. }
            | E::NeedsTargetBtf { program, .. }
            | E::NeedsKernelBtf { program, .. }
            | E::Relocation { program, .. }
            | E::NoAttachTarget { program, .. }
            | E::AttachTargetMissing { program, .. }
            | E::ModuleMissing { program, .. }
            | E::NoSyscallPrefix { program, .. }
            | E::KconfigMissing { program, .. }
            | E::SymbolMissing { program, .. }
            | E::AddressHidden { program, .. }
            | E::Undefined { program, .. }
            | E::TooMany { program, .. }
            | E::Unsupported { program, .. } => Some(program),
            E::Object(_)
            | E::NothingWanted
            | E::Globals { .. }
            | E::MapSize { .. }
            | E::StructOps { .. }
            | E::Write(_) => None,
        }
    }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
