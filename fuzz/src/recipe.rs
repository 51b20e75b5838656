//! [`Recipe`]: bytes as instructions for making BTF of an object, a kernel and a module, with relocations.
//!
//! Random bytes are no BTF, for lengths and offsets must agree. Here every input makes some: each record
//! adds a name, a type or a relocation, so that a mutation changes one thing and leaves the rest alone.

use btf::{Endian, RelocationInfo};

/// Most types and relocations that are made.
const MAX_TYPES: u32 = 4096;
const MAX_WANTED: usize = 64;

/// Records other than types, whose numbers are those of their kinds.
pub(crate) const WANT: u8 = 20;
pub(crate) const NAME: u8 = 24;
pub(crate) const PART: u8 = 26;
/// All records of the object's types so far once more, for the kernel.
pub(crate) const SAME: u8 = 30;
/// A number that is followed by its four bytes; smaller ones stand for themselves.
pub(crate) const LONG: u8 = 0xf0;

/// Names that matter to somebody.
pub(crate) const NAMES: [&[u8]; 16] = [
    b"", b"a", b"b", b"c", b"s", b"s___x", b"s___y", b"e", b"e___x", b"f", b"int", b"long", b"0", b"0:0",
    b"_", b"\xff",
];

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
}

/// Types of one BTF, as they are laid out.
struct Types {
    endian: Endian,
    count: u32,
    bytes: Vec<u8>,
}

impl Types {
    fn word(&mut self, value: u32) {
        self.bytes.extend_from_slice(&match self.endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        });
    }
}

/// The rest of the input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.slice(1).first().copied().unwrap_or(0)
    }

    fn slice(&mut self, length: usize) -> &'a [u8] {
        let (slice, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        slice
    }

    fn number(&mut self) -> u32 {
        match self.byte() {
            LONG.. => self
                .slice(4)
                .first_chunk()
                .map_or(0, |raw| u32::from_le_bytes(*raw)),
            small => u32::from(small),
        }
    }
}

impl Recipe {
    /// Makes what the bytes say.
    pub fn read(data: &[u8]) -> Self {
        let mut input = Input(data);
        let orders = input.byte();
        let order = |bit: u8| {
            if orders & bit == 0 {
                Endian::Little
            } else {
                Endian::Big
            }
        };
        let types = |endian| Types {
            endian,
            count: 0,
            bytes: Vec::new(),
        };
        let mut parts = [types(order(1)), types(order(2)), types(order(2))];
        let mut names = Names {
            bytes: Vec::new(),
            offsets: Vec::new(),
        };
        NAMES.iter().for_each(|name| names.add(name));
        let (mut part, mut wanted) = (0, Vec::new());
        while !input.0.is_empty() {
            match input.byte() & 31 {
                kind @ 1..20 if parts[part].count < MAX_TYPES => {
                    add(&mut parts[part], kind, &names, &mut input);
                }
                WANT..NAME if wanted.len() < MAX_WANTED => wanted.push(want(&mut names, &mut input)),
                NAME | 25 => {
                    let length = usize::from(input.byte() & 63);
                    names.add(input.slice(length));
                }
                code @ PART..SAME => part = usize::from(code - PART) % 3,
                SAME if parts[0].endian == parts[1].endian && parts[1].count == 0 => {
                    parts[1].count = parts[0].count;
                    parts[1].bytes = parts[0].bytes.clone();
                    part = 1;
                }
                _ => {}
            }
        }
        let [object, kernel, module] = parts;
        let endian = object.endian;
        Recipe {
            object: whole(&object, &names.bytes),
            kernel: whole(&kernel, &names.bytes),
            // The kernel's strings are there already.
            module: whole(&module, &[]),
            wanted,
            endian,
        }
    }
}

/// Strings, the same ones in each BTF.
struct Names {
    bytes: Vec<u8>,
    offsets: Vec<u32>,
}

impl Names {
    fn add(&mut self, name: &[u8]) {
        self.offsets.push(self.bytes.len() as u32);
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
    }

    /// The offset of a name by its number; a long number is an offset itself.
    fn read(&self, input: &mut Input<'_>) -> u32 {
        let number = input.number();
        self.offsets.get(number as usize).copied().unwrap_or(number)
    }
}

fn add(types: &mut Types, kind: u8, names: &Names, input: &mut Input<'_>) {
    let name = names.read(input);
    let (how, size_or_type) = (input.byte(), input.number());
    let count = u32::from(how & 0x7f);
    types.count += 1;
    types.word(name);
    types.word(count | u32::from(kind) << 24 | u32::from(how >> 7) << 31);
    types.word(size_or_type);
    // Whether an item begins with a name, and how many numbers follow; how many items there are.
    let (named, numbers, items) = match kind {
        1 | 14 | 17 => (false, 1, 1),
        3 => (false, 3, 1),
        4 | 5 | 19 => (true, 2, count),
        6 | 13 => (true, 1, count),
        15 => (false, 3, count),
        _ => (false, 0, 0),
    };
    for _ in 0..items {
        if named {
            let name = names.read(input);
            types.word(name);
        }
        for _ in 0..numbers {
            let value = input.number();
            types.word(value);
        }
    }
}

fn want(names: &mut Names, input: &mut Input<'_>) -> Wanted {
    let (kind, type_id) = (u32::from(input.byte() & 15), input.number());
    let access = match input.byte() {
        number @ LONG.. => names
            .offsets
            .get(usize::from(number - LONG))
            .copied()
            .unwrap_or(0),
        length => {
            let steps = input.slice(usize::from(length & 15));
            let text: Vec<String> = steps.iter().map(|s| s.cast_signed().to_string()).collect();
            let offset = names.bytes.len() as u32;
            // Not to be chosen as a name.
            names.bytes.extend_from_slice(text.join(":").as_bytes());
            names.bytes.push(0);
            offset
        }
    };
    let how = input.byte();
    let mut code = [0; 16];
    if how & 1 == 0 {
        // A load, a store, a move, a 64-bit load.
        code[0] = [0x61, 0x79, 0x63, 0xb7, 0xb4, 0x18, 0x71, 0x7a][usize::from(how >> 1 & 7)];
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

fn whole(types: &Types, strings: &[u8]) -> Vec<u8> {
    let mut out = Types {
        endian: types.endian,
        count: 0,
        bytes: Vec::new(),
    };
    out.bytes.extend_from_slice(&match types.endian {
        Endian::Little => [0x9f, 0xeb, 1, 0],
        Endian::Big => [0xeb, 0x9f, 1, 0],
    });
    let length = types.bytes.len() as u32;
    for value in [24, 0, length, length, strings.len() as u32] {
        out.word(value);
    }
    out.bytes.extend_from_slice(&types.bytes);
    out.bytes.extend_from_slice(strings);
    out.bytes
}
