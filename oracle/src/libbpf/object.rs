//! Objects as libbpf opens them.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{NonNull, null, null_mut};

use libbpf_sys as sys;

use super::btf::text;
use super::error::{EINVAL, Error};
use super::log;

/// An opened object (`struct bpf_object`). Nothing of it is ever pinned.
pub struct Object {
    object: NonNull<sys::bpf_object>,
    programs: Vec<NonNull<sys::bpf_program>>,
    maps: Vec<(String, NonNull<sys::bpf_map>)>,
    /// libbpf's objects stay on their thread.
    thread: PhantomData<*mut ()>,
}

/// A program that can be loaded, not a function that programs call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its function's name.
    pub name: String,
    /// Its section, without the `?` that may stand first.
    pub section: String,
    /// Whether libbpf would load it.
    pub autoload: bool,
}

impl Object {
    /// Opens an object (`bpf_object__open_mem`), to be relocated against the BTF at that path (a BTF file or
    /// an ELF file with one), or the running kernel's.
    ///
    /// # Errors
    /// If libbpf refuses the object.
    pub fn open(object: &[u8], btf_path: Option<&Path>) -> Result<Self, Error> {
        const CALL: &str = "bpf_object__open_mem";
        let path = btf_path.map(|path| CString::new(path.as_os_str().as_bytes()));
        let path = path.transpose().map_err(|_| Error::new(CALL, EINVAL))?;
        let opts = sys::bpf_object_open_opts {
            sz: size_of::<sys::bpf_object_open_opts>() as sys::size_t,
            object_name: c"object".as_ptr(),
            btf_custom_path: path.as_ref().map_or(null(), |path| path.as_ptr()),
            ..Default::default()
        };
        let (opened, log) = log::quietly(|| {
            // SAFETY: bytes and options are valid for the call, and libbpf copies what it needs later.
            let opened =
                unsafe { sys::bpf_object__open_mem(object.as_ptr().cast(), object.len() as _, &opts) };
            NonNull::new(opened).ok_or_else(|| Error::last(CALL))
        });
        let mut object = Self {
            object: opened.map_err(|e| e.with_log(log))?,
            programs: Vec::new(),
            maps: Vec::new(),
            thread: PhantomData,
        };
        object.list();
        Ok(object)
    }

    /// Fills the lists of programs and maps, and unpins the maps.
    fn list(&mut self) {
        let mut last = null_mut();
        // SAFETY: the object is valid, and libbpf gets null or what it returned before.
        while let Some(program) = NonNull::new(unsafe { sys::bpf_object__next_program(self.as_ptr(), last) })
        {
            self.programs.push(program);
            last = program.as_ptr();
        }
        let mut last = null();
        // SAFETY: the same.
        while let Some(map) = NonNull::new(unsafe { sys::bpf_object__next_map(self.as_ptr(), last) }) {
            // SAFETY: the map is valid, its name too, and null is how to say that it has no path.
            let name = unsafe {
                sys::bpf_map__set_pin_path(map.as_ptr(), null());
                text(sys::bpf_map__name(map.as_ptr()))
            };
            self.maps.push((name.unwrap_or_default(), map));
            last = map.as_ptr();
        }
    }

    /// Its programs, in the order that the other methods count them in.
    pub fn programs(&self) -> Vec<Program> {
        // SAFETY: a program of this object is valid as long as the object, and its strings are.
        let describe = |program: &NonNull<sys::bpf_program>| unsafe {
            Program {
                name: text(sys::bpf_program__name(program.as_ptr())).unwrap_or_default(),
                section: text(sys::bpf_program__section_name(program.as_ptr())).unwrap_or_default(),
                autoload: sys::bpf_program__autoload(program.as_ptr()),
            }
        };
        self.programs.iter().map(describe).collect()
    }

    /// The names of its maps, those of globals included.
    pub fn maps(&self) -> Vec<String> {
        self.maps.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Whether to relocate and load the program of that index (`bpf_program__set_autoload`).
    ///
    /// # Errors
    /// If there is none.
    pub fn set_autoload(&mut self, program: usize, autoload: bool) -> Result<(), Error> {
        const CALL: &str = "bpf_program__set_autoload";
        let program = self.programs.get(program).ok_or(Error::new(CALL, EINVAL))?;
        // SAFETY: a program of this object.
        check(CALL, unsafe {
            sys::bpf_program__set_autoload(program.as_ptr(), autoload)
        })
    }

    /// Makes the program of that index another type's (`bpf_program__set_type`). It is then no longer what
    /// its section says: libbpf looks for nothing to attach it to.
    ///
    /// # Errors
    /// If there is none.
    pub fn set_type(&mut self, program: usize, kind: u32) -> Result<(), Error> {
        const CALL: &str = "bpf_program__set_type";
        let program = self.programs.get(program).ok_or(Error::new(CALL, EINVAL))?;
        // SAFETY: a program of this object.
        check(CALL, unsafe {
            sys::bpf_program__set_type(program.as_ptr(), kind)
        })
    }

    /// Whether to create the map (`bpf_map__set_autocreate`). Code that uses one that is not created is
    /// made invalid.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn set_autocreate(&mut self, map: &str, autocreate: bool) -> Result<(), Error> {
        const CALL: &str = "bpf_map__set_autocreate";
        let map = self.map(map).ok_or(Error::new(CALL, EINVAL))?;
        // SAFETY: a map of this object.
        check(CALL, unsafe {
            sys::bpf_map__set_autocreate(map.as_ptr(), autocreate)
        })
    }

