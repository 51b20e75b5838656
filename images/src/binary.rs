//! Whether a program can run in an image that holds nothing else.

use object::{
    Endianness,
    elf::{EM_AARCH64, EM_X86_64, FileHeader64, PT_INTERP},
    read::elf::{FileHeader as _, ProgramHeader as _},
};

use crate::component::Platform;

/// Why a program cannot be put into an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// No 64-bit ELF file.
    #[error("it is no 64-bit ELF program ({0})")]
    NotElf(String),
    /// Built for something else.
    #[error(
        "it is no program for {0}: its ELF machine is {1}, and {0} has {2}; look at the architecture before '='"
    )]
    Machine(&'static str, u16, u16),
    /// Needs a loader and libc.
    #[error(
        "it is linked dynamically, and the image has no libc; build it with scripts/static.sh, or with \
         RUSTFLAGS='-C target-feature=+crt-static' and --target"
    )]
    Dynamic,
}

/// Checks that a program is for this platform and brings all its libraries.
///
/// # Errors
/// It does not.
pub fn check(bytes: &[u8], platform: Platform) -> Result<(), BinaryError> {
    let broken = |error: object::Error| BinaryError::NotElf(error.to_string());
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let expected = match platform {
        Platform::Amd64 => EM_X86_64,
        Platform::Arm64 => EM_AARCH64,
    };
    let machine = header.e_machine(endian);
    if machine != expected {
        return Err(BinaryError::Machine(platform.name(), machine.0, expected.0));
    }
    let segments = header.program_headers(endian, bytes).map_err(broken)?;
    if segments.iter().any(|segment| segment.p_type(endian) == PT_INTERP) {
        return Err(BinaryError::Dynamic);
    }
    Ok(())
}
