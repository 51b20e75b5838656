//! An object made ready for this kernel, with what was chosen of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bpf_object::{
    AttachTo, ExternKind, MapSize, ObjectInfo, Request as Resolving, ResolveError, Resolved, Target,
    kconfig::KconfigData, known_kconfig_of,
};
use bpfleet_crds::{NodeReason, map::MapSettings};
use bpfleet_fit::{Attach, Choice};
use btf::{
    Btf,
    co_re::{Module, Targets},
};

use super::{
    attempt::Miss,
    error,
    kernel_data::{KernelData, addresses},
    request::Failure,
};

/// Resolves the object for this kernel: only the programs that were chosen, each for the place that was chosen.
pub fn resolve(
    bytes: &[u8],
    object: &ObjectInfo,
    choice: &Choice,
    maps: &[MapSettings],
    kernel: &mut KernelData,
) -> Result<Resolved, Miss> {
    let chosen: BTreeSet<String> = choice
        .hooks
        .iter()
        .map(|chosen| chosen.hook.program.name.clone())
        .collect();
    let has_externs = |kind| object.externs.iter().any(|e| e.kind == kind);
    let needs_btf = has_externs(ExternKind::Kfunc)
        || has_externs(ExternKind::Ksym)
        || choice.hooks.iter().any(|chosen| {
            let program = &chosen.hook.program;
            program.kind.needs_kernel_btf() || object.program_needs_target_btf(&program.name)
        });
    if needs_btf {
        kernel.read_btf()?;
    }
    let kconfig = if has_externs(ExternKind::Kconfig) {
        kconfig(bytes, kernel)?
    } else {
        KconfigData::default()
    };
    let ksyms = if has_externs(ExternKind::Ksym) {
        let names = object.externs.iter().filter(|e| e.kind == ExternKind::Ksym);
        addresses(&names.map(|e| e.name.as_str()).collect()).map_err(|error| {
            Failure::new(
                NodeReason::KernelSymbolMissing,
                format!("addresses of kernel symbols cannot be read from /proc/kallsyms: {error}"),
            )
        })?
    } else {
        BTreeMap::new()
    };
    let attach = places(choice);
    let sizes = sizes(object, maps);
    let prefix = choice
        .hooks
        .iter()
        .any(|chosen| matches!(chosen.hook.attach, Attach::Syscall { .. }))
        .then(|| kernel.syscall_prefix())
        .flatten();
    let parts = Parts {
        programs: chosen,
        attach,
        kconfig,
        ksyms,
        sizes,
        prefix,
    };
    let refused = |error: ResolveError| error::resolving(&error);
    let first = {
        let own = own_btf(kernel)?;
        let target = own
            .as_ref()
            .map_or(Target::None, |own| Target::Kernel(Targets::kernel(own)));
        bpf_object::resolve(bytes, &parts.request(target))
    };
    if kernel.btf().is_none() || !wants_modules(&first) {
        return first.map_err(refused);
    }
    // Something was not found in the kernel itself: modules may have it.
    kernel.read_modules();
    let Some(own) = own_btf(kernel)? else {
        return first.map_err(refused);
    };
    let modules: Vec<Module<'_>> = kernel
        .modules()
        .iter()
        .filter_map(|(name, bytes)| {
            Some(Module {
                name: name.clone(),
                btf: Btf::parse_split(&**bytes, own.clone()).ok()?,
            })
        })
        .collect();
    let targets = Targets {
        kernel: &own,
        modules: &modules,
    };
    bpf_object::resolve(bytes, &parts.request(Target::Kernel(targets))).map_err(refused)
}

/// What the object is resolved with, whatever the types.
struct Parts {
    programs: BTreeSet<String>,
    attach: BTreeMap<String, AttachTo>,
    kconfig: KconfigData,
    ksyms: BTreeMap<String, u64>,
    sizes: BTreeMap<String, MapSize>,
    prefix: Option<&'static str>,
}

impl Parts {
    fn request<'p>(&'p self, target: Target<'p>) -> Resolving<'p> {
        Resolving {
            programs: Some(&self.programs),
            attach: &self.attach,
            kconfig: Some(&self.kconfig),
            ksyms: &self.ksyms,
            map_sizes: &self.sizes,
            syscall_prefix: self.prefix,
            ..Resolving::new(target)
        }
    }
}

fn own_btf(kernel: &KernelData) -> Result<Option<Arc<Btf<'_>>>, Failure> {
    kernel
        .btf()
        .map(Btf::parse)
        .transpose()
        .map(|own| own.map(Arc::new))
        .map_err(|error| {
            Failure::new(
                NodeReason::BtfMissing,
                format!("the kernel's BTF cannot be read: {error}"),
            )
        })
}

/// Whether something was not found that a module could have.
fn wants_modules(resolved: &Result<Resolved, ResolveError>) -> bool {
    match resolved {
        Ok(resolved) => resolved
            .plan
            .programs
            .iter()
            .any(|program| !program.poisoned.is_empty()),
        Err(error) => matches!(
            error,
            ResolveError::AttachTargetMissing { .. }
                | ResolveError::ModuleMissing { .. }
                | ResolveError::SymbolMissing { .. }
        ),
    }
}

fn kconfig(bytes: &[u8], kernel: &mut KernelData) -> Result<KconfigData, Failure> {
    let config = kernel.kconfig();
    let facts = kernel.extern_facts();
    known_kconfig_of(bytes, config.as_ref(), &facts)
        .map_err(|error| Failure::new(NodeReason::KernelConfigMissing, error.to_string()))
}

/// What programs are tied to when they are loaded.
fn places(choice: &Choice) -> BTreeMap<String, AttachTo> {
    let one = |module: Option<&String>, name: &str| AttachTo {
        module: module.cloned(),
        name: name.to_owned(),
    };
    choice
        .hooks
        .iter()
        .filter_map(|chosen| {
            let to = match &chosen.hook.attach {
                Attach::Trampoline { function } => one(function.module.as_ref(), &function.name),
                Attach::Lsm { hook } | Attach::LsmCgroup { hook, .. } => one(None, hook),
                Attach::BtfTracepoint { name } | Attach::Syscall { name } => one(None, name),
                _ => return None,
            };
            Some((chosen.hook.program.name.clone(), to))
        })
        .collect()
}

/// Sizes of maps that this object has.
fn sizes(object: &ObjectInfo, maps: &[MapSettings]) -> BTreeMap<String, MapSize> {
    maps.iter()
        .filter(|map| object.map(&map.name).is_some())
        .map(|map| {
            let size = MapSize {
                max_entries: map.max_entries,
                value_size: map.value_size,
            };
            (map.name.clone(), size)
        })
        .collect()
}
