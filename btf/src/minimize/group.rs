//! Relocations that mean types of one name, of whatever object and flavour, together: which of those types
//! are needed is decided for all of them at once.

use std::collections::BTreeMap;

use super::Source;
use super::keep::{Kept, Name, asked_by};
use crate::co_re::{Candidate, CoreError, CoreKind, Outcome, Spec, Steps, Targets, follow};
use crate::endian::Endian;

/// Relocations that have the same candidates.
pub(crate) struct Group<'l> {
    number: usize,
    candidates: Vec<Candidate>,
    asked: Vec<Asked<'l>>,
}

/// One relocation.
struct Asked<'l> {
    kind: CoreKind,
    local: Spec<'l>,
    endian: Endian,
}

/// An answer, and where in the kernel's types it was found.
type Answered<'t> = (Answer, Option<Spec<'t>>);

/// What a candidate answers: all that makes two of them differ.
#[derive(PartialEq, Eq)]
enum Answer {
    /// It has no such thing.
    Nothing,
    Found {
        value: Option<u64>,
        bit_offset: u32,
        size: u32,
        unfit: bool,
    },
    /// libbpf refuses the object for it.
    Refused,
}

/// Sorts relocations into groups. Those that need no kernel, or do not fit their own object and so fail
/// whatever the kernel is, are in none.
pub(crate) fn groups<'l>(sources: &[Source<'l>], targets: Targets<'_>) -> BTreeMap<Name, Group<'l>> {
    let mut groups: BTreeMap<Name, Group<'l>> = BTreeMap::new();
    // One type of each group, by the group's number.
    let mut roots = Vec::new();
    for source in sources {
        for relocation in source.relocations {
            let kind = CoreKind::from_raw(relocation.kind);
            if matches!(kind, CoreKind::TypeIdLocal | CoreKind::Unknown(_)) {
                continue;
            }
            let Some(root) = source.btf.get(relocation.type_id) else {
                continue;
            };
            let Ok(local) = Spec::local(source.btf, relocation, kind) else {
                continue;
            };
            // Its own types may be followed to the field and be of no use there.
            if Outcome::new(kind, &local, None, source.btf.endian()).is_err() {
                continue;
            }
            let key = asked_by(&root);
            if key.0.is_empty() {
                continue;
            }
            let group = groups.entry(key).or_insert_with(|| {
                roots.push(root);
                Group {
                    number: roots.len() - 1,
                    candidates: Vec::new(),
                    asked: Vec::new(),
                }
            });
            group.asked.push(Asked {
                kind,
                local,
                endian: source.btf.endian(),
            });
        }
    }
    let mut candidates = targets.candidates_of(&roots);
    for group in groups.values_mut() {
        if let Some(found) = candidates.get_mut(group.number) {
            group.candidates = std::mem::take(found);
        }
    }
    groups
}

