//! What is kept of each type.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::co_re::{Candidate, CoreError, Looked, Module, Pair, Spec, Steps, Targets, resolved};
use crate::kind::Kind;
use crate::name::essential;
use crate::parse::Btf;
use crate::types::Type;

/// A type of the kernel or of a module; types of the kernel are the kernel's whoever refers to them.
pub(crate) type Key = Candidate;

/// Name without flavour, and kind (enums of either size are one).
pub(crate) type Name = (Vec<u8>, Kind);

/// What a type is looked up by.
pub(crate) fn asked_by(t: &Type<'_>) -> Name {
    let kind = match t.kind() {
        Kind::Enum64 => Kind::Enum,
        other => other,
    };
    (essential(t.name_bytes()).to_vec(), kind)
}

/// What is kept of a type, besides kind and size.
#[derive(Default)]
pub(crate) struct Keep {
    /// Its name: it is looked up or compared by it.
    pub(crate) named: bool,
    /// What a pointer points to.
    pub(crate) parts: bool,
    /// Members of a struct or union, enumerators of an enum.
    pub(crate) items: BTreeSet<u32>,
    /// How many of them there must be, for they are counted.
    count: usize,
}

/// Everything that is kept.
pub(crate) struct Kept<'t> {
    pub(crate) targets: Targets<'t>,
    pub(crate) types: BTreeMap<Key, Keep>,
    /// What relocations look for.
    pub(crate) asked: HashSet<Name>,
    /// Types of which all parts are kept, and theirs.
    whole: BTreeSet<Key>,
}

impl<'t> Kept<'t> {
    pub(crate) fn new(targets: Targets<'t>, asked: HashSet<Name>) -> Self {
        Kept {
            targets,
            types: BTreeMap::new(),
            asked,
            whole: BTreeSet::new(),
        }
    }

