//! [`Recipe`]: bytes as instructions for making BTF of an object, a kernel and a module, with relocations.
//!
//! Random bytes are no BTF, for lengths and offsets must agree. Here every input makes some: each record
//! adds a name, a type or a relocation, so that a mutation changes one thing and leaves the rest alone.

use btf::{Endian, RelocationInfo};

use crate::input::{Input, LONG, Names};
use crate::types::Types;

/// Most types and relocations that are made.
const MAX_TYPES: u32 = 4096;
const MAX_WANTED: usize = 64;

/// Records other than types, whose numbers are those of their kinds.
pub(crate) const WANT: u8 = 20;
pub(crate) const NAME: u8 = 24;
pub(crate) const PART: u8 = 26;
/// All records of the object's types so far once more, for the kernel.
pub(crate) const SAME: u8 = 30;

/// First bytes of instructions: loads, stores, moves, a 64-bit load.
pub(crate) const CODES: [u8; 8] = [0x61, 0x79, 0x63, 0xb7, 0xb4, 0x18, 0x71, 0x7a];

/// Which BTF a type goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    Object,
    Kernel,
    Module,
}

/// A relocation, and the instruction that it changes.
pub struct Wanted {
    /// The relocation, at byte 0.
    pub relocation: RelocationInfo,
    /// Two instructions.
    pub code: [u8; 16],
    /// Whether the first is given the operand that the object's own types make of it.
    pub fitting: bool,
}

/// What a recipe makes.
pub struct Recipe {
    /// The object's BTF.
    pub object: Vec<u8>,
    /// The kernel's.
    pub kernel: Vec<u8>,
    /// A module's, on top of it; it may have no types.
    pub module: Vec<u8>,
    /// Relocations.
    pub wanted: Vec<Wanted>,
    /// Byte order of the object.
    pub endian: Endian,
    /// Whether types refer to types that are there, and names stand where C has some.
    pub sound: bool,
}

impl Recipe {
    /// Makes what the bytes say.
    pub fn read(data: &[u8]) -> Self {
        let mut input = Input(data);
        let how = input.byte();
        let order = |bit: u8| {
            if how & bit == 0 {
                Endian::Little
            } else {
                Endian::Big
            }
        };
        let sound = how & 4 == 0;
        let mut parts = [1, 2, 2].map(|bit| Types::new(order(bit), sound));
        let mut names = Names::new();
        let (mut part, mut wanted) = (0, Vec::new());
        while !input.0.is_empty() {
            match input.byte() & 31 {
                kind @ 1..20 if parts[part].count() < MAX_TYPES => parts[part].add(kind, &names, &mut input),
                WANT..NAME if wanted.len() < MAX_WANTED => wanted.push(want(&mut names, &mut input)),
                NAME | 25 => {
                    let length = usize::from(input.byte() & 63);
                    names.add(input.slice(length));
                }
                code @ PART..SAME => part = usize::from(code - PART) % 3,
                SAME if parts[0].endian == parts[1].endian && parts[1].count() == 0 => {
                    parts[1] = parts[0].clone();
                    part = 1;
                }
                _ => {}
            }
        }
        let [mut object, mut kernel, mut module] = parts;
        object.make_sound(0);
        kernel.make_sound(0);
        module.make_sound(kernel.count());
        Recipe {
            object: object.finish(&names.bytes),
            kernel: kernel.finish(&names.bytes),
            // The kernel's strings are there already.
            module: module.finish(&[]),
            wanted,
            endian: object.endian,
            sound,
        }
    }
}

fn want(names: &mut Names, input: &mut Input<'_>) -> Wanted {
    let (kind, type_id) = (u32::from(input.byte() & 15), input.number());
    let access = match input.byte() {
        number @ LONG.. => names.get(usize::from(number - LONG)).unwrap_or(0),
        length => {
            let steps = input.slice(usize::from(length & 15));
            let text: Vec<String> = steps.iter().map(|s| s.cast_signed().to_string()).collect();
            names.text(text.join(":").as_bytes())
        }
    };
    let how = input.byte();
    let mut code = [0; 16];
    if how & 1 == 0 {
        code[0] = CODES[usize::from(how >> 1 & 7)];
    } else {
        let raw = input.slice(16);
        code[..raw.len()].copy_from_slice(raw);
    }
    Wanted {
        relocation: RelocationInfo {
            instruction_offset: 0,
            type_id,
            access,
            kind,
        },
        code,
        fitting: how & 0x80 == 0,
    }
}
