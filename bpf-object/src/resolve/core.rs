//! CO-RE relocations of the functions that stay, applied to their instructions.

use std::collections::BTreeMap;

use btf::co_re::{CoreKind, Outcome, Patched, Relocator, Targets, patch};
use btf::{Btf, BtfExt};

use crate::code::{Code, executable};
use crate::core_relo::CoreRelocation;
use crate::elf::Elf;
use crate::resolve::error::ResolveError;
use crate::resolve::plan::KernelBtfUse;
use crate::resolve::request::Target;
use crate::resolve::select::Selection;

/// An instruction that stands for something the kernel does not have.
pub(crate) struct Poison {
    pub(crate) function: usize,
    /// Where it begins, in bytes from the start of the function.
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// What relocating found.
#[derive(Default)]
pub(crate) struct Relocated {
    pub(crate) poisoned: Vec<Poison>,
    /// What needs the kernel's own BTF, by function.
    pub(crate) kernel_btf: BTreeMap<usize, KernelBtfUse>,
    pub(crate) holds_ids: bool,
}

/// An object with BTF.
pub(crate) struct Object<'o, 'a> {
    pub(crate) elf: &'o Elf<'a>,
    pub(crate) code: &'o Code<'a>,
    pub(crate) btf: &'o Btf<'a>,
    pub(crate) ext: &'o BtfExt<'a>,
}

/// Applies the relocations; `described` are the same ones in the same order.
pub(crate) fn apply(
    object: &Object<'_, '_>,
    described: &[CoreRelocation],
    selection: &Selection<'_>,
    target: Target<'_>,
    out: &mut BTreeMap<usize, Vec<u8>>,
) -> Result<Relocated, ResolveError> {
    let Object { elf, code, btf, ext } = *object;
    let sections = executable(elf)?;
    let mut relocated = Relocated::default();
    // Questions about the object's own types are answered without a kernel.
    let nothing = btf::Builder::new(elf.endian).finish();
    let nothing = Btf::parse(nothing).map_err(crate::relocations::malformed)?;
    let targets = target.types().unwrap_or(Targets::kernel(&nothing));
    let mut relocator = Relocator::new(btf, targets);
    let records = ext.relocations().map_err(crate::relocations::malformed)?;
    for (record, described) in records.zip(described) {
        let (_, relocation) = record.map_err(crate::relocations::malformed)?;
        let place = sections
            .get(described.section.as_str())
            .and_then(|i| code.around(*i, described.instruction_offset));
        let Some((function, at)) = place else { continue };
        let Some(instructions) = out.get_mut(&function) else {
            continue;
        };
        let owner = || selection.owner(function);
        if target.types().is_none() && described.kind.needs_target_btf() {
            return Err(ResolveError::NeedsTargetBtf {
                program: owner(),
                what: described.describe(),
            });
        }
        let failed = |detail: String| ResolveError::Relocation {
            program: owner(),
            what: described.describe(),
            detail,
        };
        let outcome = relocator
            .relocate(&relocation)
            .map_err(|e| failed(e.to_string()))?;
        if described.kind == CoreKind::TypeIdTarget {
            type_id(&mut relocated, function, described, &outcome, target, owner)?;
        }
        match patch(instructions, at, elf.endian, &outcome).map_err(|e| failed(e.to_string()))? {
            Patched::Value => {}
            Patched::Poisoned => relocated.poisoned.push(Poison {
                function,
                at,
                message: described.describe_missing(),
            }),
        }
    }
    Ok(relocated)
}

/// Ids of the kernel's types mean something in the kernel's own BTF only.
fn type_id(
    relocated: &mut Relocated,
    function: usize,
    described: &CoreRelocation,
    outcome: &Outcome<'_>,
    target: Target<'_>,
    owner: impl Fn() -> String,
) -> Result<(), ResolveError> {
    let used = KernelBtfUse::TypeId(format!("{} {}", described.type_keyword, described.type_name));
    if target.kernel().is_none() {
        return Err(ResolveError::NeedsKernelBtf {
            program: owner(),
            used,
            supplied: matches!(target, Target::Supplied(_)),
        });
    }
    relocated.holds_ids |= outcome.value.is_some_and(|id| id != 0);
    relocated.kernel_btf.entry(function).or_insert(used);
    Ok(())
}
