//! [`resolve`]: an object and what is known of a kernel, made into an ELF file that aya opens as it is,
//! and a plan for loading it.
//!
//! In order: choose the programs and what they reach (`select`), relocate their instructions (`core`),
//! settle what the kernel is to supply (`kconfig`, `externs`, `attach`), mend and rewrite the types
//! (`map_types`, `btf_fix`), put the functions into new sections (`image`), write it (`ext_out`,
//! `elf_out`). Each takes values and gives values.

mod attach;
mod btf_fix;
mod core;
mod elf_out;
mod error;
mod ext_out;
mod externs;
mod image;
mod kconfig;
mod lookup;
mod map_types;
mod maps;
mod names;
mod plan;
mod request;
mod select;

use std::collections::BTreeMap;

use btf::Endian;

pub use error::ResolveError;
pub use plan::{
    AttachBtf, InitialEntry, InitialValue, KernelBtfUse, LoadPlan, Loader, OwnReason, Poisoned, ProgramPlan,
    Resolved,
};
pub use request::{AttachTo, Kconfig, KconfigPlace, MapSize, Request, Target};

use self::core::Poison;
use self::externs::{Context, Settled};
use self::maps::{Maps, Value};
use self::select::{Chosen, Selection};
use crate::code::Code;
use crate::elf::Elf;
use crate::info::{license, with_aligned};
use crate::instruction::INSTRUCTION;
use crate::map::{self, Map, MapSource};
use crate::program;
use crate::relocations;

/// Section names for configuration values; the first that the object does not use itself.
const KCONFIG: [&str; 2] = [".rodata.kconfig", ".rodata.kconfig.1"];

/// Resolves an object for a kernel. The result is of the object's byte order.
///
/// # Errors
/// What is wrong, with what, why, and what to do about it.
pub fn resolve(bytes: &[u8], request: &Request<'_>) -> Result<Resolved, ResolveError> {
    with_aligned(bytes, |bytes| {
        // Of a file that says neither, the reader tells what it is.
        let endian = match bytes.get(5) {
            Some(1) => Endian::Little,
            Some(2) => Endian::Big,
            _ => Endian::HOST,
        };
        run(&Elf::parse(bytes, endian)?, request)
    })
}

fn run(elf: &Elf<'_>, request: &Request<'_>) -> Result<Resolved, ResolveError> {
    let programs = program::read(elf)?;
    let code = Code::read(elf)?;
    let btf = elf.btf()?;
    let ext = elf.btf_ext()?.filter(|_| btf.is_some());
    let infos = map::read(elf, btf.as_ref())?;
    let maps = Maps::read(elf, &code, btf.as_ref(), &infos)?;
    check_globals(elf, &infos, request)?;
    map_types::check(&infos, request.map_sizes)?;
    let selection = Selection::new(&programs, request.programs, &code, &maps)?;
    let mut bytes: BTreeMap<usize, Vec<u8>> = selection
        .owners
        .keys()
        .filter_map(|f| Some((*f, code.functions.get(*f)?.code.to_vec())))
        .collect();

    let attach = attach::find(&selection, request)?;
    let relocated = match (&btf, &ext) {
        (Some(btf), Some(ext)) => {
            let object = core::Object {
                elf,
                code: &code,
                btf,
                ext,
            };
            core::apply(
                &object,
                &relocations::read(elf, btf)?,
                &selection,
                request.target,
                &mut bytes,
            )?
        }
        _ => core::Relocated::default(),
    };
    let layout = kconfig::Layout::new(elf, btf.as_ref(), request.kconfig)?;
    let context = Context {
        elf,
        code: &code,
        btf: btf.as_ref(),
        selection: &selection,
        request,
    };
    let mut settled = externs::settle(&context, &layout, &mut bytes)?;
    let links = image::link(elf, &code, &maps, &infos, &selection, &settled, &mut bytes)?;
    let sections = image::place(&code, &selection, &bytes, &links)?;

    let kconfig_name = KCONFIG
        .into_iter()
        .find(|n| elf.section(n).is_none())
        .unwrap_or(".rodata.kconfig");
    let written = match &btf {
        None => None,
        Some(btf) => {
            let redefined = map_types::redefine(btf, &maps, request.map_sizes)?;
            let changes = btf_fix::Changes {
                added: redefined.added,
                retyped: redefined.retyped,
                kconfig: (kconfig_name, &layout),
            };
            let mut builder = btf_fix::rewrite(elf, btf, changes)?;
            let ext = match &ext {
                Some(ext) => {
                    Some(ext_out::Source::read(elf, btf, ext)?.write(&sections, &mut builder, elf.endian))
                }
                None => None,
            };
            Some((builder.finish(), ext))
        }
    };
    let license = license(elf).unwrap_or_default();
    let file = elf_out::write(&elf_out::Contents {
        elf,
        sections: &sections,
        maps: &maps,
        infos: &infos,
        globals: request.globals,
        kconfig: (!settled.kconfig.is_empty()).then_some((kconfig_name, layout.bytes.as_slice())),
        license: &license,
        btf: written,
    })?;

    let mut poisoned = relocated.poisoned;
    poisoned.append(&mut settled.poisoned);
    let needs = Needs {
        attach,
        poisoned,
        relocated: relocated.kernel_btf,
        settled: &settled,
    };
    let modules = request.target.kernel().map_or(&[][..], |t| t.modules);
    let plan = LoadPlan {
        programs: selection
            .programs
            .iter()
            .map(|chosen| needs.plan(chosen, request, &code))
            .collect::<Result<_, _>>()?,
        initial: initial(&maps, &code, &selection)?,
        license,
        modules: settled
            .modules
            .iter()
            .filter_map(|index| Some(modules.get(*index)?.name.clone()))
            .collect(),
    };
    let attached = plan.programs.iter().any(|p| p.attach.is_some());
    Ok(Resolved {
        elf: file,
        holds_addresses: settled.holds_addresses || relocated.holds_ids || attached,
        plan,
    })
}

