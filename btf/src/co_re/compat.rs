//! Whether types can stand for one another.

use super::error::CoreError;
use super::spec::{resolved, same_kind};
use super::steps::Steps;
use crate::kind::{Kind, MAX_DEPTH};
use crate::name::essential;
use crate::parse::Btf;
use crate::types::Type;

/// Deepest nesting of prototypes (libbpf's level).
const MAX_LEVEL: u32 = 32;

/// Whether a field of one type can be read as another (libbpf's bpf_core_fields_are_compat): structs and
/// unions as each other, pointers always, integers of any size and sign, enums and forward declarations of
/// one name, arrays by their elements.
pub(crate) fn fields(
    local: &Btf<'_>,
    local_id: u32,
    target: &Btf<'_>,
    target_id: u32,
) -> Result<bool, CoreError> {
    let (mut local_id, mut target_id) = (local_id, target_id);
    // libbpf has no bound here; arrays of arrays this deep are no C.
    for _ in 0..MAX_DEPTH {
        let (l, t) = both(local, local_id, target, target_id)?;
        if l.kind().is_composite() && t.kind().is_composite() {
            return Ok(true);
        }
        if !same_kind(l.kind(), t.kind()) {
            return Ok(false);
        }
        match l.kind() {
            Kind::Ptr | Kind::Float => return Ok(true),
            Kind::Fwd | Kind::Enum | Kind::Enum64 => {
                let (a, b) = (essential(l.name_bytes()), essential(t.name_bytes()));
                return Ok(a.is_empty() || b.is_empty() || a == b);
            }
            Kind::Int => return Ok(whole(&l) && whole(&t)),
            Kind::Array => (local_id, target_id) = elements(&l, &t)?,
            _ => return Ok(false),
        }
    }
    Err(CoreError::TooDeep)
}

/// Whether a type exists as it is asked for (libbpf's bpf_core_types_are_compat): kinds agree along
/// pointers, arrays and prototypes; names and sizes do not matter.
pub(crate) fn types(
    local: &Btf<'_>,
    local_id: u32,
    target: &Btf<'_>,
    target_id: u32,
    steps: &mut Steps,
) -> Result<bool, CoreError> {
    types_within(local, local_id, target, target_id, MAX_LEVEL, steps)
}

fn types_within(
    local: &Btf<'_>,
    local_id: u32,
    target: &Btf<'_>,
    target_id: u32,
    level: u32,
    steps: &mut Steps,
) -> Result<bool, CoreError> {
    let (mut local_id, mut target_id) = (local_id, target_id);
    // The kinds of the types themselves, before typedefs are looked through.
    match (local.get(local_id), target.get(target_id)) {
        (Some(l), Some(t)) if same_kind(l.kind(), t.kind()) => {}
        (Some(_), Some(_)) => return Ok(false),
        _ => return Err(nowhere(target_id)),
    }
    for _ in 0..MAX_DEPTH {
        steps.take()?;
        let (l, t) = both(local, local_id, target, target_id)?;
        if !same_kind(l.kind(), t.kind()) {
            return Ok(false);
        }
        match l.kind() {
            Kind::Void | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd => {
                return Ok(true);
            }
            Kind::Int => return Ok(whole(&l) && whole(&t)),
            Kind::Ptr => (local_id, target_id) = (l.size_or_type(), t.size_or_type()),
            Kind::Array => (local_id, target_id) = elements(&l, &t)?,
            Kind::FuncProto => {
                if l.count() != t.count() {
                    return Ok(false);
                }
                for (a, b) in l.parameters().zip(t.parameters()) {
                    let level = level.checked_sub(1).ok_or(CoreError::TooDeep)?;
                    let (a, b) = both(local, a.type_id, target, b.type_id)?;
                    if !types_within(local, a.id(), target, b.id(), level, steps)? {
                        return Ok(false);
                    }
                }
                let (a, b) = both(local, l.size_or_type(), target, t.size_or_type())?;
                (local_id, target_id) = (a.id(), b.id());
            }
            _ => return Ok(false),
        }
    }
    Err(CoreError::TooDeep)
}

/// An integer that fills its storage from the start: no old-style bit field.
fn whole(t: &Type<'_>) -> bool {
    t.int().is_some_and(|int| int.offset == 0)
}

pub(crate) fn both<'l, 't>(
    local: &'l Btf<'_>,
    local_id: u32,
    target: &'t Btf<'_>,
    target_id: u32,
) -> Result<(Type<'l>, Type<'t>), CoreError> {
    let l = resolved(local, local_id).ok_or_else(|| CoreError::BadLocal {
        detail: format!("type {local_id} leads nowhere"),
    })?;
    let t = resolved(target, target_id).ok_or_else(|| nowhere(target_id))?;
    Ok((l, t))
}

pub(crate) fn elements(local: &Type<'_>, target: &Type<'_>) -> Result<(u32, u32), CoreError> {
    local
        .array()
        .zip(target.array())
        .map(|(a, b)| (a.element, b.element))
        .ok_or_else(|| nowhere(target.id()))
}

pub(crate) fn nowhere(id: u32) -> CoreError {
    CoreError::BadTarget {
        id,
        detail: "it leads nowhere".into(),
    }
}