    /// The BTF that a type stands in, and the type.
    pub(crate) fn get(&self, key: Key) -> Option<Type<'t>> {
        self.targets.btf(key)?.get(key.id)
    }

    /// The key of a type that one of `from`'s module refers to, without typedefs and qualifiers; `None` for
    /// void and what leads nowhere.
    pub(crate) fn key(&self, from: Key, id: u32) -> Option<Key> {
        let t = resolved(self.targets.btf(from)?, id)?;
        (t.kind() != Kind::Void).then(|| self.own(from, t.id()))
    }

    fn own(&self, from: Key, id: u32) -> Key {
        let of_module = |index: usize| -> Option<&Module<'_>> {
            self.targets.modules.get(index).filter(|m| id >= m.btf.first_id())
        };
        Candidate {
            module: from.module.filter(|index| of_module(*index).is_some()),
            id,
        }
    }

    fn entry(&mut self, key: Key) -> &mut Keep {
        self.types.entry(key).or_default()
    }

    /// Keeps a type that is found by its name, and what it is another name of.
    fn root(&mut self, candidate: Candidate) -> Option<Key> {
        self.entry(candidate).named = true;
        let key = self.key(candidate, candidate.id)?;
        self.leaf(key);
        Some(key)
    }

    /// Keeps a type that is accessed: of arrays their elements too, whose kind and size count.
    fn leaf(&mut self, key: Key) {
        let mut key = key;
        for _ in 0..crate::kind::MAX_DEPTH {
            self.entry(key);
            let element = self.get(key).and_then(|t| t.array()).map(|a| a.element);
            match element.and_then(|id| self.key(key, id)) {
                Some(next) => key = next,
                None => return,
            }
        }
    }

    /// Keeps a type and what it is made of by pointers, arrays and prototypes: whether types agree goes by
    /// their kinds.
    pub(crate) fn parts(&mut self, candidate: Candidate) {
        let mut open: Vec<Key> = self.root(candidate).into_iter().collect();
        // That a part is kept already does not mean that its own parts are: shapes are compared only as
        // far as they agree.
        while let Some(key) = open.pop() {
            if !self.whole.insert(key) {
                continue;
            }
            self.entry(key).parts = true;
            let Some(t) = self.get(key) else { continue };
            let ids: Vec<u32> = match t.kind() {
                Kind::Ptr => vec![t.size_or_type()],
                Kind::Array => t.array().map(|a| a.element).into_iter().collect(),
                Kind::FuncProto => t
                    .parameters()
                    .map(|p| p.type_id)
                    .chain([t.size_or_type()])
                    .collect(),
                _ => continue,
            };
            open.extend(ids.into_iter().filter_map(|id| self.key(key, id)));
        }
    }

    /// Keeps an enumerator.
    pub(crate) fn enumerator(&mut self, candidate: Candidate, spec: &Spec<'_>) {
        let index = spec.steps.first().and_then(|step| u32::try_from(*step).ok());
        if let (Some(key), Some(index)) = (self.root(candidate), index) {
            self.entry(key).items.insert(index);
        }
    }

    /// Keeps the members on the way to a field.
    pub(crate) fn field(&mut self, candidate: Candidate, spec: &Spec<'_>) {
        self.way(candidate, spec);
    }

    /// Keeps how far a search went that was given up, and one member more, for it may be given up there
    /// for its depth.
    pub(crate) fn given_up(&mut self, candidate: Candidate, spec: &Spec<'_>) {
        if let Some(key) = self.way(candidate, spec)
            && self.get(key).is_some_and(|t| t.member(0).is_some())
        {
            self.item(key, 0);
        }
    }

    /// Keeps members and gives the type that they lead to.
    fn way(&mut self, candidate: Candidate, spec: &Spec<'_>) -> Option<Key> {
        let mut key = self.root(candidate)?;
        for step in spec.steps.iter().skip(1) {
            let t = self.get(key)?;
            let next = if let Some(array) = t.array() {
                array.element
            } else {
                let index = u32::try_from(*step).ok()?;
                let member = t.member(index)?;
                self.item(key, index);
                member.type_id
            };
            key = self.key(key, next)?;
            self.leaf(key);
        }
        Some(key)
    }

    /// Keeps as many members and enumerators as must be, whichever.
    pub(crate) fn fill(&mut self) {
        let lacking = |keep: &Keep| keep.items.len() < keep.count;
        let keys: Vec<Key> = self
            .types
            .iter()
            .filter(|(_, k)| lacking(k))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            let has = self.get(key).map_or(0, |t| t.count());
            for index in 0..has {
                if !self.types.get(&key).is_some_and(lacking) {
                    break;
                }
                self.item(key, index);
            }
        }
    }

    /// Keeps a member or enumerator.
    fn item(&mut self, key: Key, index: u32) {
        if !self.entry(key).items.insert(index) {
            return;
        }
        let Some((t, member)) = self.get(key).and_then(|t| Some((t, t.member(index)?))) else {
            return;
        };
        if let Some(next) = self.key(key, member.type_id) {
            self.leaf(next);
        }
        // An array without length has elements only at the end of its struct: if it does not stand there,
        // something must stay behind it.
        if open_ended(t.btf(), member.type_id) {
            self.item(key, t.count().saturating_sub(1));
        }
    }

    /// Keeps what comparing the shape of a type looks at.
    pub(crate) fn shape(
        &mut self,
        candidate: Candidate,
        local: &Spec<'_>,
        steps: &mut Steps,
    ) -> Result<(), CoreError> {
        self.entry(candidate).named = true;
        self.look(candidate, local, false, steps)
    }

    /// Of a type that is kept, and whose shape does not match, keeps all that is needed of its members for
    /// them not to match either. Those that are not kept need not be: less does not match more, and what
    /// is compared then are those that are.
    pub(crate) fn no_match(
        &mut self,
        candidate: Candidate,
        local: &Spec<'_>,
        steps: &mut Steps,
    ) -> Result<(), CoreError> {
        self.look(candidate, local, true, steps)
    }

    fn look(
        &mut self,
        candidate: Candidate,
        local: &Spec<'_>,
        only_kept: bool,
        steps: &mut Steps,
    ) -> Result<(), CoreError> {
        let Some(target) = self.targets.btf(candidate) else {
            return Ok(());
        };
        let pair = Pair {
            local: local.btf,
            target,
        };
        let mut looked = Shape {
            kept: self,
            from: candidate,
            only_kept,
        };
        match pair.matches(local.root, candidate.id, steps, &mut looked) {
            Err(CoreError::TooComplex) => Err(CoreError::TooComplex),
            _ => Ok(()),
        }
    }

    /// How much is kept: it only ever grows.
    pub(crate) fn extent(&self) -> usize {
        self.types
            .values()
            .map(|keep| 1 + usize::from(keep.named) + usize::from(keep.parts) + keep.items.len())
            .sum()
    }
}

fn open_ended(btf: &Btf<'_>, id: u32) -> bool {
    resolved(btf, id)
        .and_then(|t| t.array())
        .is_some_and(|array| array.length == 0)
}

/// Marks while shapes are compared.
struct Shape<'k, 't> {
    kept: &'k mut Kept<'t>,
    from: Candidate,
    /// Sees members that are kept already, and adds none.
    only_kept: bool,
}

impl Looked for Shape<'_, '_> {
    fn at_type(&mut self, id: u32) {
        if let Some(key) = self.kept.key(self.from, id) {
            self.kept.entry(key).named = true;
            self.kept.leaf(key);
        }
    }

    fn at_count(&mut self, id: u32, count: u32) -> bool {
        let Some(key) = self.kept.key(self.from, id) else {
            return false;
        };
        let keep = self.kept.entry(key);
        if self.only_kept {
            return keep.items.len() >= count as usize;
        }
        keep.count = keep.count.max(count as usize);
        true
    }

    fn at_parts(&mut self, id: u32) {
        if let Some(key) = self.kept.key(self.from, id) {
            self.kept.entry(key).parts = true;
        }
    }

    fn at_item(&mut self, id: u32, index: u32) -> bool {
        let Some(key) = self.kept.key(self.from, id) else {
            return false;
        };
        if self.only_kept {
            return self.kept.entry(key).items.contains(&index);
        }
        self.kept.item(key, index);
        true
    }
}
