//! Which target types a local type may mean.

use std::ffi::{CStr, CString, c_int};

use super::btf::Btf;
use super::error::EINVAL;
use super::ffi::{self, CoreCand, CoreCandList};
use super::log;

/// A target type that bears a local type's name.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Where it was found: 0 is vmlinux, 1 + i is module i.
    pub origin: usize,
    /// Its BTF.
    pub btf: &'a Btf,
    /// Its ID there.
    pub id: u32,
}

/// All types that bear the name of `local`'s type `root`, but for flavours, and have its kind: those of
/// `vmlinux`, and only if there are none, those that the modules add to it. Does what
/// `bpf_core_find_cands` (libbpf.c) does, with `bpf_core_add_cands`; libbpf looks into no modules when it
/// is given a BTF by path.
///
/// # Errors
/// libbpf's, such as -EINVAL for a type that does not exist or has no name (which a local type's ID,
/// `BPF_CORE_TYPE_ID_LOCAL`, may be asked for, without any candidates).
pub fn candidates<'a>(
    local: &Btf,
    root: u32,
    vmlinux: &'a Btf,
    modules: &'a [Btf],
) -> Result<Vec<Candidate<'a>>, i32> {
    log::hook();
    let name = local.name(root).filter(|name| !name.is_empty()).ok_or(EINVAL)?;
    let local = Local {
        cand: CoreCand {
            btf: local.as_ptr(),
            id: root,
        },
        essential: essential_name_len(&name),
    };
    let mut found = Vec::new();
    local.search(0, vmlinux, 1, c"vmlinux", &mut found)?;
    if found.is_empty() {
        for (at, module) in modules.iter().enumerate() {
            local.search(1 + at, module, vmlinux.type_count(), c"module", &mut found)?;
        }
    }
    Ok(found)
}

/// How much of a type's name counts: all but the flavour after its last `___`
/// (`bpf_core_essential_name_len`, libbpf.c). A name with a NUL in it counts in full.
pub fn essential_name_len(name: &str) -> usize {
    let Ok(terminated) = CString::new(name) else {
        return name.len();
    };
    // SAFETY: the string is NUL-terminated.
    unsafe { ffi::bpf_core_essential_name_len(terminated.as_ptr()) }
}

/// A local type whose ID is valid.
struct Local {
    cand: CoreCand,
    essential: usize,
}

impl Local {
    fn search<'a>(
        &self,
        origin: usize,
        btf: &'a Btf,
        first: u32,
        name: &CStr,
        found: &mut Vec<Candidate<'a>>,
    ) -> Result<(), i32> {
        let first = c_int::try_from(first).map_err(|_| EINVAL)?;
        let mut local = self.cand;
        let mut list = CoreCandList {
            cands: std::ptr::null_mut(),
            len: 0,
        };
        // SAFETY: both BTFs are valid and outlive the call, the local ID is one of its BTF's, and the list
        // is empty, as libbpf wants it to begin with.
        let status = unsafe {
            ffi::bpf_core_add_cands(
                &mut local,
                self.essential,
                btf.as_ptr(),
                name.as_ptr(),
                first,
                &mut list,
            )
        };
        for at in 0..usize::try_from(list.len).unwrap_or(0) {
            // SAFETY: libbpf wrote that many.
            let id = unsafe { (*list.cands.add(at)).id };
            found.push(Candidate { origin, btf, id });
        }
        // SAFETY: libbpf allocated this with realloc, or not at all, and has forgotten it.
        unsafe { ffi::free(list.cands.cast()) };
        if status < 0 { Err(status) } else { Ok(()) }
    }
}

impl Candidate<'_> {
    pub(super) fn raw(&self) -> CoreCand {
        CoreCand {
            btf: self.btf.as_ptr(),
            id: self.id,
        }
    }
}
