//! Types of one BTF, written record by record as they are laid out.

use btf::Endian;

use crate::input::{Input, Names};

/// Types of one BTF.
#[derive(Clone)]
pub(crate) struct Types {
    pub(crate) endian: Endian,
    /// Types refer to types that are there, and names stand where C has some.
    pub(crate) sound: bool,
    pub(crate) bytes: Vec<u8>,
    /// The kind of each.
    kinds: Vec<u8>,
    /// Where in `bytes` which kind of type refers to another.
    references: Vec<(usize, u8)>,
}

impl Types {
    pub(crate) fn new(endian: Endian, sound: bool) -> Self {
        Types {
            endian,
            sound,
            bytes: Vec::new(),
            kinds: Vec::new(),
            references: Vec::new(),
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.kinds.len() as u32
    }

    /// Has types refer to types that are there, `below` of them in a BTF below this, and to values only where
    /// C knows nothing else.
    pub(crate) fn make_sound(&mut self, below: u32) {
        if !self.sound {
            return;
        }
        let ids = below + self.count() + 1;
        for (at, kind) in std::mem::take(&mut self.references) {
            let id = self.read(at) % ids;
            let to = id
                .checked_sub(below + 1)
                .and_then(|own| self.kinds.get(own as usize));
            // Functions, variables, sections and tags are part of sections and tags only.
            let value = to.is_some_and(|to| matches!(to, 12 | 14 | 15 | 17));
            let id = if value && !matches!(kind, 15 | 17) { 0 } else { id };
            let word = self.encoded(id);
            if let Some(place) = self.bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&word);
            }
        }
    }

    fn read(&self, at: usize) -> u32 {
        let raw = self.bytes.get(at..).and_then(|b| b.first_chunk::<4>());
        raw.map_or(0, |raw| match self.endian {
            Endian::Little => u32::from_le_bytes(*raw),
            Endian::Big => u32::from_be_bytes(*raw),
        })
    }

    fn encoded(&self, value: u32) -> [u8; 4] {
        match self.endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        }
    }

    pub(crate) fn word(&mut self, value: u32) {
        let word = self.encoded(value);
        self.bytes.extend_from_slice(&word);
    }

    fn reference(&mut self, kind: u8, id: u32) {
        self.references.push((self.bytes.len(), kind));
        self.word(id);
    }

    /// Adds a type of a kind: its name, how many items it has and its flag, its third word, its items.
    pub(crate) fn add(&mut self, kind: u8, names: &Names, input: &mut Input<'_>) {
        let mut name = names.read(input);
        // Pointers, arrays, qualifiers and prototypes have no name.
        if self.sound && matches!(kind, 2 | 3 | 9..=11 | 13) {
            name = 0;
        }
        let (how, size_or_type) = (input.byte(), input.number());
        let count = u32::from(how & 0x7f);
        self.kinds.push(kind);
        self.word(name);
        self.word(count | u32::from(kind) << 24 | u32::from(how >> 7) << 31);
        match kind {
            2 | 8..15 | 17 | 18 => self.reference(kind, size_or_type),
            _ => self.word(size_or_type),
        }
        // Whether an item begins with a name, how many types and other numbers follow, how many items there are.
        let (named, references, numbers, items) = match kind {
            1 | 14 | 17 => (false, 0, 1, 1),
            3 => (false, 2, 1, 1),
            4 | 5 => (true, 1, 1, count),
            19 => (true, 0, 2, count),
            6 => (true, 0, 1, count),
            13 => (true, 1, 0, count),
            15 => (false, 1, 2, count),
            _ => (false, 0, 0, 0),
        };
        for _ in 0..items {
            if named {
                self.word(names.read(input));
            }
            for _ in 0..references {
                self.reference(kind, input.number());
            }
            for _ in 0..numbers {
                self.word(input.number());
            }
        }
    }

    /// The whole BTF, with its header and these strings.
    pub(crate) fn finish(&self, strings: &[u8]) -> Vec<u8> {
        let mut out = Types::new(self.endian, self.sound);
        out.bytes.extend_from_slice(&match self.endian {
            Endian::Little => [0x9f, 0xeb, 1, 0],
            Endian::Big => [0xeb, 0x9f, 1, 0],
        });
        let length = self.bytes.len() as u32;
        for value in [24, 0, length, length, strings.len() as u32] {
            out.word(value);
        }
        [out.bytes.as_slice(), &self.bytes, strings].concat()
    }
}
