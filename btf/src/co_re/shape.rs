//! Whether a type of the kernel has the shape of a local one (libbpf's bpf_core_types_match).

use super::compat::{both, elements};
use super::error::CoreError;
use super::steps::Steps;
use crate::kind::{Kind, MAX_DEPTH};
use crate::name::essential;
use crate::parse::Btf;
use crate::types::Type;

/// Deepest nesting of structs and prototypes (libbpf's level).
const MAX_LEVEL: u32 = 32;

/// Is told what a comparison looks at in the kernel's types, which is all that its result depends on.
pub(crate) trait Looked {
    /// A type's kind, name and size.
    fn at_type(&mut self, id: u32);
    /// That it has at least so many members or enumerators; says whether it shall be seen so.
    fn at_count(&mut self, id: u32, count: u32) -> bool;
    /// What a pointer, array or prototype consists of.
    fn at_parts(&mut self, id: u32);
    /// A member or enumerator; says whether it shall be seen.
    fn at_item(&mut self, id: u32, index: u32) -> bool;
}

/// Nobody wants to know.
impl Looked for () {
    fn at_type(&mut self, _: u32) {}
    fn at_count(&mut self, _: u32, _: u32) -> bool {
        true
    }
    fn at_parts(&mut self, _: u32) {}
    fn at_item(&mut self, _: u32, _: u32) -> bool {
        true
    }
}

/// Two BTFs whose types are compared.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'l, 't> {
    pub(crate) local: &'l Btf<'l>,
    pub(crate) target: &'t Btf<'t>,
}

impl Pair<'_, '_> {
    /// Every local member, enumerator and parameter has a counterpart of its name and shape. Behind
    /// pointers the names and kinds of structs are enough. The names of the roots were compared before.
    pub(crate) fn matches(
        self,
        local_id: u32,
        target_id: u32,
        steps: &mut Steps,
        looked: &mut impl Looked,
    ) -> Result<bool, CoreError> {
        self.within(local_id, target_id, false, MAX_LEVEL, steps, looked)
    }

    fn within(
        self,
        local_id: u32,
        target_id: u32,
        behind_pointer: bool,
        level: u32,
        steps: &mut Steps,
        looked: &mut impl Looked,
    ) -> Result<bool, CoreError> {
        if level == 0 {
            return Err(CoreError::TooDeep);
        }
        let (mut local_id, mut target_id) = (local_id, target_id);
        let mut behind_pointer = behind_pointer;
        for _ in 0..MAX_DEPTH {
            steps.take()?;
            let (l, t) = both(self.local, local_id, self.target, target_id)?;
            looked.at_type(t.id());
            if !names(l.name_bytes(), t.name_bytes()) {
                return Ok(false);
            }
            let same = l.kind() == t.kind();
            match l.kind() {
                Kind::Void => return Ok(same),
                Kind::Fwd => {
                    let declared = match t.kind() {
                        Kind::Struct => !l.flag(),
                        Kind::Union => l.flag(),
                        _ => false,
                    };
                    return Ok(same && l.flag() == t.flag() || behind_pointer && declared);
                }
                Kind::Enum | Kind::Enum64 => return Ok(t.kind().is_enum() && enums(l, t, steps, looked)?),
                Kind::Struct | Kind::Union if behind_pointer => {
                    return Ok(same || t.kind() == Kind::Fwd && (l.kind() == Kind::Union) == t.flag());
                }
                Kind::Struct | Kind::Union => {
                    return Ok(same && self.members(l, t, behind_pointer, level, steps, looked)?);
                }
                Kind::Int => {
                    let sign = |t: Type<'_>| t.int().is_some_and(|int| int.signed);
                    return Ok(same && l.own_size() == t.own_size() && sign(l) == sign(t));
                }
                Kind::Ptr if same => {
                    looked.at_parts(t.id());
                    behind_pointer = true;
                    (local_id, target_id) = (l.size_or_type(), t.size_or_type());
                }
                Kind::Array if same => {
                    looked.at_parts(t.id());
                    if l.array().map(|a| a.length) != t.array().map(|a| a.length) {
                        return Ok(false);
                    }
                    (local_id, target_id) = elements(&l, &t)?;
                }
                Kind::FuncProto if same && l.count() == t.count() => {
                    looked.at_parts(t.id());
                    for (a, b) in l.parameters().zip(t.parameters()) {
                        if !self.within(a.type_id, b.type_id, behind_pointer, level - 1, steps, looked)? {
                            return Ok(false);
                        }
                    }
                    (local_id, target_id) = (l.size_or_type(), t.size_or_type());
                }
                _ => return Ok(false),
            }
        }
        Err(CoreError::TooDeep)
    }

    fn members(
        self,
        l: Type<'_>,
        t: Type<'_>,
        behind_pointer: bool,
        level: u32,
        steps: &mut Steps,
        looked: &mut impl Looked,
    ) -> Result<bool, CoreError> {
        if l.count() > t.count() || !looked.at_count(t.id(), l.count()) {
            return Ok(false);
        }
        'local: for a in l.members() {
            for (index, b) in (0..).zip(t.members()) {
                steps.take()?;
                if !names(a.name_bytes(), b.name_bytes()) {
                    continue;
                }
                if looked.at_item(t.id(), index)
                    && self.within(a.type_id, b.type_id, behind_pointer, level - 1, steps, looked)?
                {
                    continue 'local;
                }
            }
            return Ok(false);
        }
        Ok(true)
    }
}

/// Every local enumerator has one of its name; sizes agree, values may differ.
fn enums(l: Type<'_>, t: Type<'_>, steps: &mut Steps, looked: &mut impl Looked) -> Result<bool, CoreError> {
    if l.own_size() != t.own_size() || l.count() > t.count() || !looked.at_count(t.id(), l.count()) {
        return Ok(false);
    }
    for a in l.enumerators() {
        let mut found = false;
        for (index, b) in (0..).zip(t.enumerators()) {
            steps.take()?;
            if names(a.name_bytes(), b.name_bytes()) && looked.at_item(t.id(), index) {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Names are the same, flavours aside; a nameless type of the kernel wants a nameless local one.
fn names(local: &[u8], target: &[u8]) -> bool {
    if target.is_empty() {
        return local.is_empty();
    }
    essential(local) == essential(target)
}
