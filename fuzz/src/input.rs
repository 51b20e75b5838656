//! The input, read from its begin, and the names that it gives.

/// A number that is followed by its four bytes; smaller ones stand for themselves.
pub(crate) const LONG: u8 = 0xf0;

/// The rest of the input.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    /// A byte; 0 after the end.
    pub(crate) fn byte(&mut self) -> u8 {
        self.slice(1).first().copied().unwrap_or(0)
    }

    /// As many bytes as there are.
    pub(crate) fn slice(&mut self, length: usize) -> &'a [u8] {
        let (slice, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        slice
    }

    pub(crate) fn number(&mut self) -> u32 {
        match self.byte() {
            LONG.. => self
                .slice(4)
                .first_chunk()
                .map_or(0, |raw| u32::from_le_bytes(*raw)),
            small => u32::from(small),
        }
    }
}

/// Names that matter to somebody.
pub(crate) const NAMES: [&[u8]; 16] = [
    b"", b"a", b"b", b"c", b"s", b"s___x", b"s___y", b"e", b"e___x", b"f", b"int", b"long", b"0", b"0:0",
    b"_", b"\xff",
];

/// Strings, the same ones in each BTF.
pub(crate) struct Names {
    pub(crate) bytes: Vec<u8>,
    offsets: Vec<u32>,
}

impl Names {
    pub(crate) fn new() -> Self {
        let mut names = Names {
            bytes: Vec::new(),
            offsets: Vec::new(),
        };
        NAMES.iter().for_each(|name| names.add(name));
        names
    }

    pub(crate) fn add(&mut self, name: &[u8]) {
        let offset = self.text(name);
        self.offsets.push(offset);
    }

    /// Adds what is not to be chosen as a name.
    pub(crate) fn text(&mut self, text: &[u8]) -> u32 {
        let offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        offset
    }

    /// The offset of a name by its number.
    pub(crate) fn get(&self, number: usize) -> Option<u32> {
        self.offsets.get(number).copied()
    }

    /// The same; a number that no name has is an offset itself.
    pub(crate) fn read(&self, input: &mut Input<'_>) -> u32 {
        let number = input.number();
        self.get(number as usize).unwrap_or(number)
    }
}
