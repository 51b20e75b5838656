//! [`Relocator`]: the relocations of one object, one after the other.

use std::collections::HashMap;

use super::candidates::{Candidate, Targets};
use super::error::CoreError;
use super::kind::CoreKind;
use super::search::find;
use super::spec::Spec;
use super::steps::Steps;
use super::value::Outcome;
use crate::ext::RelocationInfo;
use crate::name::essential;
use crate::parse::Btf;

/// Answers the relocations of one object. They are asked in the order of `.BTF.ext`, for a type that has
/// answered one is preferred for the next of the same local type, as libbpf does.
pub struct Relocator<'l, 't> {
    local: &'l Btf<'l>,
    targets: Targets<'t>,
    candidates: HashMap<u32, Vec<Candidate>>,
    steps: Steps,
}

impl<'l, 't> Relocator<'l, 't> {
    /// For an object's BTF, against a kernel's.
    pub fn new(local: &'l Btf<'_>, targets: Targets<'t>) -> Self {
        Relocator {
            local,
            targets,
            candidates: HashMap::new(),
            steps: Steps::new(),
        }
    }

    /// Answers one relocation.
    ///
    /// # Errors
    /// Where libbpf refuses the whole object: the object's own types do not fit the relocation, the kernel's
    /// are ambiguous, or cannot be followed.
    pub fn relocate(&mut self, relocation: &RelocationInfo) -> Result<Outcome<'t>, CoreError> {
        let kind = CoreKind::from_raw(relocation.kind);
        if let CoreKind::Unknown(_) = kind {
            return Err(CoreError::UnknownKind(kind));
        }
        let local = Spec::local(self.local, relocation, kind)?;
        let endian = self.local.endian();
        if kind == CoreKind::TypeIdLocal {
            let mut outcome = Outcome::new(kind, &local, None, endian)?;
            outcome.value = Some(outcome.original);
            outcome.validate = false;
            return Ok(outcome);
        }
        let root = self
            .local
            .get(relocation.type_id)
            .ok_or_else(|| CoreError::BadLocal {
                detail: format!("it has no type {}", relocation.type_id),
            })?;
        let candidates = match self.candidates.entry(root.id()) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(self.targets.candidates(root)?),
        };
        let mut first: Option<(Outcome<'t>, u32)> = None;
        let mut matching = Vec::new();
        for candidate in candidates.iter().copied() {
            self.steps.take_candidate()?;
            let Some(btf) = self.targets.btf(candidate) else {
                continue;
            };
            let Some(found) = find(kind, &local, btf, candidate.id, &mut self.steps)? else {
                continue;
            };
            let bit_offset = found.bit_offset;
            let outcome = Outcome::new(kind, &local, Some(found), endian)?;
            matching.push(candidate);
            match &first {
                None => first = Some((outcome, bit_offset)),
                Some((known, offset)) if *offset != bit_offset || known.value != outcome.value => {
                    return Err(CoreError::Ambiguous {
                        name: String::from_utf8_lossy(essential(root.name_bytes())).into_owned(),
                        first: known.target.as_ref().map_or(0, |t| t.root),
                        second: candidate.id,
                        first_value: known.value,
                        second_value: outcome.value,
                    });
                }
                Some(_) => {}
            }
        }
        match first {
            Some((outcome, _)) => {
                *candidates = matching;
                Ok(outcome)
            }
            None => Outcome::new(kind, &local, None, endian),
        }
    }
}
