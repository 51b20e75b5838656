//! A resolved object in the kernel: its maps and programs, whoever loaded them.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya::{Ebpf, maps::Map, programs::Program};
use bpf_object::{InitialEntry, InitialValue, LoadPlan, Loader, ProgramPlan, Resolved};
use bpfleet_crds::NodeReason;

use super::{
    attempt::Miss,
    error::{self, HookError, chain},
    open,
    request::Failure,
};
use crate::{
    kernel::{map, program},
    usdt::{self, Layout, Plan, Probe, Specs},
};

/// Programs that are loaded, and maps that are made.
pub struct Programs {
    ebpf: Ebpf,
    own: BTreeMap<String, OwnedFd>,
    plan: LoadPlan,
    elf: Vec<u8>,
    cookies: bool,
    /// Descriptions of probes that were put into the object's map, whose numbers go on from hook to hook.
    probes: Option<Specs>,
}

impl Programs {
    /// Makes the maps and loads the programs. `cookies`: whether the object was told that links take cookies.
    pub fn load(resolved: Resolved, cookies: bool) -> Result<Self, Miss> {
        let mut loader = open::loader_without_btf().map_err(|error| {
            Failure::new(NodeReason::LoadFailed, format!("cannot prepare loading: {error}"))
        })?;
        loader.btf(None).allow_unsupported_maps();
        let ebpf = loader
            .load(&resolved.elf)
            .map_err(|error| error::opening(&error))?;
        let mut programs = Self {
            ebpf,
            own: BTreeMap::new(),
            plan: resolved.plan,
            elf: resolved.elf,
            cookies,
            probes: None,
        };
        let rows = programs.plan.programs.clone();
        // All that fail are found at once, so that all of them make place for their next alternatives.
        let mut failed = programs.load_own(&rows)?;
        for row in rows.iter().filter(|row| !is_own(row)) {
            if let Err(failure) = programs.load_by_aya(row) {
                failed.push((row.name.clone(), failure));
            }
        }
        if !failed.is_empty() {
            return Err(Miss::Programs(failed));
        }
        programs.fill()?;
        Ok(programs)
    }

    /// Gives those that cannot be loaded.
    fn load_own(&mut self, rows: &[ProgramPlan]) -> Result<Vec<(String, Failure)>, Failure> {
        let own: Vec<&ProgramPlan> = rows.iter().filter(|row| is_own(row)).collect();
        let names: Vec<&str> = own.iter().map(|row| row.name.as_str()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut loaded = program::load(&self.elf, &self.plan, &names, &self.maps())
            .map_err(|error| Failure::new(NodeReason::InvalidObject, error.to_string()))?;
        let mut failed = Vec::new();
        for row in own {
            match loaded.remove(&row.name) {
                Some(Ok(fd)) => {
                    self.own.insert(row.name.clone(), fd);
                }
                Some(Err(error)) => failed.push((row.name.clone(), error::loading_own(row, &error))),
                None => failed.push((row.name.clone(), no_program(&row.name))),
            }
        }
        Ok(failed)
    }

    fn load_by_aya(&mut self, row: &ProgramPlan) -> Result<(), Failure> {
        let name = row.name.as_str();
        let program = self.ebpf.program_mut(name).ok_or_else(|| no_program(name))?;
        let result = match program {
            Program::TracePoint(p) => p.load(),
            Program::RawTracePoint(p) => p.load(),
            Program::KProbe(p) => p.load(),
            Program::UProbe(p) => p.load(),
            Program::PerfEvent(p) => p.load(),
            Program::Xdp(p) => p.load(),
            Program::SchedClassifier(p) => p.load(),
            Program::CgroupSkb(p) => p.load(),
            Program::CgroupSock(p) => p.load(),
            Program::CgroupSockAddr(p) => p.load(),
            Program::CgroupSockopt(p) => p.load(),
            Program::CgroupSysctl(p) => p.load(),
            Program::CgroupDevice(p) => p.load(),
            Program::SockOps(p) => p.load(),
            Program::SkLookup(p) => p.load(),
            Program::SkMsg(p) => p.load(),
            Program::SkSkb(p) => p.load(),
            Program::SocketFilter(p) => p.load(),
            other => {
                let message = format!(
                    "program {name} was opened as {:?}, which bpfleet cannot load",
                    other.prog_type()
                );
                return Err(Failure::new(NodeReason::UnsupportedProgram, message));
            }
        };
        result.map_err(|error| error::loading(row, &error))
    }

    /// Puts maps and programs into the maps that hold them from the start.
    fn fill(&self) -> Result<(), Failure> {
        let maps = self.maps();
        for InitialEntry { map, index, value } in &self.plan.initial {
            let (what, held) = match value {
                InitialValue::Map(name) => (name, maps.get(name).copied()),
                InitialValue::Program(name) => (name, self.descriptor(name)),
            };
            // A program that was not chosen is in no map; what tail-calls it falls through, as with libbpf.
            let (Some(target), Some(held)) = (maps.get(map), held) else {
                continue;
            };
            let value = u32::try_from(held.as_raw_fd()).unwrap_or_default().to_ne_bytes();
            map::update(*target, &index.to_ne_bytes(), &value).map_err(|error| {
                Failure::new(
                    NodeReason::LoadFailed,
                    format!("the kernel refused {what} as entry {index} of map {map}: {error}"),
                )
            })?;
        }
        Ok(())
    }

    /// Every map with its name.
    pub fn named_maps(&self) -> impl Iterator<Item = (&str, &Map)> {
        self.ebpf.maps()
    }

    fn maps(&self) -> BTreeMap<String, BorrowedFd<'_>> {
        program::maps_of(&self.ebpf)
    }

