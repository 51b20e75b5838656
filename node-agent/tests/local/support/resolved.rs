//! An object resolved for this kernel, its maps created by aya and programs loaded by the agent's own loading.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use aya::{Ebpf, EbpfLoader, maps::Array};
use bpf_object::{LoadPlan, Request, Target, kconfig, kconfig_of};
use bpfleet_agent::kernel::program::{self, LoadError};
use btf::{Btf, co_re::Targets};

/// An object of which some programs are wanted.
pub struct Resolved {
    pub elf: Vec<u8>,
    pub plan: LoadPlan,
    pub ebpf: Ebpf,
}

impl Resolved {
    pub fn new(object: &Path, programs: &[&str]) -> Self {
        Self::with_cookies(object, programs, true)
    }

    /// `cookies` is whether the object is told that the kernel gives uprobes cookies.
    pub fn with_cookies(object: &Path, programs: &[&str], cookies: bool) -> Self {
        let bytes = fs::read(object).unwrap();
        let kernel = Btf::parse(fs::read("/sys/kernel/btf/vmlinux").unwrap()).unwrap();
        let wanted: BTreeSet<String> = programs.iter().map(ToString::to_string).collect();
        let facts = kconfig::Facts {
            kernel_version: 0x0006_0000,
            has_syscall_wrapper: Some(true),
            has_bpf_cookie: Some(cookies),
        };
        let values = kconfig_of(&bytes, None, &facts).unwrap();
        let request = Request {
            programs: Some(&wanted),
            kconfig: Some(&values),
            ..Request::new(Target::Kernel(Targets::kernel(&kernel)))
        };
        let resolved = bpf_object::resolve(&bytes, &request).unwrap();
        let ebpf = EbpfLoader::new()
            .btf(None)
            .allow_unsupported_maps()
            .load(&resolved.elf)
            .unwrap();
        Self {
            elf: resolved.elf,
            plan: resolved.plan,
            ebpf,
        }
    }

    /// Its maps by name.
    pub fn maps(&self) -> BTreeMap<String, BorrowedFd<'_>> {
        program::maps_of(&self.ebpf)
    }

    /// Loads one program.
    pub fn load(&self, program: &str) -> Result<OwnedFd, LoadError> {
        let mut loaded = program::load(&self.elf, &self.plan, &[program], &self.maps())?;
        loaded.remove(program).unwrap()
    }

    /// What its map `counts` holds.
    pub fn counts(&self) -> Vec<u64> {
        let array: Array<_, u64> = self.ebpf.map("counts").unwrap().try_into().unwrap();
        array.iter().collect::<Result<_, _>>().unwrap()
    }
}
