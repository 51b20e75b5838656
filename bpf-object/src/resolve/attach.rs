//! What programs attach to, where the kernel must know it when they are loaded.

use std::collections::BTreeMap;

use btf::Kind;

use crate::kind::ProgramKind as K;
use crate::program::Program;
use crate::resolve::error::ResolveError;
use crate::resolve::lookup::{self, Wanted};
use crate::resolve::plan::{AttachBtf, KernelBtfUse};
use crate::resolve::request::{AttachTo, Request, Target};
use crate::resolve::select::Selection;
use crate::sec::SecTarget;

/// What the kernel itself is called among its modules.
const KERNEL: &str = "vmlinux";

/// Finds the types that the programs attach to, by program.
pub(crate) fn find(
    selection: &Selection<'_>,
    request: &Request<'_>,
) -> Result<BTreeMap<String, AttachBtf>, ResolveError> {
    let mut wanted = Wanted::new();
    // What is looked for in the kernel or in one module only.
    let mut within: BTreeMap<String, Wanted> = BTreeMap::new();
    let mut searched = Vec::new();
    for chosen in &selection.programs {
        let program = chosen.program;
        if !program.kind.needs_kernel_btf() {
            continue;
        }
        if request.target.kernel().is_none() {
            return Err(ResolveError::NeedsKernelBtf {
                program: program.name.clone(),
                used: KernelBtfUse::Kind(program.kind),
                supplied: matches!(request.target, Target::Supplied(_)),
            });
        }
        let Some((prefix, kind)) = naming(program.kind) else {
            continue;
        };
        let to = target(program, request).ok_or_else(|| ResolveError::NoAttachTarget {
            program: program.name.clone(),
            kind: program.kind.to_string(),
        })?;
        if let SecTarget::Function { name, offset, .. } = &program.target
            && *offset != 0
            && !request.attach.contains_key(&program.name)
        {
            return Err(ResolveError::Unsupported {
                program: program.name.clone(),
                what: format!("attaching {} at {name}+{offset:#x}", program.kind),
                advice: "it attaches to the start or end of a function: drop the offset, or use kprobe",
            });
        }
        let name = format!("{prefix}{}", to.name);
        let place = match &to.module {
            None => &mut wanted,
            Some(module) => within.entry(module.clone()).or_default(),
        };
        place.insert((kind, name.clone()));
        searched.push((program, to, kind, name));
    }
    let Some(targets) = request.target.kernel() else {
        return Ok(BTreeMap::new());
    };
    let found = lookup::find(targets, &wanted);
    let within: BTreeMap<String, Option<_>> = within
        .into_iter()
        .map(|(module, wanted)| {
            let loaded = targets.modules.iter().find(|m| m.name == module);
            let btf = match module.as_str() {
                KERNEL => Some(targets.kernel),
                _ => loaded.map(|m| &m.btf),
            };
            (module, btf.map(|btf| lookup::own(btf, &wanted)))
        })
        .collect();
    let mut out = BTreeMap::new();
    for (program, to, kind, name) in searched {
        let module_name = |index: usize| targets.modules.get(index).map(|m| m.name.clone());
        let place = match to.module.as_deref() {
            None => found
                .get(&(kind, name.clone()))
                .map(|f| (f.id, f.module.and_then(module_name))),
            Some(module) => {
                let own = within.get(module).and_then(Option::as_ref);
                let own = own.ok_or_else(|| ResolveError::ModuleMissing {
                    program: program.name.clone(),
                    name: name.clone(),
                    module: module.to_owned(),
                })?;
                let module = (module != KERNEL).then(|| module.to_owned());
                own.get(&(kind, name.clone())).map(|id| (*id, module))
            }
        };
        let (type_id, module) = place.ok_or_else(|| ResolveError::AttachTargetMissing {
            program: program.name.clone(),
            name: name.clone(),
            module: to.module.clone(),
        })?;
        out.insert(
            program.name.clone(),
            AttachBtf {
                type_id,
                module,
                name,
            },
        );
    }
    Ok(out)
}

/// What the kernel calls the types for a kind, and what they are.
fn naming(kind: K) -> Option<(&'static str, Kind)> {
    Some(match kind {
        K::BtfTracepoint => ("btf_trace_", Kind::Typedef),
        K::Lsm | K::LsmCgroup => ("bpf_lsm_", Kind::Func),
        K::Iter => ("bpf_iter_", Kind::Func),
        K::Fentry | K::Fexit | K::FmodRet => ("", Kind::Func),
        _ => return None,
    })
}

fn target(program: &Program, request: &Request<'_>) -> Option<AttachTo> {
    if let Some(given) = request.attach.get(&program.name) {
        return Some(given.clone());
    }
    match &program.target {
        SecTarget::Name(name) => Some(AttachTo {
            module: None,
            name: name.clone(),
        }),
        SecTarget::Function { module, name, .. } => Some(AttachTo {
            module: module.clone(),
            name: name.clone(),
        }),
        _ => None,
    }
}

/// The kernel's function for the system call that a program attaches to.
pub(crate) fn syscall_function(
    program: &Program,
    request: &Request<'_>,
) -> Result<Option<String>, ResolveError> {
    if !matches!(program.kind, K::Ksyscall | K::Kretsyscall) {
        return Ok(None);
    }
    let given = request.attach.get(&program.name).map(|to| to.name.as_str());
    let syscall = match (&program.target, given) {
        (_, Some(name)) => name,
        (SecTarget::Syscall(name), None) => name,
        // Given when it is attached.
        _ => return Ok(None),
    };
    match request.syscall_prefix {
        Some(prefix) => Ok(Some(format!("{prefix}{syscall}"))),
        None => Err(ResolveError::NoSyscallPrefix {
            program: program.name.clone(),
            syscall: syscall.into(),
        }),
    }
}
