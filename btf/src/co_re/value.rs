//! What a relocation's answer is, given what it refers to here and there.

use super::error::CoreError;
use super::kind::CoreKind;
use super::spec::{Spec, resolved};
use crate::endian::Endian;
use crate::kind::Kind;
use crate::parse::Btf;
use crate::types::Type;

/// The answer to a relocation.
#[derive(Clone)]
pub struct Outcome<'t> {
    /// What it asked.
    pub kind: CoreKind,
    /// What the instruction holds by the object's own types.
    pub original: u64,
    /// What it must hold for the kernel; `None` poisons it: the kernel has no such thing.
    pub value: Option<u64>,
    /// Whether the instruction must hold `original` before it is changed.
    pub validate: bool,
    /// Bytes that a load or store of the field takes by the object's own types; 0 if it is none.
    pub original_size: u32,
    /// Bytes that it takes for the kernel.
    pub size: u32,
    /// The sizes differ, and a load or store of the kernel's size would give another value: such an
    /// instruction is poisoned.
    pub unfit: bool,
    /// What it refers to in the kernel, if there is such a thing.
    pub target: Option<Spec<'t>>,
}

/// One side of an answer.
struct Side {
    value: u64,
    validate: bool,
    size: u32,
    type_id: u32,
}

impl<'t> Outcome<'t> {
    /// The answer for a local access and its counterpart, if there is one.
    pub(crate) fn new(
        kind: CoreKind,
        local: &Spec<'_>,
        target: Option<Spec<'t>>,
        endian: Endian,
    ) -> Result<Self, CoreError> {
        let mut outcome = Outcome {
            kind,
            original: 0,
            value: None,
            validate: true,
            original_size: 0,
            size: 0,
            unfit: false,
            target: None,
        };
        if kind.is_type() {
            outcome.original = type_value(kind, local).map_err(here)?;
            outcome.validate = kind != CoreKind::TypeIdTarget;
            outcome.value = Some(target.as_ref().map_or(Ok(0), |t| type_value(kind, t))?);
        } else if kind == CoreKind::EnumvalExists {
            outcome.original = 1;
            outcome.value = Some(u64::from(target.is_some()));
        } else if kind == CoreKind::EnumvalValue {
            outcome.original = enumerator_value(local).map_err(here)?;
            outcome.value = target.as_ref().map(enumerator_value).transpose()?;
        } else if kind == CoreKind::FieldExists {
            outcome.original = 1;
            outcome.value = Some(u64::from(target.is_some()));
        } else {
            let own = field_value(kind, local, endian).map_err(here)?;
            outcome.original = own.value;
            outcome.original_size = own.size;
            outcome.validate = own.validate;
            if let Some(target) = &target {
                let there = field_value(kind, target, endian)?;
                outcome.value = Some(there.value);
                outcome.size = there.size;
                outcome.unfit =
                    own.size != there.size && !resizable(local.btf, own.type_id, target.btf, there.type_id);
            }
        }
        outcome.target = target;
        Ok(outcome)
    }
}

fn bad(id: u32, detail: &str) -> CoreError {
    CoreError::BadTarget {
        id,
        detail: detail.into(),
    }
}

/// The same of the object's own type.
fn here(error: CoreError) -> CoreError {
    match error {
        CoreError::BadTarget { id, detail } => CoreError::BadLocal {
            detail: format!("type {id}: {detail}"),
        },
        other => other,
    }
}

/// Whether a load of another width gives the same value: of pointers and of unsigned integers, whose
/// upper bits are zero.
fn resizable(local: &Btf<'_>, local_id: u32, target: &Btf<'_>, target_id: u32) -> bool {
    let (Some(a), Some(b)) = (local.get(local_id), target.get(target_id)) else {
        return false;
    };
    // Signed alone, and not a signed character: the whole encoding is compared, as libbpf does.
    let unsigned = |t: &Type<'_>| t.int().is_some_and(|int| int.raw != 1);
    a.kind() == Kind::Ptr && b.kind() == Kind::Ptr || unsigned(&a) && unsigned(&b)
}

fn type_value(kind: CoreKind, spec: &Spec<'_>) -> Result<u64, CoreError> {
    match kind {
        CoreKind::TypeIdTarget | CoreKind::TypeIdLocal => Ok(u64::from(spec.root)),
        CoreKind::TypeSize => spec
            .btf
            .size(spec.root)
            .map(u64::from)
            .ok_or_else(|| bad(spec.root, "it has no size")),
        _ => Ok(1),
    }
}

/// Values of 4-byte enums are sign-extended whatever the enum says of its sign, as libbpf does.
fn enumerator_value(spec: &Spec<'_>) -> Result<u64, CoreError> {
    let found = spec.accessors.first().and_then(|accessor| {
        let t = spec.btf.get(accessor.type_id)?;
        let value = t.enumerator(u32::try_from(accessor.index).ok()?)?.value;
        Some(match t.kind() {
            Kind::Enum => i64::from(value as i32),
            _ => value,
        })
    });
    found
        .map(i64::cast_unsigned)
        .ok_or_else(|| bad(spec.root, "it has no such enumerator"))
}

