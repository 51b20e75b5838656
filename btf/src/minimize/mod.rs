//! [`minimize`]: a kernel's BTF cut down to what the relocations of some objects ask of it.
//!
//! What is kept answers every relocation as the whole does, whichever of the objects' programs are used,
//! except [`TypeIdTarget`](crate::co_re::CoreKind::TypeIdTarget): ids are given anew and mean nothing to a
//! kernel. Types, members and enumerators that no answer depends on are left out, and so are typedefs,
//! qualifiers and the names of types that are only reached through others.

mod equal;
mod group;
mod keep;
mod write;

use crate::co_re::{CoreError, Steps, Targets};
use crate::ext::RelocationInfo;
use crate::parse::Btf;

/// An object's relocations, with its BTF.
#[derive(Clone, Copy)]
pub struct Source<'l> {
    /// The object's BTF.
    pub btf: &'l Btf<'l>,
    /// Its relocations, from [`BtfExt::relocations`](crate::BtfExt::relocations).
    pub relocations: &'l [RelocationInfo],
}

/// What is left of a kernel's BTF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimized {
    /// The BTF, in the byte order of the kernel's.
    pub bytes: Vec<u8>,
    /// How many relocations found something in the kernel.
    pub found: usize,
    /// How many found nothing, or do not fit their own object: they do so too with what is left.
    pub missing: usize,
}

/// Cuts the BTF of a kernel and its modules down to what some objects ask of it. Types of modules stand
/// beside the kernel's in one BTF: those that relocations mean because the kernel itself has none of their
/// name. What they consist of stands there without a name if the kernel's of that name is asked for.
/// (One BTF cannot hold two things: the shape of a module's type, compared by `TYPE_MATCHES`, with a nested
/// type whose name the kernel is asked for; and a field of a module that must not fit for the name of its
/// enum, where the kernel is asked for that enum.)
///
/// # Errors
/// [`CoreError::TooComplex`] for types nested so that comparing them has no end in sight.
pub fn minimize(sources: &[Source<'_>], targets: Targets<'_>) -> Result<Minimized, CoreError> {
    let mut steps = Steps::new();
    let groups = group::groups(sources, targets);
    let mut kept = keep::Kept::new(targets, groups.keys().cloned().collect());
    let (mut found, mut all) = (0, 0);
    for group in groups.values() {
        found += group.keep(targets, &mut kept, &mut steps)?;
        all += group.len();
    }
    kept.fill();
    let mut before = 0;
    while before != kept.extent() {
        before = kept.extent();
        for group in groups.values() {
            group.no_matches(&mut kept, &mut steps)?;
        }
    }
    let unfit = sources.iter().map(|s| s.relocations.len()).sum::<usize>() - all;
    Ok(Minimized {
        bytes: write::write(&kept),
        found,
        missing: all - found + unfit,
    })
}
