//! BPF_PROG_LOAD, as typed arguments.
#![allow(unsafe_code, reason = "bpf(2) takes addresses of what it reads")]

use std::{
    ffi::{CStr, c_char},
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_insn};

use super::bpf::{bpf, owned, zeroed};

/// Sizes of the verifier's log, one after the other while it does not fit.
const LOG_SIZES: [usize; 4] = [64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// Instructions and statistics (BPF_LOG_LEVEL1 | BPF_LOG_STATS of include/linux/bpf_verifier.h).
const LOG_LEVEL: u32 = 1 | 4;
/// How often a load that a signal interrupted (EAGAIN) is made.
const ATTEMPTS: u32 = 5;

/// Records of `.BTF.ext` for one program, as the kernel takes them.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The records.
    pub bytes: Vec<u8>,
    /// Bytes of one.
    pub size: u32,
}

impl Records {
    fn count(&self) -> u32 {
        let size = usize::try_from(self.size).unwrap_or(0);
        let count = self.bytes.len().checked_div(size).unwrap_or(0);
        u32::try_from(count).unwrap_or(0)
    }
}

/// A program that the kernel is asked to load.
#[derive(Clone, Default)]
pub struct ProgLoad<'a> {
    /// `enum bpf_prog_type`.
    pub program_type: u32,
    /// `enum bpf_attach_type`, where the kind of program has several.
    pub expected_attach_type: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Its name, of which the kernel keeps 15 bytes; empty for none.
    pub name: &'a str,
    /// Its licence.
    pub license: &'a CStr,
    /// LINUX_VERSION_CODE, which kernels before 5.0 ask of kprobes.
    pub kernel_version: u32,
    /// Its instructions.
    pub instructions: &'a [bpf_insn],
    /// The BTF of its object.
    pub btf: Option<BorrowedFd<'a>>,
    /// Types of its functions; nothing without `btf`.
    pub func_info: Records,
    /// Lines of its source; nothing without `btf`.
    pub line_info: Records,
    /// The kernel's type that it attaches to, or 0.
    pub attach_btf_id: u32,
    /// The BTF of the module that has this type; the kernel's own if there is none.
    pub attach_btf: Option<BorrowedFd<'a>>,
    /// Descriptors that calls of kernel functions name by their place.
    pub fd_array: &'a [RawFd],
}

/// The kernel does not load a program.
#[derive(Debug)]
pub struct Refused {
    /// The error number.
    pub error: io::Error,
    /// What the verifier says; empty if it was not asked.
    pub log: String,
}