    /// How many entries the map shall have (`bpf_map__set_max_entries`).
    ///
    /// # Errors
    /// If there is none of that name, or libbpf refuses.
    pub fn set_max_entries(&mut self, map: &str, entries: u32) -> Result<(), Error> {
        const CALL: &str = "bpf_map__set_max_entries";
        let map = self.map(map).ok_or(Error::new(CALL, EINVAL))?;
        // SAFETY: a map of this object.
        check(CALL, unsafe {
            sys::bpf_map__set_max_entries(map.as_ptr(), entries)
        })
    }

    /// How many bytes a value of the map shall have (`bpf_map__set_value_size`).
    ///
    /// # Errors
    /// If there is none of that name, or libbpf refuses.
    pub fn set_value_size(&mut self, map: &str, bytes: u32) -> Result<(), Error> {
        const CALL: &str = "bpf_map__set_value_size";
        let map = self.map(map).ok_or(Error::new(CALL, EINVAL))?;
        // SAFETY: a map of this object.
        check(CALL, unsafe { sys::bpf_map__set_value_size(map.as_ptr(), bytes) })
    }

    /// What the map of this object's variables holds at first (`bpf_map__initial_value`); of `.kconfig` after
    /// [`prepare`](Object::prepare) the values that libbpf found. The name is the section's.
    pub fn initial_value(&self, section: &str) -> Option<Vec<u8>> {
        let (_, map) = self.maps.iter().find(|(name, _)| name.ends_with(section))?;
        let mut size: sys::size_t = 0;
        // SAFETY: a map of this object, whose memory has that size and is there as long as the object.
        unsafe {
            let data = sys::bpf_map__initial_value(map.as_ptr(), &mut size);
            let data = NonNull::new(data)?.cast::<u8>();
            Some(std::slice::from_raw_parts(data.as_ptr(), size as usize).to_vec())
        }
    }

    /// Finds what the object wants of the running kernel and relocates it (`bpf_object__prepare`).
    ///
    /// # Errors
    /// If libbpf refuses.
    pub fn prepare(&mut self) -> Result<(), Error> {
        // SAFETY: the object is valid.
        let (status, log) = log::quietly(|| unsafe { sys::bpf_object__prepare(self.as_ptr()) });
        check("bpf_object__prepare", status).map_err(|e| e.with_log(log))
    }

    /// Loads it into the kernel (`bpf_object__load`), where it stays as long as this. Needs root.
    ///
    /// # Errors
    /// If libbpf or the kernel refuses, with libbpf's and the verifier's log.
    pub fn load(&mut self) -> Result<(), Error> {
        // SAFETY: the object is valid.
        let (status, log) = log::quietly(|| unsafe { sys::bpf_object__load(self.as_ptr()) });
        check("bpf_object__load", status).map_err(|e| e.with_log(log))
    }

    /// Attaches the program of that index where its section says (`bpf_program__attach`), and detaches it. It must
    /// have been loaded.
    ///
    /// # Errors
    /// If there is none, or libbpf or the kernel refuses; with [`Error::NO_TARGET`] if its section does not say where.
    pub fn attach(&self, program: usize) -> Result<(), Error> {
        // SAFETY: the program is valid.
        self.attach_by("bpf_program__attach", program, |program| unsafe {
            sys::bpf_program__attach(program)
        })
    }

    /// Attaches the program of that index to a USDT probe (`bpf_program__attach_usdt`), and detaches it.
    ///
    /// # Errors
    /// If there is none, or libbpf or the kernel refuses.
    pub fn attach_usdt(
        &self,
        program: usize,
        binary: &CStr,
        provider: &CStr,
        name: &CStr,
    ) -> Result<(), Error> {
        // SAFETY: the program is valid, and so are the strings for the call; null means no options.
        self.attach_by("bpf_program__attach_usdt", program, |program| unsafe {
            sys::bpf_program__attach_usdt(
                program,
                -1,
                binary.as_ptr(),
                provider.as_ptr(),
                name.as_ptr(),
                null(),
            )
        })
    }

    fn attach_by(
        &self,
        call: &'static str,
        program: usize,
        attach: impl FnOnce(*const sys::bpf_program) -> *mut sys::bpf_link,
    ) -> Result<(), Error> {
        let program = self.programs.get(program).ok_or(Error::new(call, EINVAL))?;
        let (attached, log) =
            log::quietly(|| NonNull::new(attach(program.as_ptr())).ok_or_else(|| Error::last(call)));
        let link = attached.map_err(|e| e.with_log(log))?;
        // SAFETY: a link that was just made, and that nothing else has.
        check("bpf_link__destroy", unsafe {
            sys::bpf_link__destroy(link.as_ptr())
        })
    }

    fn map(&self, name: &str) -> Option<NonNull<sys::bpf_map>> {
        self.maps.iter().find(|(n, _)| n == name).map(|(_, map)| *map)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::bpf_object {
        self.object.as_ptr()
    }

    pub(super) fn map_ptrs(&self) -> &[(String, NonNull<sys::bpf_map>)] {
        &self.maps
    }

    pub(super) fn program_ptrs(&self) -> &[NonNull<sys::bpf_program>] {
        &self.programs
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: this is the only owner; the pointers to programs and maps go with it.
        unsafe { sys::bpf_object__close(self.as_ptr()) };
    }
}

/// What libbpf returned, as a result.
pub(super) fn check(call: &'static str, status: i32) -> Result<(), Error> {
    if status < 0 {
        Err(Error::new(call, status))
    } else {
        Ok(())
    }
}
