//! [`patch`]: writes an answer into its instruction.

use super::error::PatchError;
use super::value::Outcome;
use crate::endian::Endian;

/// The helper number that a poisoned instruction calls, which the verifier quotes when it is reached
/// (`invalid func unknown#195896080`); 0xbad2310, as libbpf's.
pub const POISON: i32 = 0x0bad_2310;

// Parts of an operation code (include/uapi/linux/bpf_common.h).
const CLASS: u8 = 0x07;
const LD: u8 = 0x00;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const ALU: u8 = 0x04;
const ALU64: u8 = 0x07;
const SOURCE_REGISTER: u8 = 0x08;
const SIZE: u8 = 0x18;
const LOAD_64: u8 = 0x18;
const CALL: u8 = 0x85;

/// What became of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patched {
    /// It holds the kernel's value.
    Value,
    /// It is a call that the verifier refuses, unless it never gets there.
    Poisoned,
}

/// Writes an answer into the instruction at byte `at` of a section, whose byte order is the object's.
///
/// # Errors
/// If there is no instruction that fits the answer; nothing is changed then.
pub fn patch(
    code: &mut [u8],
    at: usize,
    endian: Endian,
    outcome: &Outcome<'_>,
) -> Result<Patched, PatchError> {
    let place = at as u64;
    let (mut insn, next) = code
        .get_mut(at..)
        .filter(|_| at.is_multiple_of(8))
        .and_then(|rest| rest.split_first_chunk_mut::<8>())
        .map(|(insn, rest)| (Insn { raw: insn, endian }, rest.first_chunk_mut::<8>()))
        .ok_or(PatchError::NoInstruction(place))?;
    let next = next.map(|raw| Insn { raw, endian });
    let Some(value) = outcome.value else {
        return Ok(poison(insn, next));
    };
    let unexpected = |found: u64| PatchError::Unexpected {
        at: place,
        found,
        expected: outcome.original,
    };
    let bad = PatchError::BadInstruction {
        at: place,
        code: insn.code(),
    };
    let class = insn.code() & CLASS;
    match class {
        ALU | ALU64 => {
            if insn.code() & SOURCE_REGISTER != 0 {
                return Err(bad);
            }
            let held = i64::from(insn.imm()).cast_unsigned();
            if outcome.validate && held != outcome.original {
                return Err(unexpected(held));
            }
            insn.set_imm(value as i32);
        }
        LDX | ST | STX => {
            let held = i64::from(insn.offset()).cast_unsigned();
            if outcome.validate && held != outcome.original {
                return Err(unexpected(held));
            }
            let Ok(offset) = i16::try_from(value) else {
                return Err(PatchError::TooFar { at: place, value });
            };
            if outcome.unfit {
                return Ok(poison(insn, next));
            }
            let mut code = insn.code();
            if outcome.size != outcome.original_size {
                let width = |size: u32| PatchError::BadWidth { at: place, size };
                if bytes(code) != outcome.original_size {
                    return Err(width(outcome.original_size));
                }
                code = code & !SIZE | size_bits(outcome.size).ok_or_else(|| width(outcome.size))?;
            }
            insn.set_offset(offset);
            insn.raw[0] = code;
        }
        LD => {
            let Some(mut next) = next.filter(|next| {
                insn.code() == LOAD_64
                    && insn.source() == 0
                    && insn.offset() == 0
                    && next.raw[0] == 0
                    && next.raw[1] == 0
                    && next.offset() == 0
            }) else {
                return Err(bad);
            };
            let held = u64::from(insn.imm().cast_unsigned()) | u64::from(next.imm().cast_unsigned()) << 32;
            if outcome.validate && held != outcome.original {
                return Err(unexpected(held));
            }
            insn.set_imm(value as i32);
            next.set_imm((value >> 32) as i32);
        }
        _ => return Err(bad),
    }
    Ok(Patched::Value)
}

/// Both halves of a 64-bit load, so that the verifier does not stumble over the second one first.
fn poison(mut insn: Insn<'_>, next: Option<Insn<'_>>) -> Patched {
    if insn.code() == LOAD_64
        && let Some(mut next) = next
    {
        next.poison();
    }
    insn.poison();
    Patched::Poisoned
}

fn bytes(code: u8) -> u32 {
    match code & SIZE {
        0x18 => 8,
        0x00 => 4,
        0x08 => 2,
        _ => 1,
    }
}

fn size_bits(bytes: u32) -> Option<u8> {
    Some(match bytes {
        8 => 0x18,
        4 => 0x00,
        2 => 0x08,
        1 => 0x10,
        _ => return None,
    })
}

/// Eight bytes of code: operation, registers, offset, immediate.
struct Insn<'c> {
    raw: &'c mut [u8; 8],
    endian: Endian,
}

impl Insn<'_> {
    fn code(&self) -> u8 {
        self.raw[0]
    }

    fn source(&self) -> u8 {
        match self.endian {
            Endian::Little => self.raw[1] >> 4,
            Endian::Big => self.raw[1] & 0x0f,
        }
    }

    fn offset(&self) -> i16 {
        let raw = [self.raw[2], self.raw[3]];
        match self.endian {
            Endian::Little => i16::from_le_bytes(raw),
            Endian::Big => i16::from_be_bytes(raw),
        }
    }

    fn set_offset(&mut self, offset: i16) {
        let raw = match self.endian {
            Endian::Little => offset.to_le_bytes(),
            Endian::Big => offset.to_be_bytes(),
        };
        [self.raw[2], self.raw[3]] = raw;
    }

    fn imm(&self) -> i32 {
        let raw = [self.raw[4], self.raw[5], self.raw[6], self.raw[7]];
        match self.endian {
            Endian::Little => i32::from_le_bytes(raw),
            Endian::Big => i32::from_be_bytes(raw),
        }
    }

    fn set_imm(&mut self, imm: i32) {
        let raw = match self.endian {
            Endian::Little => imm.to_le_bytes(),
            Endian::Big => imm.to_be_bytes(),
        };
        [self.raw[4], self.raw[5], self.raw[6], self.raw[7]] = raw;
    }

    fn poison(&mut self) {
        *self.raw = [CALL, 0, 0, 0, 0, 0, 0, 0];
        self.set_imm(POISON);
    }
}
