//! What trial programs attach to in the kernel's BTF.

use btf::{Btf, Kind};

use super::program::attach_type;
use crate::{
    facts::{
        btf::KernelBtf,
        types::{self, Wanted},
    },
    kernel::probe::load::Trial,
};
use bpfleet_fit::feature::ProgramType;

/// Functions that only tests of the kernel call (net/bpf/test_run.c): attaching to them for a moment hurts nobody.
const FENTRY_TEST: &str = "bpf_fentry_test1";
const MODIFY_RETURN_TEST: &str = "bpf_modify_return_test";
/// Functions whose return value can be changed begin so (kernel/bpf/verifier.c, check_attach_modify_return).
const SECURITY: &[u8] = b"security_";
/// Functions that every kernel has, for loading only.
const USUAL: [&str; 3] = ["vfs_read", "do_exit", "schedule"];
/// Hooks that may sleep, and hooks that cgroups can have.
const LSM_HOOK: &str = "bpf_lsm_file_open";
const LSM_CGROUP_HOOK: &str = "bpf_lsm_socket_bind";
const ITERATOR: &str = "bpf_iter_task";
const TRACEPOINT: &str = "btf_trace_sched_switch";

/// Ids of types; none where the kernel has no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// A function that can be attached to without harm.
    pub fentry_test: Option<u32>,
    /// One whose return value can be changed without harm.
    pub modify_return_test: Option<u32>,
    /// One whose return value can be changed.
    pub security_function: Option<u32>,
    /// Any function.
    pub function: Option<u32>,
    /// A security hook.
    pub lsm: Option<u32>,
    /// A security hook that cgroups can have.
    pub lsm_cgroup: Option<u32>,
    /// An iterator.
    pub iterator: Option<u32>,
    /// A tracepoint.
    pub tracepoint: Option<u32>,
}

impl Targets {
    /// Looks for them.
    pub fn find(kernel_btf: &KernelBtf) -> Result<Self, String> {
        let bytes = kernel_btf
            .bytes()
            .map_err(|error| error.to_string())?
            .ok_or("there is none")?;
        let btf = Btf::parse(&*bytes).map_err(|error| error.to_string())?;
        let found = types::find(
            &btf,
            &Wanted {
                functions: [
                    FENTRY_TEST,
                    MODIFY_RETURN_TEST,
                    LSM_HOOK,
                    LSM_CGROUP_HOOK,
                    ITERATOR,
                ]
                .into_iter()
                .chain(USUAL)
                .collect(),
                typedefs: [TRACEPOINT].into(),
            },
        );
        let function = |name: &str| found.functions.get(name)?.first().map(|function| function.id);
        Ok(Self {
            fentry_test: function(FENTRY_TEST),
            modify_return_test: function(MODIFY_RETURN_TEST),
            security_function: btf
                .types()
                .find(|t| t.kind() == Kind::Func && t.name_bytes().starts_with(SECURITY))
                .map(|t| t.id()),
            function: USUAL.into_iter().find_map(function),
            lsm: function(LSM_HOOK),
            lsm_cgroup: function(LSM_CGROUP_HOOK),
            iterator: function(ITERATOR),
            tracepoint: found.typedefs.get(TRACEPOINT).copied(),
        })
    }

    /// Tracing programs: what they can call depends on what they are.
    pub fn tracing(&self) -> Vec<Trial<'static>> {
        let function = self.fentry_test.or(self.function);
        let mut trials: Vec<Trial<'static>> = [
            (attach_type::TRACE_FENTRY, function),
            (attach_type::TRACE_FEXIT, function),
            (attach_type::TRACE_RAW_TP, self.tracepoint),
            (attach_type::TRACE_ITER, self.iterator),
        ]
        .into_iter()
        .filter_map(|(attach_type, id)| Some(tracing(ProgramType::Tracing, attach_type, id?)))
        .collect();
        if let Some(id) = self.fentry_test {
            trials.push(Trial {
                sleepable: true,
                ..tracing(ProgramType::Tracing, attach_type::TRACE_FENTRY, id)
            });
        }
        trials
    }

    /// Programs of security hooks.
    pub fn lsm(&self) -> Vec<Trial<'static>> {
        let Some(id) = self.lsm else {
            return Vec::new();
        };
        let trial = tracing(ProgramType::Lsm, attach_type::LSM_MAC, id);
        let sleepable = Trial {
            sleepable: true,
            ..trial
        };
        let cgroup = self
            .lsm_cgroup
            .map(|id| tracing(ProgramType::Lsm, attach_type::LSM_CGROUP, id));
        [trial, sleepable].into_iter().chain(cgroup).collect()
    }
}

/// A program that attaches to a type.
pub fn tracing(program: ProgramType, attach_type: u32, id: u32) -> Trial<'static> {
    Trial {
        program_type: program.number(),
        attach_type,
        attach_btf_id: id,
        ..Trial::default()
    }
}
