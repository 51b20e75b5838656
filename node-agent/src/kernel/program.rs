//! Loading programs that aya cannot: it opens the resolved object as something else and lays out the
//! instructions, the load is ours.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
    util::KernelVersion,
};
use aya_obj::{Function, Object, generated::bpf_insn};
use bpf_object::{LoadPlan, ProgramPlan};
use thiserror::Error;

use super::{
    btf,
    prog_load::{ProgLoad, Records, Refused},
};
use crate::load::error_chain;

/// BPF_LD | BPF_IMM | BPF_DW: an address in two instructions.
const LOAD_ADDRESS: u8 = 0x18;
/// The address is that of a variable of the kernel; the second instruction names its BTF.
const BPF_PSEUDO_BTF_ID: u8 = 3;

/// Programs are not loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The object, as it was resolved, cannot be laid out. This is a defect of bpfleet.
    #[error("the resolved object cannot be laid out for loading: {0}")]
    Layout(String),
    /// The object has no such program. This is a defect of bpfleet.
    #[error("the resolved object has no program {0}")]
    NoProgram(String),
    /// A module's BTF is gone.
    #[error(
        "program {program} refers to kernel module {module}, whose BTF cannot be had ({error}); load the module, or \
         leave the program out where it is not loaded"
    )]
    Module {
        /// The program.
        program: String,
        /// The module.
        module: String,
        /// Why.
        error: io::Error,
    },
    /// The kernel refuses a program.
    #[error("the kernel refuses program {program}: {error}")]
    Refused {
        /// The program.
        program: String,
        /// Its error number.
        error: io::Error,
        /// What the verifier says; empty if it was not asked.
        log: String,
    },
}

/// Loads programs of a resolved object, each with its row of the plan. `maps` are those that aya created from the
/// same ELF ([`maps_of`]); contents that the plan lists are put into them by others. One that the kernel refuses does not
/// hold up the others.
///
/// # Errors
/// If the object cannot be laid out at all.
pub fn load(
    elf: &[u8],
    plan: &LoadPlan,
    which: &[&str],
    maps: &BTreeMap<String, BorrowedFd<'_>>,
) -> Result<BTreeMap<String, Result<OwnedFd, LoadError>>, LoadError> {
    let layout = |error: &dyn std::error::Error| LoadError::Layout(error_chain(error));
    let mut object = Object::parse(elf).map_err(|error| layout(&error))?;
    let features = aya::features();
    // Where the kernel takes no BTF at all, programs load without; where one needs it, the verifier says so.
    let mut object_btf = None;
    let mut btf_refused = String::new();
    if let Some(features) = features.btf()
        && let Some(own) = object
            .fixup_and_sanitize_btf(features)
            .map_err(|error| layout(&error))?
    {
        match btf::load(&own.to_bytes()) {
            Ok(fd) => object_btf = Some(fd),
            Err((error, log)) => {
                btf_refused = format!("The object's BTF was refused: {error}\n{log}\n");
            }
        }
    }
    link(&mut object, maps)?;
    object.sanitize_functions(features);

    let mut loaded = BTreeMap::new();
    let mut modules = Modules::default();
    for name in which {
        let row = plan.programs.iter().find(|row| row.name == *name);
        let function = object
            .programs
            .get(*name)
            .and_then(|program| object.functions.get(&program.function_key()));
        let (Some(row), Some(function)) = (row, function) else {
            return Err(LoadError::NoProgram((*name).to_owned()));
        };
        let outcome =
            one(plan, row, function, &object, object_btf.as_ref(), &mut modules).map_err(
                |error| match error {
                    LoadError::Refused { program, error, log } => LoadError::Refused {
                        program,
                        error,
                        log: format!("{btf_refused}{log}"),
                    },
                    other => other,
                },
            );
        loaded.insert((*name).to_owned(), outcome);
    }
    Ok(loaded)
}

/// The maps that aya created, by name, for [`load`].
pub fn maps_of(ebpf: &Ebpf) -> BTreeMap<String, BorrowedFd<'_>> {
    ebpf.maps()
        .map(|(name, map)| (name.to_owned(), data(map).fd().as_fd()))
        .collect()
}

/// aya gives out no descriptor of a map of any type.
fn data(map: &Map) -> &MapData {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::BloomFilter(data)
        | Map::CgroupArray(data)
        | Map::CgroupStorage(data)
        | Map::CgrpStorage(data)
        | Map::CpuMap(data)
        | Map::DevMap(data)
        | Map::DevMapHash(data)
        | Map::HashMap(data)
        | Map::HashOfMaps(data)
        | Map::InodeStorage(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuCgroupStorage(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data)
        | Map::PerfEventArray(data)
        | Map::ProgramArray(data)
        | Map::Queue(data)
        | Map::ReusePortSockArray(data)
        | Map::RingBuf(data)
        | Map::SockHash(data)
        | Map::SockMap(data)
        | Map::SkStorage(data)
        | Map::Stack(data)
        | Map::StackTraceMap(data)
        | Map::Unsupported(data)
        | Map::XskMap(data) => data,
    }
}

/// Puts descriptors of maps and called functions into the instructions.
fn link(object: &mut Object, maps: &BTreeMap<String, BorrowedFd<'_>>) -> Result<(), LoadError> {
    let failed = |error: &dyn std::error::Error| LoadError::Layout(error_chain(error));
    let defined = std::mem::take(&mut object.maps);
    let known: Vec<(&str, RawFd, &aya_obj::Map)> = defined
        .iter()
        .filter_map(|(name, map)| Some((name.as_str(), maps.get(name)?.as_raw_fd(), map)))
        .collect();
    let text = object.functions.keys().map(|(section, _)| *section).collect();
    object
        .relocate_maps(known.into_iter(), &text)
        .map_err(|error| failed(&error))?;
    object.relocate_calls(&text).map_err(|error| failed(&error))?;
    object.maps = defined;
    Ok(())
}

