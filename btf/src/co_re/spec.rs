//! [`Spec`]: an access, by position and by name.

use super::access;
use super::error::CoreError;
use super::kind::CoreKind;
use crate::ext::RelocationInfo;
use crate::kind::Kind;
use crate::parse::Btf;
use crate::types::{Array, Type};

/// A step with a meaning: into a named member, an array, or (the first) the root or an enumerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accessor<'b> {
    /// The struct or union whose member it is; for an array the element; else the root.
    pub type_id: u32,
    /// Which member, element or enumerator.
    pub index: i32,
    /// Name of the member or enumerator; `None` for an element or the root.
    pub name: Option<&'b [u8]>,
}

/// What a relocation refers to in one BTF: the object's, or a kernel's.
#[derive(Clone)]
pub struct Spec<'b> {
    /// The BTF.
    pub btf: &'b Btf<'b>,
    /// The type that the access begins at, or that is asked about.
    pub root: u32,
    /// Steps with a meaning.
    pub accessors: Vec<Accessor<'b>>,
    /// Every step, into anonymous members too.
    pub steps: Vec<i32>,
    /// Where the field begins, in bits from the start of the root.
    pub bit_offset: u32,
}

impl<'b> Spec<'b> {
    pub(crate) fn new(btf: &'b Btf<'_>, root: u32) -> Self {
        Spec {
            btf,
            root,
            accessors: Vec::new(),
            steps: Vec::new(),
            bit_offset: 0,
        }
    }

    /// Reads a relocation in the object's own BTF.
    pub(crate) fn local(
        btf: &'b Btf<'_>,
        relocation: &RelocationInfo,
        kind: CoreKind,
    ) -> Result<Self, CoreError> {
        let bad = |detail: String| CoreError::BadLocal { detail };
        let text = btf.string(relocation.access).unwrap_or(&[]);
        let mut spec = Spec::new(btf, relocation.type_id);
        if kind.is_type() {
            return match text {
                b"0" => Ok(spec),
                _ => Err(bad("the access of a type is not \"0\"".into())),
            };
        }
        spec.steps = access::steps(text)?;
        let root = resolved(btf, relocation.type_id)
            .ok_or_else(|| bad(format!("type {} leads nowhere", relocation.type_id)))?;
        let first = spec.steps.first().copied().unwrap_or(0);
        let mut accessor = Accessor {
            type_id: root.id(),
            index: first,
            name: None,
        };
        if kind.is_enumerator() {
            let enumerator = u32::try_from(first)
                .ok()
                .filter(|_| spec.steps.len() == 1)
                .and_then(|index| root.enumerator(index))
                .ok_or_else(|| bad(format!("type {} has no enumerator {first}", root.id())))?;
            accessor.name = Some(enumerator.name_bytes());
            spec.accessors.push(accessor);
            return Ok(spec);
        }
        spec.accessors.push(accessor);
        spec.advance(first, root.id())
            .ok_or_else(|| bad(format!("type {} has no size", root.id())))?;
        spec.follow(root)?;
        Ok(spec)
    }

    /// Goes through the steps after the first.
    fn follow(&mut self, root: Type<'b>) -> Result<(), CoreError> {
        let bad = |detail: String| CoreError::BadLocal { detail };
        let mut id = root.id();
        for step in self.steps.clone().into_iter().skip(1) {
            let t = resolved(self.btf, id).ok_or_else(|| bad(format!("type {id} leads nowhere")))?;
            if t.kind().is_composite() {
                let member = u32::try_from(step)
                    .ok()
                    .and_then(|index| t.member(index))
                    .ok_or_else(|| bad(format!("type {} has no member {step}", t.id())))?;
                self.bit_offset = self.bit_offset.wrapping_add(member.bit_offset);
                if member.has_name() {
                    let name = member.name_bytes();
                    if name.is_empty() {
                        return Err(bad(format!("member {step} of type {} has a bad name", t.id())));
                    }
                    self.accessors.push(Accessor {
                        type_id: t.id(),
                        index: step,
                        name: Some(name),
                    });
                }
                id = member.type_id;
            } else if let Some(array) = t.array() {
                let element = resolved(self.btf, array.element)
                    .ok_or_else(|| bad(format!("type {} leads nowhere", array.element)))?;
                if !self.within(&array, step) {
                    return Err(bad(format!("array {} has no element {step}", t.id())));
                }
                id = element.id();
                self.accessors.push(Accessor {
                    type_id: id,
                    index: step,
                    name: None,
                });
                self.advance(step, id)
                    .ok_or_else(|| bad(format!("type {id} has no size")))?;
            } else {
                return Err(bad(format!(
                    "type {} is a {}, which has no parts",
                    t.id(),
                    t.kind()
                )));
            }
        }
        Ok(())
    }

    /// Moves on by so many values of a type. Offsets wrap at 32 bits, as libbpf's do.
    pub(crate) fn advance(&mut self, count: i32, type_id: u32) -> Option<()> {
        let bytes = i64::from(count).wrapping_mul(i64::from(self.btf.size(type_id)?));
        self.bit_offset = self.bit_offset.wrapping_add(bytes.wrapping_mul(8) as u32);
        Some(())
    }

    /// Whether an array has an element, given that the last accessor led to it: one without a length at the
    /// end of a struct has all.
    pub(crate) fn within(&self, array: &Array, index: i32) -> bool {
        if u32::try_from(index).is_ok_and(|index| index < array.length) {
            return true;
        }
        let Some(last) = self.accessors.last() else {
            return false;
        };
        array.length == 0
            && last.name.is_some()
            && self
                .btf
                .get(last.type_id)
                .is_some_and(|t| i64::from(last.index) == i64::from(t.count()) - 1)
    }
}

/// A type without typedefs and qualifiers.
#[inline]
pub(crate) fn resolved<'b>(btf: &'b Btf<'_>, id: u32) -> Option<Type<'b>> {
    btf.get(id)?.resolved()
}

/// Whether two types are of one kind, where enums of either size are one (libbpf's
/// btf_kind_core_compat).
#[inline]
pub(crate) fn same_kind(a: Kind, b: Kind) -> bool {
    a == b || a.is_enum() && b.is_enum()
}