impl ProgLoad<'_> {
    /// Loads it, without a log: that costs time, and is needed only for what goes wrong. After an error it is
    /// loaded once more for the log.
    pub fn load(&self) -> Result<OwnedFd, Refused> {
        let error = match self.attempt(&mut []) {
            Ok(fd) => return Ok(fd),
            Err(error) => error,
        };
        let mut log = Vec::new();
        for size in LOG_SIZES {
            log = vec![0; size];
            match self.attempt(&mut log) {
                Ok(fd) => return Ok(fd),
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {}
                Err(_) => break,
            }
        }
        Err(Refused {
            error,
            log: text(&log),
        })
    }

    /// Loads it once, with a log of this size; 0 for none.
    pub fn load_logged(&self, size: usize) -> Result<OwnedFd, Refused> {
        let mut log = vec![0; size];
        self.attempt(&mut log).map_err(|error| Refused {
            error,
            log: text(&log),
        })
    }

    fn attempt(&self, log: &mut [u8]) -> io::Result<OwnedFd> {
        let mut result = self.once(log);
        for _ in 1..ATTEMPTS {
            match &result {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => result = self.once(log),
                _ => break,
            }
        }
        result
    }

    fn once(&self, log: &mut [u8]) -> io::Result<OwnedFd> {
        let mut attr: bpf_attr = zeroed();
        // SAFETY: writing fields of a zeroed union of plain data. What is pointed to outlives the call, being
        // borrowed by `self` or the caller, and its length is given.
        let fields = unsafe { &mut attr.__bindgen_anon_3 };
        fields.prog_type = self.program_type;
        fields.expected_attach_type = self.expected_attach_type;
        fields.prog_flags = self.flags;
        // The last byte stays zero.
        for (place, byte) in fields.prog_name.iter_mut().take(15).zip(self.name.bytes()) {
            *place = byte as c_char;
        }
        fields.license = self.license.as_ptr() as u64;
        fields.kern_version = self.kernel_version;
        fields.insns = self.instructions.as_ptr() as u64;
        fields.insn_cnt = u32::try_from(self.instructions.len()).map_err(io::Error::other)?;
        if let Some(btf) = self.btf {
            fields.prog_btf_fd = btf.as_raw_fd() as u32;
            if self.func_info.count() > 0 {
                fields.func_info = self.func_info.bytes.as_ptr() as u64;
                fields.func_info_cnt = self.func_info.count();
                fields.func_info_rec_size = self.func_info.size;
            }
            if self.line_info.count() > 0 {
                fields.line_info = self.line_info.bytes.as_ptr() as u64;
                fields.line_info_cnt = self.line_info.count();
                fields.line_info_rec_size = self.line_info.size;
            }
        }
        fields.attach_btf_id = self.attach_btf_id;
        if let Some(btf) = self.attach_btf {
            fields.__bindgen_anon_1.attach_btf_obj_fd = btf.as_raw_fd() as u32;
        }
        if !self.fd_array.is_empty() {
            fields.fd_array = self.fd_array.as_ptr() as u64;
        }
        if !log.is_empty() {
            fields.log_level = LOG_LEVEL;
            fields.log_buf = log.as_mut_ptr() as u64;
            fields.log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
        }
        owned(bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)?)
    }
}

/// What the kernel wrote before the first zero byte.
pub(super) fn text(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(log.get(..end).unwrap_or_default()).into_owned()
}

/// One instruction.
pub fn instruction(code: u32, registers: u8, imm: i32) -> bpf_insn {
    // SAFETY: bpf_insn is a struct of plain integers; all zero bits are a valid value.
    let mut instruction: bpf_insn = unsafe { std::mem::zeroed() };
    instruction.code = code as u8;
    instruction.set_dst_reg(registers & 0xf);
    instruction.set_src_reg(registers >> 4);
    instruction.imm = imm;
    instruction
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET_FILTER: u32 = 1;
    const XDP: u32 = 6;

    fn returning(value: i32) -> [bpf_insn; 2] {
        [instruction(0xb7, 0, value), instruction(0x95, 0, 0)]
    }

    #[test]
    fn a_program_with_a_long_name_loads() {
        let program = ProgLoad {
            program_type: SOCKET_FILTER,
            name: "a_name_of_more_than_fifteen_bytes",
            license: c"GPL",
            instructions: &returning(0),
            ..ProgLoad::default()
        };
        let fd = program.load().map_err(|refused| refused.error).unwrap();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
        assert!(info.contains("prog_type:\t1"), "{info}");
    }

    #[test]
    fn what_the_verifier_says_comes_with_the_error() {
        // r0 is not set.
        let program = ProgLoad {
            program_type: XDP,
            license: c"GPL",
            instructions: &[instruction(0x95, 0, 0)],
            ..ProgLoad::default()
        };
        let refused = program.load().unwrap_err();
        assert_eq!(refused.error.raw_os_error(), Some(libc::EACCES));
        assert!(refused.log.contains("R0 !read_ok"), "{}", refused.log);
    }

    #[test]
    fn a_log_longer_than_the_first_buffer_comes_whole() {
        // Some thousand instructions, and then one that is refused.
        let mut instructions = vec![instruction(0xb7, 0, 0); 8000];
        instructions.push(instruction(0xbf, 0x50, 0));
        instructions.push(instruction(0x95, 0, 0));
        let program = ProgLoad {
            program_type: XDP,
            license: c"GPL",
            instructions: &instructions,
            ..ProgLoad::default()
        };
        let refused = program.load().unwrap_err();
        assert!(refused.log.len() > LOG_SIZES[0], "{}", refused.log.len());
        assert!(refused.log.contains("R5 !read_ok"));
    }
}
