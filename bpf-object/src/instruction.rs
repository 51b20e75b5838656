//! Instructions: eight bytes of operation, registers, offset and immediate.

use btf::Endian;

/// Bytes of one instruction.
pub(crate) const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`.
pub(crate) const CALL: u8 = 0x85;
/// `BPF_LD | BPF_IMM | BPF_DW`: a 64-bit constant in two slots.
pub(crate) const LOAD_64: u8 = 0x18;
/// `BPF_PSEUDO_CALL`: a call of a function of the same object.
pub(crate) const PSEUDO_CALL: u8 = 1;

/// An instruction, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) destination: u8,
    pub(crate) source: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

impl Instruction {
    pub(crate) fn read(code: &[u8], at: usize, endian: Endian) -> Option<Self> {
        let raw = code.get(at..)?.first_chunk::<INSTRUCTION>()?;
        let [opcode, registers, o0, o1, immediate @ ..] = *raw;
        let (low, high) = (registers & 0x0f, registers >> 4);
        Some(match endian {
            Endian::Little => Instruction {
                code: opcode,
                destination: low,
                source: high,
                offset: i16::from_le_bytes([o0, o1]),
                immediate: i32::from_le_bytes(immediate),
            },
            Endian::Big => Instruction {
                code: opcode,
                destination: high,
                source: low,
                offset: i16::from_be_bytes([o0, o1]),
                immediate: i32::from_be_bytes(immediate),
            },
        })
    }

    /// Writes it; `None` beyond the end.
    pub(crate) fn write(self, code: &mut [u8], at: usize, endian: Endian) -> Option<()> {
        let place = code.get_mut(at..)?.first_chunk_mut::<INSTRUCTION>()?;
        let (registers, [o0, o1], [a, b, c, d]) = match endian {
            Endian::Little => (
                self.source << 4 | self.destination & 0x0f,
                self.offset.to_le_bytes(),
                self.immediate.to_le_bytes(),
            ),
            Endian::Big => (
                self.destination << 4 | self.source & 0x0f,
                self.offset.to_be_bytes(),
                self.immediate.to_be_bytes(),
            ),
        };
        *place = [self.code, registers, o0, o1, a, b, c, d];
        Some(())
    }

    pub(crate) fn is_local_call(self) -> bool {
        self.code == CALL && self.source == PSEUDO_CALL
    }

    pub(crate) fn size(self) -> usize {
        if self.code == LOAD_64 {
            2 * INSTRUCTION
        } else {
            INSTRUCTION
        }
    }
}