impl Group<'_> {
    /// How many relocations it has.
    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    /// Marks what its relocations need, and gives how many of them find something.
    pub(crate) fn keep<'t>(
        &self,
        targets: Targets<'t>,
        kept: &mut Kept<'t>,
        steps: &mut Steps,
    ) -> Result<usize, CoreError> {
        // Answers of one candidate at a time: all of them would be as many as relocations times candidates.
        let answers = |candidate: Candidate, steps: &mut Steps| {
            let answers = self.asked.iter().map(|a| a.answer(targets, candidate, steps));
            answers.collect::<Result<Vec<Answered<'t>>, _>>()
        };
        let mut found = vec![false; self.asked.len()];
        let mut first: Option<(Candidate, Vec<Answered<'t>>)> = None;
        let (mut others, mut alike) = (Vec::new(), true);
        for candidate in self.candidates.iter().copied() {
            let own = answers(candidate, steps)?;
            let mut has_some = false;
            for (found, (answer, _)) in found.iter_mut().zip(&own) {
                has_some |= *answer != Answer::Nothing;
                *found |= *answer != Answer::Nothing;
            }
            if !has_some {
                continue;
            }
            match &first {
                None => first = Some((candidate, own)),
                Some((_, known)) => {
                    alike &= own.iter().map(|a| &a.0).eq(known.iter().map(|a| &a.0));
                    others.push(candidate);
                }
            }
        }
        // Types that answer alike (a kernel's BTF has some twice) are as good as one. Otherwise all are
        // needed: which of them counts depends on the relocations that came before.
        if alike {
            others.clear();
        }
        let mut keep = |candidate, answers: &[Answered<'t>], steps: &mut Steps| {
            let mut each = self.asked.iter().zip(answers);
            each.try_for_each(|(asked, answer)| asked.keep(candidate, answer, kept, steps))
        };
        if let Some((candidate, known)) = &first {
            keep(*candidate, known, steps)?;
        }
        for candidate in others {
            keep(candidate, &answers(candidate, steps)?, steps)?;
        }
        Ok(found.into_iter().filter(|f| *f).count())
    }

    /// Of candidates that are kept, maybe as parts of others, keeps what makes their shapes not match: what
    /// does not match as a whole must not with what is left of it.
    pub(crate) fn no_matches(&self, kept: &mut Kept<'_>, steps: &mut Steps) -> Result<(), CoreError> {
        let shapes = || self.asked.iter().filter(|a| a.kind == CoreKind::TypeMatches);
        for candidate in self.candidates.iter().filter(|_| shapes().next().is_some()) {
            if !kept.types.get(candidate).is_some_and(|keep| keep.named) {
                continue;
            }
            for asked in shapes() {
                if asked.answer(kept.targets, *candidate, steps)?.0 == Answer::Nothing {
                    kept.no_match(*candidate, &asked.local, steps)?;
                }
            }
        }
        Ok(())
    }
}

impl Asked<'_> {
    fn answer<'t>(
        &self,
        targets: Targets<'t>,
        candidate: Candidate,
        steps: &mut Steps,
    ) -> Result<Answered<'t>, CoreError> {
        steps.take_candidate()?;
        let Some(btf) = targets.btf(candidate) else {
            return Ok((Answer::Nothing, None));
        };
        let mut spec = Spec::new(btf, candidate.id);
        match follow(self.kind, &self.local, &mut spec, steps) {
            Ok(true) => {}
            Ok(false) => return Ok((Answer::Nothing, None)),
            Err(CoreError::TooComplex) => return Err(CoreError::TooComplex),
            // What it was refused for is kept, so that it is again.
            Err(_) => return Ok((Answer::Refused, Some(spec))),
        }
        let bit_offset = spec.bit_offset;
        let answer = match Outcome::new(self.kind, &self.local, Some(spec.clone()), self.endian) {
            Ok(outcome) => Answer::Found {
                value: outcome.value,
                bit_offset,
                size: outcome.size,
                unfit: outcome.unfit,
            },
            // Whatever the kernel has.
            Err(CoreError::BadLocal { .. }) => return Ok((Answer::Nothing, None)),
            Err(_) => Answer::Refused,
        };
        Ok((answer, Some(spec)))
    }

    fn keep(
        &self,
        candidate: Candidate,
        (answer, spec): &Answered<'_>,
        kept: &mut Kept<'_>,
        steps: &mut Steps,
    ) -> Result<(), CoreError> {
        if self.kind == CoreKind::TypeMatches {
            if *answer != Answer::Nothing {
                kept.shape(candidate, &self.local, steps)?;
            }
        } else if self.kind.is_type() {
            kept.parts(candidate);
        } else if let Some(spec) = spec {
            if self.kind.is_enumerator() {
                kept.enumerator(candidate, spec);
            } else if *answer == Answer::Refused {
                kept.given_up(candidate, spec);
            } else {
                kept.field(candidate, spec);
            }
        }
        Ok(())
    }
}