/// Values replace whole sections, so that they must be as long as these.
fn check_globals(elf: &Elf<'_>, infos: &[Map], request: &Request<'_>) -> Result<(), ResolveError> {
    for (name, values) in request.globals {
        let wrong = |detail: String| ResolveError::Globals {
            section: name.clone(),
            detail,
        };
        let Some(map) = infos
            .iter()
            .find(|m| m.name == *name && matches!(m.source, MapSource::Data { .. }))
        else {
            return Err(wrong("the object has no such section of variables".into()));
        };
        if values.len() != map.value_size as usize {
            return Err(wrong(format!(
                "{} bytes are given, the section has {}",
                values.len(),
                map.value_size
            )));
        }
        let section = elf.section(name).map_or("", |s| s.name);
        if section.starts_with(".bss") && values.iter().any(|b| *b != 0) {
            return Err(wrong(
                "its variables begin as zero, and a loader has no place to say otherwise; initialise them \
                 in the source"
                    .into(),
            ));
        }
    }
    Ok(())
}

/// What was found out about the functions, from which each program's plan is made.
struct Needs<'n> {
    attach: BTreeMap<String, AttachBtf>,
    poisoned: Vec<Poison>,
    relocated: BTreeMap<usize, KernelBtfUse>,
    settled: &'n Settled,
}

impl Needs<'_> {
    fn plan(
        &self,
        chosen: &Chosen<'_>,
        request: &Request<'_>,
        code: &Code<'_>,
    ) -> Result<ProgramPlan, ResolveError> {
        let program = chosen.program;
        let loading =
            names::loading(program.kind, program.sleepable).ok_or_else(|| ResolveError::UnknownKind {
                program: program.name.clone(),
                section: program.section.clone(),
            })?;
        let attach = self.attach.get(&program.name).cloned();
        let mut modules: Vec<u32> = Vec::new();
        let mut kernel_btf = program
            .kind
            .needs_kernel_btf()
            .then_some(KernelBtfUse::Kind(program.kind));
        let starts: BTreeMap<usize, u32> = chosen.layout.iter().rev().copied().collect();
        for (function, _) in &chosen.layout {
            modules.extend(self.settled.used_modules.get(function).into_iter().flatten());
            let used = self
                .relocated
                .get(function)
                .or(self.settled.kernel_btf.get(function));
            kernel_btf = kernel_btf.or_else(|| used.cloned());
        }
        modules.sort_unstable();
        modules.dedup();
        let mut poisoned: Vec<Poisoned> = self
            .poisoned
            .iter()
            .filter_map(|poison| {
                let start = starts.get(&poison.function)?;
                Some(Poisoned {
                    instruction: start.saturating_add(u32::try_from(poison.at / INSTRUCTION).ok()?),
                    function: code.functions.get(poison.function)?.name.to_owned(),
                    message: poison.message.clone(),
                })
            })
            .collect();
        poisoned.sort_by_key(|p| p.instruction);
        let own = match (&attach, loading.own) {
            (_, Some(reason)) => Some(reason),
            _ if !modules.is_empty() => Some(OwnReason::ModuleBtf),
            (Some(AttachBtf { module: Some(_), .. }), _) => Some(OwnReason::ModuleTarget),
            _ => None,
        };
        Ok(ProgramPlan {
            name: program.name.clone(),
            section: program.section.clone(),
            kind: program.kind,
            target: program.target.clone(),
            program_type: loading.program_type,
            expected_attach_type: loading.attach_type,
            flags: loading.flags,
            attach,
            syscall_function: attach::syscall_function(program, request)?,
            loader: own.map_or(Loader::Aya, Loader::Own),
            wanted: chosen.wanted,
            poisoned,
            modules,
            needs_kernel_btf: kernel_btf,
        })
    }
}

/// Initialisers by name. Programs that did not stay leave their slots empty: no program that stayed uses
/// such a map.
fn initial(
    maps: &Maps<'_>,
    code: &Code<'_>,
    selection: &Selection<'_>,
) -> Result<Vec<InitialEntry>, ResolveError> {
    let mut out = Vec::new();
    for initial in &maps.initial {
        let Some(definition) = maps.get(initial.map) else {
            continue;
        };
        let value = match initial.value {
            Value::Map(index) => maps.get(index).map(|d| InitialValue::Map(d.map.name.clone())),
            Value::Function(function) => {
                let program = selection.programs.iter().find(|p| p.function == function);
                if program.is_none() && code.functions.get(function).is_some_and(|f| f.text) {
                    return Err(ResolveError::Unsupported {
                        program: definition.map.name.clone(),
                        what: "a subprogram as the value of a map".into(),
                        advice: "give the function a SEC() to make it a program",
                    });
                }
                program.map(|p| InitialValue::Program(p.program.name.clone()))
            }
        };
        out.extend(value.map(|value| InitialEntry {
            map: definition.map.name.clone(),
            index: initial.index,
            value,
        }));
    }
    Ok(out)
}