    /// Puts descriptions of a binary's probes where the object's programs look for them; gives where to attach.
    pub fn describe_probes(&mut self, name: &str, probes: &[Probe]) -> Result<Plan, HookError> {
        let unusable =
            |error: &dyn std::error::Error| HookError::new(NodeReason::InvalidObject, chain(error));
        let maps = self.maps();
        let specs_map = maps.get(usdt::SPECS).copied().ok_or_else(|| {
            let message = format!("the object has no map {}; include bpf/usdt.bpf.h", usdt::SPECS);
            HookError::new(NodeReason::InvalidObject, message)
        })?;
        let mut specs = match self.probes.clone() {
            Some(specs) => specs,
            None => {
                let layout = Layout::of_object(&self.elf).map_err(|error| unusable(&error))?;
                let room = map::info(specs_map).map_err(|error| unusable(&error))?;
                Specs::new(layout, room.max_entries, self.cookies)
            }
        };
        let plan = specs
            .plan(name, probes, 0)
            .map_err(|error| HookError::new(NodeReason::AttachFailed, chain(&error)))?;
        usdt::attach::fill(&plan, specs_map, maps.get(usdt::ADDRESSES).copied())
            .map_err(|error| unusable(&error))?;
        self.probes = Some(specs);
        Ok(plan)
    }

    /// The descriptor of a program.
    pub fn fd(&self, name: &str) -> Result<BorrowedFd<'_>, HookError> {
        self.descriptor(name).ok_or_else(|| {
            let failure = no_program(name);
            HookError::new(failure.reason, failure.message)
        })
    }

    fn descriptor(&self, name: &str) -> Option<BorrowedFd<'_>> {
        if let Some(own) = self.own.get(name) {
            return Some(own.as_fd());
        }
        Some(self.ebpf.program(name)?.fd().ok()?.as_fd())
    }
}

/// Programs that are in the kernel and can be attached.
pub trait Attachable {
    /// The descriptor of a program.
    fn fd(&self, name: &str) -> Result<BorrowedFd<'_>, HookError>;
    /// What this kernel calls the function of the system call that a program attaches to.
    fn syscall_function(&self, name: &str) -> Option<String>;
    /// A program for aya to attach.
    fn by_aya(&mut self, name: &str) -> Result<&mut Program, HookError>;
    /// Puts descriptions of a binary's probes where the object's programs look for them; gives where to attach.
    fn describe_probes(&mut self, name: &str, probes: &[Probe]) -> Result<Plan, HookError>;
}

impl Attachable for Programs {
    fn fd(&self, name: &str) -> Result<BorrowedFd<'_>, HookError> {
        Self::fd(self, name)
    }

    fn syscall_function(&self, name: &str) -> Option<String> {
        let row = self.plan.programs.iter().find(|row| row.name == name)?;
        row.syscall_function.clone()
    }

    fn by_aya(&mut self, name: &str) -> Result<&mut Program, HookError> {
        self.ebpf.program_mut(name).ok_or_else(|| {
            let failure = no_program(name);
            HookError::new(failure.reason, failure.message)
        })
    }

    fn describe_probes(&mut self, name: &str, probes: &[Probe]) -> Result<Plan, HookError> {
        Self::describe_probes(self, name, probes)
    }
}

/// Whether the load is ours. aya ties programs to types of the kernel only by parsing all of its BTF again (10 to
/// 20 ms, 17 MB), which the plan has already done.
fn is_own(row: &ProgramPlan) -> bool {
    matches!(row.loader, Loader::Own(_)) || row.attach.is_some()
}

fn no_program(name: &str) -> Failure {
    Failure::new(
        NodeReason::InvalidObject,
        format!("the resolved object has no loaded program {name}; report this with the object"),
    )
}
