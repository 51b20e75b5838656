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
mod exceptions;
mod ext_out;
mod externs;
mod image;
mod kconfig;
mod lookup;
mod map_types;
mod names;
mod plan;
mod planning;
mod request;
mod select;
mod struct_ops;

use std::cell::Cell;
use std::collections::BTreeMap;

pub use error::ResolveError;
pub use plan::{
    AttachBtf, KernelBtfUse, LoadPlan, Loader, OwnReason, Poisoned, ProgramPlan, Resolved, StructOpsPlan,
};
pub use request::{AttachTo, MapSize, Request, Target};

use self::externs::Context;
use self::planning::Needs;
use self::select::Selection;
use self::struct_ops::Tables;
use crate::code::Code;
use crate::elf::Elf;
use crate::elf::{license, stated_endian, with_aligned};
use crate::initial::Maps;
use crate::kind::ProgramKind;
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
        run(&Elf::parse(bytes, stated_endian(bytes))?, request)
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
    let tables = Tables::read(elf, &code, btf.as_ref(), request.target)?;
    let selection = Selection::new(&programs, request.programs, &code, &maps, &tables)?;
    if let Some(btf) = &btf {
        exceptions::check(btf, &selection)?;
    }
    let mut bytes: BTreeMap<usize, Vec<u8>> = selection
        .owners
        .keys()
        .filter_map(|f| Some((*f, code.functions.get(*f)?.code.to_vec())))
        .collect();

    let mut attach = attach::find(&selection, request)?;
    let members = table_members(&selection, &tables, request, &mut attach)?;
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
        members,
        poisoned,
        relocated: relocated.kernel_btf,
        settled: &settled,
        listed: Cell::new(0),
    };
    let modules = request.target.kernel().map_or(&[][..], |t| t.modules);
    let plan = LoadPlan {
        programs: selection
            .programs
            .iter()
            .map(|chosen| needs.plan(chosen, request, &code))
            .collect::<Result<_, _>>()?,
        initial: maps.entries(|function| selection.program(function)),
        struct_ops: tables.plan(request.target, |function| selection.program(function)),
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

/// What programs of tables attach to, and the numbers of their members.
fn table_members(
    selection: &Selection<'_>,
    tables: &Tables<'_>,
    request: &Request<'_>,
    attach: &mut BTreeMap<String, AttachBtf>,
) -> Result<BTreeMap<String, u32>, ResolveError> {
    let mut members = BTreeMap::new();
    let Some(targets) = request.target.kernel() else {
        return Ok(members);
    };
    for chosen in &selection.programs {
        let name = &chosen.program.name;
        if chosen.program.kind == ProgramKind::StructOps {
            let (to, number) = tables.attach(name, chosen.function, targets)?;
            attach.insert(name.clone(), to);
            members.insert(name.clone(), number);
        }
    }
    Ok(members)
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
