//! Which types of a kernel a relocation may mean.

use super::error::CoreError;
use super::spec::same_kind;
use crate::kind::Kind;
use crate::name::essential;
use crate::parse::Btf;
use crate::types::Type;

/// BTF of a module, on top of its kernel's.
pub struct Module<'t> {
    /// Its name (`nf_conntrack`).
    pub name: String,
    /// Its types.
    pub btf: Btf<'t>,
}

/// What relocations are decided against: a kernel, and the modules that are searched for what the kernel
/// itself has not. BTF from elsewhere than the kernel has no modules.
#[derive(Clone, Copy)]
pub struct Targets<'t> {
    /// BTF of the kernel, or one that was supplied for it.
    pub kernel: &'t Btf<'t>,
    /// BTF of its modules.
    pub modules: &'t [Module<'t>],
}

impl<'t> Targets<'t> {
    /// A kernel alone.
    pub fn kernel(kernel: &'t Btf<'t>) -> Self {
        Targets { kernel, modules: &[] }
    }

    /// The BTF of a candidate.
    pub fn btf(&self, candidate: Candidate) -> Option<&'t Btf<'t>> {
        match candidate.module {
            None => Some(self.kernel),
            Some(index) => self.modules.get(index).map(|m| &m.btf),
        }
    }

    /// Types that are called as a local one is, flavours aside, and are of its kind: the kernel's, and only
    /// if it has none the modules'.
    ///
    /// # Errors
    /// If the local type has no name.
    pub fn candidates(&self, local: Type<'_>) -> Result<Vec<Candidate>, CoreError> {
        if essential(local.name_bytes()).is_empty() {
            return Err(CoreError::BadLocal {
                detail: format!("type {} ({}) has no name to look for", local.id(), local.kind()),
            });
        }
        Ok(self.candidates_of(&[local]).pop().unwrap_or_default())
    }

    /// The same for several local types at once; none for one without a name.
    pub(crate) fn candidates_of(&self, locals: &[Type<'_>]) -> Vec<Vec<Candidate>> {
        let names: Vec<&[u8]> = locals.iter().map(|l| essential(l.name_bytes())).collect();
        let mut found = vec![Vec::new(); locals.len()];
        let all = std::iter::once((None, self.kernel))
            .chain((0..).zip(self.modules).map(|(index, m)| (Some(index), &m.btf)));
        for (module, btf) in all {
            // A name that the kernel has is not looked for in modules; in several modules it is.
            let open: Vec<usize> = (0..locals.len())
                .filter(|i| {
                    found
                        .get(*i)
                        .is_some_and(|f: &Vec<Candidate>| f.first().is_none_or(|c| c.module.is_some()))
                })
                .collect();
            let wanted: Vec<&[u8]> = open.iter().filter_map(|i| names.get(*i).copied()).collect();
            if wanted.is_empty() {
                break;
            }
            for (i, ids) in open.into_iter().zip(btf.candidates_of(&wanted)) {
                if let (Some(local), Some(found)) = (locals.get(i), found.get_mut(i)) {
                    found.extend(of_kind(btf, module, local.kind(), ids.into_iter()));
                }
            }
        }
        found
    }
}

fn of_kind(
    btf: &Btf<'_>,
    module: Option<usize>,
    kind: Kind,
    ids: impl Iterator<Item = u32>,
) -> Vec<Candidate> {
    ids.filter(|id| btf.get(*id).is_some_and(|t| same_kind(t.kind(), kind)))
        .map(|id| Candidate { module, id })
        .collect()
}

/// A type that may be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// Index of its module; `None` for the kernel itself.
    pub module: Option<usize>,
    /// Its id.
    pub id: u32,
}
