//! What stands beside the resolved ELF: [`LoadPlan`].

use crate::initial::InitialEntry;
use crate::kind::ProgramKind;
use crate::sec::SecTarget;

/// An object that is ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The ELF file, which aya opens as it is and relocates nothing in but maps and calls.
    pub elf: Vec<u8>,
    /// How to load it.
    pub plan: LoadPlan,
    /// Whether it holds addresses or type ids of this boot of this kernel: then it is never written to a
    /// disk nor sent anywhere.
    pub holds_addresses: bool,
}

/// What a loader must know beyond the ELF.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadPlan {
    /// The programs of the ELF, in the order of the object.
    pub programs: Vec<ProgramPlan>,
    /// What maps hold from the start and aya does not put there.
    pub initial: Vec<InitialEntry>,
    /// Tables of kernel operations, which aya has no maps for.
    pub struct_ops: Vec<StructOpsPlan>,
    /// The licence that programs are loaded with; empty if the object has none.
    pub license: String,
    /// BTF objects that instructions refer to by number: a call of a kernel function has the number in its
    /// `off`, which is a place in `fd_array`; the load of a variable's address has it in its second
    /// `imm`, where the loader puts the BTF's descriptor. Number 0 is the kernel itself, the module of
    /// number n stands at place n - 1 here.
    pub modules: Vec<String>,
}

/// How one program is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramPlan {
    /// Its name.
    pub name: String,
    /// Its section in the object, as `SEC("…")` had it. The ELF has another.
    pub section: String,
    /// What it is.
    pub kind: ProgramKind,
    /// What its section says it attaches to.
    pub target: SecTarget,
    /// `enum bpf_prog_type`.
    pub program_type: u32,
    /// `enum bpf_attach_type` for `expected_attach_type`; of a `struct_ops` program the member's place.
    pub expected_attach_type: u32,
    /// `BPF_F_*` flags of the load: sleepable, XDP in several buffers.
    pub flags: u32,
    /// The kernel's type that it attaches to, for kinds that say it when they are loaded.
    pub attach: Option<AttachBtf>,
    /// The kernel function of a `ksyscall` or `kretsyscall` program.
    pub syscall_function: Option<String>,
    /// Who can load it.
    pub loader: Loader,
    /// Whether it was asked for; else a map of programs that one of those uses holds it, or a table of
    /// operations that one of those is in.
    pub wanted: bool,
    /// Instructions that stand for something this kernel does not have, by ascending place.
    pub poisoned: Vec<Poisoned>,
    /// Places in [`LoadPlan::modules`], from 1, that its instructions refer to.
    pub modules: Vec<u32>,
    /// Why the kernel's own BTF is needed; `None` if it is not.
    pub needs_kernel_btf: Option<KernelBtfUse>,
}

/// Who can load a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loader {
    /// aya, as it is.
    Aya,
    /// aya opens it as something else, to lay out its instructions; the load is the caller's own.
    Own(OwnReason),
}

/// Why aya cannot load a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnReason {
    /// aya has no such type of program.
    Type,
    /// aya would give another `expected_attach_type`.
    AttachType,
    /// It refers to BTF of a module.
    ModuleBtf,
    /// It attaches to something in a module.
    ModuleTarget,
}

/// A type of the kernel that a program attaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachBtf {
    /// `attach_btf_id`.
    pub type_id: u32,
    /// The module whose BTF has it (`attach_btf_obj_fd`); `None` for the kernel's own.
    pub module: Option<String>,
    /// The type's name (`bpf_lsm_file_open`).
    pub name: String,
}

/// An instruction that stands for something this kernel does not have. The verifier refuses it unless
/// the program goes around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poisoned {
    /// Its number as the verifier counts: slots of 8 bytes from the start of the program, with its
    /// subprograms behind it.
    pub instruction: u32,
    /// The function it is in.
    pub function: String,
    /// What it stands for and where it comes from, for people.
    pub message: String,
}

/// A table of kernel operations: a map of type STRUCT_OPS with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructOpsPlan {
    /// Its name.
    pub name: String,
    /// It is attached with a link (`.struct_ops.link`, `BPF_F_LINK`), else by being filled in.
    pub link: bool,
    /// The kernel's type of the value (`btf_vmlinux_value_type_id`).
    pub value_type: AttachBtf,
    /// The value, without its functions.
    pub value: Vec<u8>,
    /// Where in the value the descriptor of which program goes, as 8 bytes.
    pub functions: Vec<(u32, String)>,
}

/// What needs the kernel's own BTF, since it goes by type ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelBtfUse {
    /// The kind of program.
    Kind(ProgramKind),
    /// The id of a type in the kernel (`bpf_core_type_id_kernel`).
    TypeId(String),
    /// A function of the kernel.
    Kfunc(String),
    /// A variable of the kernel.
    Ksym(String),
}

impl std::fmt::Display for KernelBtfUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KernelBtfUse::Kind(kind) => write!(f, "being a {kind} program"),
            KernelBtfUse::TypeId(name) => write!(f, "the id of {name}"),
            KernelBtfUse::Kfunc(name) => write!(f, "the kernel function {name}"),
            KernelBtfUse::Ksym(name) => write!(f, "the kernel variable {name}"),
        }
    }
}
