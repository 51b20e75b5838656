//! The counterpart of a local access in a type of the kernel.

use super::access::MAX_STEPS;
use super::compat;
use super::error::CoreError;
use super::kind::CoreKind;
use super::shape::Pair;
use super::spec::{Accessor, Spec, resolved};
use super::steps::Steps;
use crate::name::essential;
use crate::parse::Btf;

/// Finds what a local access is in the type `id` of `target`; `None` if the type has no such thing
/// (libbpf's bpf_core_spec_match).
pub(crate) fn find<'t>(
    kind: CoreKind,
    local: &Spec<'_>,
    target: &'t Btf<'_>,
    id: u32,
    steps: &mut Steps,
) -> Result<Option<Spec<'t>>, CoreError> {
    let mut found = Spec::new(target, id);
    Ok(follow(kind, local, &mut found, steps)?.then_some(found))
}

/// The same from the root that `found` has. What it has after an error is how far it went.
pub(crate) fn follow(
    kind: CoreKind,
    local: &Spec<'_>,
    found: &mut Spec<'_>,
    steps: &mut Steps,
) -> Result<bool, CoreError> {
    match kind {
        CoreKind::TypeMatches => {
            let pair = Pair {
                local: local.btf,
                target: found.btf,
            };
            pair.matches(local.root, found.root, steps, &mut ())
        }
        _ if kind.is_type() => compat::types(local.btf, local.root, found.btf, found.root, steps),
        _ if kind.is_enumerator() => enumerator(local, found, steps),
        _ => field(local, found, steps),
    }
}

/// Finds the enumerator of the local one's name, flavours aside.
fn enumerator(local: &Spec<'_>, found: &mut Spec<'_>, steps: &mut Steps) -> Result<bool, CoreError> {
    let t = resolved(found.btf, found.root).ok_or_else(|| compat::nowhere(found.root))?;
    let Some(wanted) = local.accessors.first().and_then(|a| a.name) else {
        return Ok(false);
    };
    for (index, enumerator) in (0..).zip(t.enumerators()) {
        steps.take()?;
        let name = enumerator.name_bytes();
        if essential(name) == essential(wanted) {
            found.accessors.push(Accessor {
                type_id: t.id(),
                index,
                name: Some(name),
            });
            found.steps.push(index);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Follows the local access by names and elements.
fn field(local: &Spec<'_>, found: &mut Spec<'_>, steps: &mut Steps) -> Result<bool, CoreError> {
    let mut id = found.root;
    for (position, accessor) in local.accessors.iter().enumerate() {
        let t = resolved(found.btf, id).ok_or_else(|| compat::nowhere(id))?;
        if accessor.name.is_some() {
            match member(local, accessor, found, t.id(), steps)? {
                Some(next) => id = next,
                None => return Ok(false),
            }
            continue;
        }
        // The first is the root itself, as an element of an array that is not spoken of.
        id = if position == 0 {
            t.id()
        } else {
            let Some(array) = t.array() else {
                return Ok(false);
            };
            if !found.within(&array, accessor.index) {
                return Ok(false);
            }
            resolved(found.btf, array.element)
                .ok_or_else(|| compat::nowhere(array.element))?
                .id()
        };
        if found.steps.len() == MAX_STEPS {
            return Err(CoreError::TooDeep);
        }
        found.accessors.push(Accessor {
            type_id: id,
            index: accessor.index,
            name: None,
        });
        found.steps.push(accessor.index);
        // libbpf takes no size of 2 GiB or more here.
        found
            .btf
            .size(id)
            .filter(|size| i32::try_from(*size).is_ok())
            .and_then(|_| found.advance(accessor.index, id))
            .ok_or_else(|| CoreError::BadTarget {
                id,
                detail: "it has no size".into(),
            })?;
    }
    Ok(true)
}

/// Finds a member by its name, through anonymous ones; gives its type if it is compatible (libbpf's
/// bpf_core_match_member).
fn member(
    local: &Spec<'_>,
    accessor: &Accessor<'_>,
    found: &mut Spec<'_>,
    id: u32,
    steps: &mut Steps,
) -> Result<Option<u32>, CoreError> {
    let t = resolved(found.btf, id).ok_or_else(|| compat::nowhere(id))?;
    if !t.kind().is_composite() {
        return Ok(None);
    }
    let wanted = accessor.name.unwrap_or(&[]);
    for (index, candidate) in (0..).zip(t.members()) {
        steps.take()?;
        if found.steps.len() == MAX_STEPS {
            return Err(CoreError::TooDeep);
        }
        let name = candidate.name_bytes();
        if name.is_empty() {
            let before = found.bit_offset;
            found.bit_offset = before.wrapping_add(candidate.bit_offset);
            found.steps.push(index);
            if let Some(next) = member(local, accessor, found, candidate.type_id, steps)? {
                return Ok(Some(next));
            }
            found.steps.pop();
            found.bit_offset = before;
        } else if name == wanted {
            let own = u32::try_from(accessor.index)
                .ok()
                .and_then(|index| local.btf.get(accessor.type_id)?.member(index))
                .ok_or_else(|| CoreError::BadLocal {
                    detail: format!("type {} has no member {}", accessor.type_id, accessor.index),
                })?;
            if !compat::fields(local.btf, own.type_id, found.btf, candidate.type_id)? {
                return Ok(None);
            }
            found.bit_offset = found.bit_offset.wrapping_add(candidate.bit_offset);
            found.steps.push(index);
            found.accessors.push(Accessor {
                type_id: t.id(),
                index,
                name: Some(name),
            });
            return Ok(Some(candidate.type_id));
        }
    }
    Ok(None)
}
