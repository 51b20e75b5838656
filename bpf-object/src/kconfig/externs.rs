//! Which externs an object has, of what type, and where each is placed.

use btf::{Btf, Kind, Linkage, Type};

use crate::globals::c_type;

use super::error::KconfigError;

/// Most externs of one object.
const MAX_EXTERNS: usize = 4096;
/// Most bytes of a name.
const MAX_NAME: usize = 512;

/// Types of externs (libbpf.c, `enum kcfg_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExternType {
    /// A bool of one byte.
    Bool,
    /// An integer of one byte: a character or a number.
    Char,
    /// A wider integer.
    Int,
    /// `enum libbpf_tristate`.
    Tristate,
    /// An array of integers of one byte.
    Text,
}

/// An extern.
#[derive(Debug, Clone)]
pub(super) struct Extern<'b> {
    pub(super) name: &'b str,
    pub(super) type_id: u32,
    pub(super) kind: ExternType,
    pub(super) signed: bool,
    /// Bytes.
    pub(super) size: u32,
    align: u32,
    /// Bytes from the start of the section.
    pub(super) offset: u32,
}

/// The externs of `.kconfig`, placed one after the other as libbpf does, and the size of all in bytes.
pub(super) fn placed<'b>(
    btf: &'b Btf<'b>,
    max_size: u32,
) -> Result<(Vec<Extern<'b>>, u32), Vec<KconfigError>> {
    let mut externs = read(btf)?;
    // libbpf.c, `cmp_externs`: by falling alignment, then rising size, then name.
    externs.sort_by(|a, b| {
        (std::cmp::Reverse(a.align), a.size, a.name).cmp(&(std::cmp::Reverse(b.align), b.size, b.name))
    });
    let mut end = 0u32;
    for found in &mut externs {
        let offset = end.checked_next_multiple_of(found.align);
        let Some((offset, next)) = offset
            .and_then(|offset| Some((offset, offset.checked_add(found.size)?)))
            .filter(|(_, next)| *next <= max_size)
        else {
            return Err(vec![KconfigError::TooLarge {
                what: "bytes",
                size: u64::from(end) + u64::from(found.size),
                limit: max_size.into(),
            }]);
        };
        (found.offset, end) = (offset, next);
    }
    Ok((externs, end))
}

fn read<'b>(btf: &'b Btf<'b>) -> Result<Vec<Extern<'b>>, Vec<KconfigError>> {
    let sections = || {
        btf.types()
            .filter(|t| t.kind() == Kind::Datasec && t.name() == ".kconfig")
    };
    let count: usize = sections().map(|t| t.count() as usize).sum();
    if count > MAX_EXTERNS {
        return Err(vec![KconfigError::TooLarge {
            what: "entries",
            size: count as u64,
            limit: MAX_EXTERNS as u64,
        }]);
    }
    let mut externs: Vec<Extern<'b>> = Vec::new();
    let mut errors = Vec::new();
    for entry in sections().flat_map(Type::variables) {
        let Some(t) = btf.get(entry.type_id) else {
            continue;
        };
        let name = t.name();
        if name.is_empty() || name.len() > MAX_NAME {
            continue;
        }
        if t.kind() == Kind::Var && t.linkage() != Some(Linkage::Extern) {
            continue;
        }
        match classify(btf, t) {
            Some(found) => externs.push(found),
            None => errors.push(KconfigError::UnsupportedType {
                name: name.into(),
                c_type: c_type(btf, t.id()),
            }),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    externs.sort_by_key(|found| found.name);
    externs.dedup_by_key(|found| found.name);
    Ok(externs)
}

/// libbpf.c, `find_kcfg_type`; `None` for a type that an extern cannot have.
fn classify<'b>(btf: &'b Btf<'b>, variable: Type<'b>) -> Option<Extern<'b>> {
    if variable.kind() != Kind::Var {
        return None;
    }
    let type_id = variable.target()?;
    let t = btf.get(type_id)?.resolved()?;
    let (kind, signed, size) = match t.kind() {
        Kind::Array => {
            let array = t.array()?;
            let element = btf.get(array.element)?.resolved()?;
            if scalar(&element)?.0 != ExternType::Char {
                return None;
            }
            (ExternType::Text, false, array.length)
        }
        _ => {
            let (kind, signed) = scalar(&t)?;
            (kind, signed, t.own_size()?)
        }
    };
    // libbpf's btf.c, `btf__align_of`.
    let align = match kind {
        ExternType::Text => 1,
        _ => size.min(btf.pointer_size()),
    };
    (size > 0 && align > 0).then_some(Extern {
        name: variable.name(),
        type_id,
        kind,
        signed,
        size,
        align,
        offset: 0,
    })
}

fn scalar(t: &Type<'_>) -> Option<(ExternType, bool)> {
    let size = t.own_size()?;
    match t.kind() {
        Kind::Int if t.int()?.bool => (size == 1).then_some((ExternType::Bool, false)),
        Kind::Int => match size {
            1 => Some((ExternType::Char, is_signed(t))),
            2 | 4 | 8 => Some((ExternType::Int, is_signed(t))),
            _ => None,
        },
        Kind::Enum | Kind::Enum64 if t.name_bytes() == b"libbpf_tristate" => {
            let wanted = if t.kind() == Kind::Enum { 4 } else { 8 };
            (size == wanted).then_some((ExternType::Tristate, false))
        }
        _ => None,
    }
}

fn is_signed(t: &Type<'_>) -> bool {
    t.int().is_some_and(|int| int.signed)
}
