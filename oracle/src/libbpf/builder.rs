//! BTF as libbpf writes it.

use std::ffi::{CString, c_int};
use std::ptr::NonNull;

use libbpf_sys as sys;

use super::btf::Btf;
use super::error::{EINVAL, Error};

/// Builds BTF with libbpf's `btf__add_*`. Each type's method returns its ID.
pub struct BtfBuilder {
    /// `None` only after [`finish`](Self::finish).
    btf: Option<NonNull<sys::btf>>,
    base: Option<Btf>,
}

impl BtfBuilder {
    /// An empty one (`btf__new_empty`).
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new() -> Result<Self, Error> {
        // SAFETY: takes nothing.
        Self::made(unsafe { sys::btf__new_empty() }, None)
    }

    /// An empty one on top of a base (`btf__new_empty_split`).
    ///
    /// # Errors
    /// If there is no memory.
    pub fn split(base: &Btf) -> Result<Self, Error> {
        // SAFETY: the base is only read, and kept until the new one is gone.
        Self::made(
            unsafe { sys::btf__new_empty_split(base.as_ptr()) },
            Some(base.clone()),
        )
    }

    fn made(btf: *mut sys::btf, base: Option<Btf>) -> Result<Self, Error> {
        let btf = NonNull::new(btf).ok_or_else(|| Error::last("btf__new_empty"))?;
        Ok(Self { btf: Some(btf), base })
    }

    /// An integer of that many bytes, with an encoding (0, or `BTF_INT_SIGNED` and so on).
    ///
    /// # Errors
    /// As libbpf's `btf__add_int`.
    pub fn int(&mut self, name: &str, bytes: usize, encoding: i32) -> Result<u32, Error> {
        // SAFETY: add() gives valid pointers.
        self.add("btf__add_int", name, |btf, name| unsafe {
            sys::btf__add_int(btf, name, bytes as sys::size_t, encoding)
        })
    }

    /// A struct of that many bytes, whose fields come next.
    ///
    /// # Errors
    /// As libbpf's `btf__add_struct`.
    pub fn structure(&mut self, name: &str, bytes: u32) -> Result<u32, Error> {
        // SAFETY: add() gives valid pointers.
        self.add("btf__add_struct", name, |btf, name| unsafe {
            sys::btf__add_struct(btf, name, bytes)
        })
    }

    /// A field of the struct added last.
    ///
    /// # Errors
    /// As libbpf's `btf__add_field`.
    pub fn field(&mut self, name: &str, kind: u32, bit_offset: u32) -> Result<(), Error> {
        let kind = c_int::try_from(kind).map_err(|_| Error::new("btf__add_field", EINVAL))?;
        // SAFETY: add() gives valid pointers.
        self.add("btf__add_field", name, |btf, name| unsafe {
            sys::btf__add_field(btf, name, kind, bit_offset, 0)
        })?;
        Ok(())
    }

    /// An enum of that many bytes, whose values come next.
    ///
    /// # Errors
    /// As libbpf's `btf__add_enum`.
    pub fn enumeration(&mut self, name: &str, bytes: u32) -> Result<u32, Error> {
        // SAFETY: add() gives valid pointers.
        self.add("btf__add_enum", name, |btf, name| unsafe {
            sys::btf__add_enum(btf, name, bytes)
        })
    }

    /// A value of the enum added last.
    ///
    /// # Errors
    /// As libbpf's `btf__add_enum_value`.
    pub fn value(&mut self, name: &str, value: i64) -> Result<(), Error> {
        // SAFETY: add() gives valid pointers.
        self.add("btf__add_enum_value", name, |btf, name| unsafe {
            sys::btf__add_enum_value(btf, name, value)
        })?;
        Ok(())
    }

    /// The finished BTF.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn finish(mut self) -> Result<Btf, Error> {
        let btf = self
            .btf
            .take()
            .ok_or_else(|| Error::new("btf__raw_data", EINVAL))?;
        // SAFETY: it was this builder's alone, and with this base.
        unsafe { Btf::own(btf, self.base.take()) }
    }

    fn add(
        &mut self,
        call: &'static str,
        name: &str,
        add: impl FnOnce(*mut sys::btf, *const std::ffi::c_char) -> c_int,
    ) -> Result<u32, Error> {
        let (Some(btf), Ok(name)) = (self.btf, CString::new(name)) else {
            return Err(Error::new(call, EINVAL));
        };
        let id = add(btf.as_ptr(), name.as_ptr());
        u32::try_from(id).map_err(|_| Error::new(call, id))
    }
}

impl Drop for BtfBuilder {
    fn drop(&mut self) {
        if let Some(btf) = self.btf {
            // SAFETY: nobody else has it; the base is dropped after this.
            unsafe { sys::btf__free(btf.as_ptr()) };
        }
    }
}