fn one(
    plan: &LoadPlan,
    row: &ProgramPlan,
    function: &Function,
    object: &Object,
    object_btf: Option<&OwnedFd>,
    modules: &mut Modules,
) -> Result<OwnedFd, LoadError> {
    // Only what this program refers to is opened; the other places are never looked at.
    let mut fd_array: Vec<RawFd> = vec![0; plan.modules.len() + 1];
    for number in &row.modules {
        let place = usize::try_from(*number).unwrap_or(usize::MAX);
        let module = place.checked_sub(1).and_then(|index| plan.modules.get(index));
        let (Some(entry), Some(module)) = (fd_array.get_mut(place), module) else {
            return Err(LoadError::Layout(format!(
                "program {} refers to module number {number}, which is not in the plan",
                row.name
            )));
        };
        *entry = modules.open(&row.name, module)?;
    }
    let mut instructions = function.instructions.clone();
    name_modules(&mut instructions, &fd_array)
        .map_err(|number| LoadError::Layout(format!("module number {number} is not in the plan")))?;
    let attach_module = row.attach.as_ref().and_then(|attach| attach.module.as_deref());
    if let Some(module) = attach_module {
        modules.open(&row.name, module)?;
    }
    let program = ProgLoad {
        program_type: row.program_type,
        expected_attach_type: row.expected_attach_type,
        flags: row.flags,
        name: if aya::features().bpf_name() { &row.name } else { "" },
        license: &object.license,
        kernel_version: kernel_version(),
        instructions: &instructions,
        btf: object_btf.map(AsFd::as_fd),
        func_info: records(function.func_info.func_info_bytes(), function.func_info.len()),
        line_info: records(function.line_info.line_info_bytes(), function.line_info.len()),
        attach_btf_id: row.attach.as_ref().map_or(0, |attach| attach.type_id),
        attach_btf: attach_module.and_then(|module| modules.opened.get(module).map(AsFd::as_fd)),
        fd_array: if row.modules.is_empty() { &[] } else { &fd_array },
    };
    program
        .load()
        .map_err(|Refused { error, log }| LoadError::Refused {
            program: row.name.clone(),
            error,
            log,
        })
}

/// LINUX_VERSION_CODE of the running kernel, or 0.
pub fn kernel_version() -> u32 {
    KernelVersion::current().map_or(0, KernelVersion::code)
}

/// aya writes each record with exactly the fields that it knows, whatever their size in the object was.
fn records(bytes: Vec<u8>, count: usize) -> Records {
    let size = bytes.len().checked_div(count).unwrap_or(0);
    let size = u32::try_from(size).unwrap_or(0);
    Records { bytes, size }
}

/// Modules' BTF, each opened once.
#[derive(Default)]
struct Modules {
    opened: BTreeMap<String, OwnedFd>,
}

impl Modules {
    fn open(&mut self, program: &str, module: &str) -> Result<RawFd, LoadError> {
        if let Some(fd) = self.opened.get(module) {
            return Ok(fd.as_raw_fd());
        }
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such module is loaded");
        let fd = btf::by_name(module)
            .and_then(|fd| fd.ok_or_else(missing))
            .map_err(|error| LoadError::Module {
                program: program.to_owned(),
                module: module.to_owned(),
                error,
            })?;
        let raw = fd.as_raw_fd();
        self.opened.insert(module.to_owned(), fd);
        Ok(raw)
    }
}

/// Loads of addresses of modules' variables name a module by its number in the plan; the kernel wants its BTF's
/// descriptor there. Number 0 is the kernel itself. The error is a number without a descriptor.
fn name_modules(instructions: &mut [bpf_insn], fds: &[RawFd]) -> Result<(), i32> {
    let mut rest = instructions.iter_mut();
    while let Some(first) = rest.next() {
        if first.code != LOAD_ADDRESS {
            continue;
        }
        let variable = first.src_reg() == BPF_PSEUDO_BTF_ID;
        if let Some(second) = rest.next()
            && variable
            && second.imm != 0
        {
            let place = usize::try_from(second.imm).ok();
            let fd = place.and_then(|place| fds.get(place)).filter(|fd| **fd != 0);
            second.imm = *fd.ok_or(second.imm)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::prog_load::instruction;

    #[test]
    fn only_addresses_of_modules_variables_get_a_descriptor() {
        let load = |source: u8, second: i32| [instruction(0x18, source << 4, 7), instruction(0, 0, second)];
        let mut program = [
            // A number, a map's descriptor, a variable of the kernel, and one of module 2.
            load(0, 2),
            load(1, 2),
            load(BPF_PSEUDO_BTF_ID, 0),
            load(BPF_PSEUDO_BTF_ID, 2),
        ]
        .concat();
        name_modules(&mut program, &[0, 0, 42]).unwrap();
        let seconds: Vec<i32> = program.iter().skip(1).step_by(2).map(|i| i.imm).collect();
        assert_eq!(seconds, [2, 2, 0, 42]);
        assert_eq!(name_modules(&mut load(BPF_PSEUDO_BTF_ID, 1), &[0, 0, 42]), Err(1));
        assert_eq!(name_modules(&mut load(BPF_PSEUDO_BTF_ID, 9), &[0, 0, 42]), Err(9));
    }

    #[test]
    fn a_plan_with_a_program_that_the_object_lacks_is_refused() {
        let error = load(b"no ELF", &LoadPlan::default(), &["p"], &BTreeMap::new()).unwrap_err();
        assert!(matches!(error, LoadError::Layout(_)), "{error}");
    }
}
