//! BTF as libbpf parses it.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::sync::Arc;

use libbpf_sys as sys;

use super::error::{EINVAL, Error};
use super::log;

/// A parsed BTF (`struct btf`). Cheap to clone; a split one keeps its base.
#[derive(Clone)]
pub struct Btf(Arc<Handle>);

struct Handle {
    btf: NonNull<sys::btf>,
    /// What `btf__raw_data` gave.
    raw: (NonNull<u8>, usize),
    base: Option<Btf>,
}

// SAFETY: libbpf's BTF is not bound to a thread.
unsafe impl Send for Handle {}
// SAFETY: nothing here changes a BTF once it is made: btf__raw_data, which caches, has already run, and all
// else takes it as const and does only read.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: this is the only owner; a base lives until after this, in a field.
        unsafe { sys::btf__free(self.btf.as_ptr()) };
    }
}

impl Btf {
    /// Parses BTF of either byte order (`btf__new`).
    ///
    /// # Errors
    /// If libbpf finds it invalid.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse(bytes, None)
    }

    /// Parses split BTF, such as a module's, on top of its base (`btf__new_split`).
    ///
    /// # Errors
    /// If libbpf finds it invalid.
    pub fn split(bytes: &[u8], base: &Self) -> Result<Self, Error> {
        Self::parse(bytes, Some(base))
    }

    fn parse(bytes: &[u8], base: Option<&Self>) -> Result<Self, Error> {
        let size = u32::try_from(bytes.len()).map_err(|_| Error::new("btf__new", EINVAL))?;
        let base_ptr = base.map_or(std::ptr::null_mut(), Self::as_ptr);
        let (btf, log) = log::quietly(|| {
            // SAFETY: libbpf copies the bytes, and the base outlives what is made on top of it (in Handle).
            let btf = unsafe { sys::btf__new_split(bytes.as_ptr().cast(), size, base_ptr) };
            NonNull::new(btf).ok_or_else(|| Error::last("btf__new_split"))
        });
        // SAFETY: btf is new and nobody else's.
        unsafe { Self::own(btf.map_err(|e| e.with_log(log))?, base.cloned()) }
    }

    /// Takes over what libbpf made.
    ///
    /// # Safety
    /// `btf` must be valid and have no other owner, and `base` must be the one it was made with.
    pub(super) unsafe fn own(btf: NonNull<sys::btf>, base: Option<Self>) -> Result<Self, Error> {
        let mut size = 0;
        // SAFETY: btf is valid; the bytes belong to it and stay where they are while it is not changed.
        let raw = unsafe { sys::btf__raw_data(btf.as_ptr(), &mut size) };
        let Some(raw) = NonNull::new(raw.cast_mut().cast()) else {
            let error = Error::last("btf__raw_data");
            // SAFETY: nobody else has it.
            unsafe { sys::btf__free(btf.as_ptr()) };
            return Err(error);
        };
        let raw = (raw, size as usize);
        Ok(Self(Arc::new(Handle { btf, raw, base })))
    }

    /// What it was split from.
    pub fn base(&self) -> Option<&Self> {
        self.0.base.as_ref()
    }

    /// One more than its highest type ID, its base's types included (`btf__type_cnt`).
    pub fn type_count(&self) -> u32 {
        // SAFETY: the pointer is valid as long as self.
        unsafe { sys::btf__type_cnt(self.as_ptr()) }
    }

    /// As it is encoded, in its own byte order (`btf__raw_data`).
    pub fn bytes(&self) -> &[u8] {
        let (start, len) = self.0.raw;
        // SAFETY: libbpf keeps these bytes as long as the BTF, unchanged.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// The ID of the type of that name and `BTF_KIND_*` (`btf__find_by_name_kind`); the first in a BTF that
    /// is not sorted.
    pub fn find(&self, name: &str, kind: u32) -> Option<u32> {
        let name = CString::new(name).ok()?;
        // SAFETY: both are valid, and only read.
        let id = unsafe { sys::btf__find_by_name_kind(self.as_ptr(), name.as_ptr(), kind) };
        u32::try_from(id).ok()
    }

    /// The name of a type, empty for one without (`btf__type_by_id`). `None` if there is no such type.
    pub fn name(&self, id: u32) -> Option<String> {
        // SAFETY: the pointer is valid as long as self; libbpf checks the ID.
        let kind = unsafe { sys::btf__type_by_id(self.as_ptr(), id).as_ref() }?;
        self.string(kind.name_off)
    }

    /// The string at that offset (`btf__str_by_offset`). `None` beyond the strings.
    pub fn string(&self, offset: u32) -> Option<String> {
        // SAFETY: the pointer is valid as long as self; libbpf checks the offset.
        unsafe { text(sys::btf__str_by_offset(self.as_ptr(), offset)) }
    }

    /// The size of a type (`btf__resolve_size`).
    pub fn size(&self, id: u32) -> Option<u64> {
        // SAFETY: the pointer is valid as long as self; libbpf checks the ID.
        u64::try_from(unsafe { sys::btf__resolve_size(self.as_ptr(), id) }).ok()
    }

    /// For libbpf, which does not change it.
    pub(super) fn as_ptr(&self) -> *mut sys::btf {
        self.0.btf.as_ptr()
    }
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Btf({} types)", self.type_count())
    }
}

/// A copy of a string of libbpf's.
///
/// # Safety
/// It must be null or NUL-terminated.
pub(super) unsafe fn text(string: *const c_char) -> Option<String> {
    if string.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    Some(unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned())
}