fn field_value(kind: CoreKind, spec: &Spec<'_>, endian: Endian) -> Result<Side, CoreError> {
    let Some(accessor) = spec.accessors.last() else {
        return Err(bad(spec.root, "nothing of it is accessed"));
    };
    let size_of = |id: u32| spec.btf.size(id).ok_or_else(|| bad(id, "it has no size"));
    if accessor.name.is_none() {
        return element_value(kind, spec, accessor.type_id);
    }
    let member = u32::try_from(accessor.index)
        .ok()
        .and_then(|index| spec.btf.get(accessor.type_id)?.member(index))
        .ok_or_else(|| bad(accessor.type_id, "it has no such member"))?;
    let t = resolved(spec.btf, member.type_id).ok_or_else(|| bad(member.type_id, "it leads nowhere"))?;
    let bit_offset = spec.bit_offset;
    let bit_field = member.bit_size > 0;
    let (byte_offset, byte_size, bit_size) = if bit_field {
        let (offset, size) = storage(bit_offset, member.bit_size, t.size_or_type())?;
        (offset, size, member.bit_size)
    } else {
        let size = size_of(t.id())?;
        (bit_offset / 8, size, size.wrapping_mul(8))
    };
    let mut side = Side {
        value: 0,
        // What a compiler makes of a bit field differs; its sign and its right shift do not.
        validate: !bit_field || matches!(kind, CoreKind::FieldSigned | CoreKind::FieldRshiftU64),
        size: 0,
        type_id: 0,
    };
    side.value = match kind {
        CoreKind::FieldByteOffset => {
            if !bit_field {
                side.size = size_of(innermost(spec.btf, t)?.id())?;
                side.type_id = t.id();
            }
            u64::from(byte_offset)
        }
        CoreKind::FieldByteSize => u64::from(byte_size),
        CoreKind::FieldSigned => {
            u64::from(t.kind().is_enum() && t.flag() || t.int().is_some_and(|int| int.signed))
        }
        CoreKind::FieldLshiftU64 => {
            let within = bit_offset.wrapping_sub(byte_offset.wrapping_mul(8));
            u64::from(match endian {
                Endian::Little => 64u32.wrapping_sub(within.wrapping_add(bit_size)),
                Endian::Big => 8u32.wrapping_sub(byte_size).wrapping_mul(8).wrapping_add(within),
            })
        }
        CoreKind::FieldRshiftU64 => u64::from(64u32.wrapping_sub(bit_size)),
        other => return Err(CoreError::UnknownKind(other)),
    };
    Ok(side)
}

/// Where a bit field is loaded from, and in how many bytes: the smallest aligned integer that holds it,
/// from its own type's size on.
fn storage(bit_offset: u32, bit_size: u32, type_size: u32) -> Result<(u32, u32), CoreError> {
    let mut size = type_size;
    loop {
        let unit = size.checked_mul(8).filter(|bits| *bits > 0);
        let unit = unit.ok_or(CoreError::WideBitField)?;
        let offset = bit_offset / unit * size;
        let within = bit_offset.wrapping_sub(offset.wrapping_mul(8));
        if within.wrapping_add(bit_size) <= unit {
            return Ok((offset, size));
        }
        if size >= 8 {
            return Err(CoreError::WideBitField);
        }
        size *= 2;
    }
}

/// Element of an array: of its own only offset and size can be asked.
fn element_value(kind: CoreKind, spec: &Spec<'_>, id: u32) -> Result<Side, CoreError> {
    let size_of = |id: u32| spec.btf.size(id).ok_or_else(|| bad(id, "it has no size"));
    let mut side = Side {
        value: 0,
        validate: true,
        size: 0,
        type_id: 0,
    };
    match kind {
        CoreKind::FieldByteOffset => {
            let t = resolved(spec.btf, id).ok_or_else(|| bad(id, "it leads nowhere"))?;
            side.value = u64::from(spec.bit_offset / 8);
            side.size = size_of(innermost(spec.btf, t)?.id())?;
            side.type_id = id;
        }
        CoreKind::FieldByteSize => side.value = u64::from(size_of(id)?),
        _ => {
            return Err(CoreError::BadLocal {
                detail: format!("the {kind} of an array's element cannot be asked"),
            });
        }
    }
    Ok(side)
}

/// The element of an array of arrays that is no array; a load takes that much.
fn innermost<'b>(btf: &'b Btf<'_>, t: Type<'b>) -> Result<Type<'b>, CoreError> {
    let mut t = t;
    for _ in 0..crate::kind::MAX_DEPTH {
        let Some(array) = t.array() else {
            return Ok(t);
        };
        t = resolved(btf, array.element).ok_or_else(|| bad(array.element, "it leads nowhere"))?;
    }
    Err(CoreError::TooDeep)
}
