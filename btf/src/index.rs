//! Which types have a name: a hash table over those that CO-RE looks up, made when it pays. Who wants some
//! names once is served by a pass over the types, which costs a fifth of making the table.

use std::collections::HashMap;

use crate::name::essential;
use crate::parse::Btf;

/// End of a chain.
const NONE: u32 = u32::MAX;

/// Chains of types by the hash of their names without flavour.
pub(crate) struct NameIndex {
    /// First entry of each chain; a power of two.
    heads: Vec<u32>,
    entries: Vec<Entry>,
}

struct Entry {
    id: u32,
    hash: u32,
    next: u32,
}

/// The same as [`NameIndex::find`] for several names at once, without a table: ids for each name.
pub(crate) fn scan(btf: &Btf<'_>, names: &[&[u8]]) -> Vec<Vec<u32>> {
    let starts = Starts::new(names);
    let wanted: HashMap<&[u8], usize> = names.iter().copied().zip(0..).collect();
    let mut found = vec![Vec::new(); names.len()];
    for (id, offset) in btf.named() {
        if btf.string_from(offset).is_some_and(|name| starts.maybe(name))
            && let Some(name) = btf.string(offset)
            && let Some(ids) = wanted.get(essential(name)).and_then(|i| found.get_mut(*i))
        {
            ids.push(id);
        }
    }
    // A name that is asked for several times was found for one of these.
    for (i, name) in names.iter().enumerate() {
        if let Some(known) = wanted.get(name).filter(|known| **known != i) {
            let ids = found.get(*known).cloned();
            if let (Some(to), Some(ids)) = (found.get_mut(i), ids) {
                *to = ids;
            }
        }
    }
    found
}

/// The first three bytes of some names as bits: most other names are told apart from them by one look.
struct Starts(Vec<u64>);

impl Starts {
    fn new(names: &[&[u8]]) -> Self {
        let mut starts = Starts(vec![0; 1024]);
        for name in names {
            match name {
                // What follows a short name is its end or a flavour.
                [] => {}
                [a] => (0..=255).for_each(|c| [0, b'_'].iter().for_each(|b| starts.set([*a, *b, c]))),
                [a, b] => [0, b'_'].iter().for_each(|c| starts.set([*a, *b, *c])),
                [a, b, c, ..] => starts.set([*a, *b, *c]),
            }
        }
        starts
    }

    /// Word and bit of three bytes.
    #[inline]
    fn place(bytes: [u8; 3]) -> (usize, u32) {
        let [a, b, c] = bytes;
        let hash = u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9e37_79b1) >> 16;
        ((hash >> 6) as usize, hash & 63)
    }

    fn set(&mut self, bytes: [u8; 3]) {
        let (word, bit) = Self::place(bytes);
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// Whether what begins here may be one of the names, with what comes after its end. Of the last two
    /// bytes of all strings nothing is known.
    #[inline]
    fn maybe(&self, text: &[u8]) -> bool {
        let Some(bytes) = text.first_chunk() else {
            return true;
        };
        let (word, bit) = Self::place(*bytes);
        self.0.get(word).is_some_and(|word| word >> bit & 1 != 0)
    }
}

impl NameIndex {
    pub(crate) fn new(btf: &Btf<'_>) -> Self {
        let mut entries = Vec::with_capacity(btf.len() as usize / 4);
        for (id, offset) in btf.named() {
            if let Some(name) = btf.string(offset).filter(|name| !name.is_empty()) {
                entries.push(Entry {
                    id,
                    hash: hash(essential(name)),
                    next: NONE,
                });
            }
        }
        let size = entries.len().next_power_of_two().max(1);
        let mut heads = vec![NONE; size];
        // Backwards, so that every chain goes by ascending ids.
        for (index, entry) in entries.iter_mut().enumerate().rev() {
            if let Some(head) = heads.get_mut(entry.hash as usize & (size - 1)) {
                entry.next = *head;
                *head = index as u32;
            }
        }
        NameIndex { heads, entries }
    }

    pub(crate) fn find<'b>(&'b self, btf: &'b Btf<'_>, name: &'b [u8]) -> impl Iterator<Item = u32> + 'b {
        let wanted = hash(name);
        let mask = self.heads.len().wrapping_sub(1);
        let first = self.heads.get(wanted as usize & mask).copied().unwrap_or(NONE);
        let entry = |index: u32| self.entries.get(index as usize);
        std::iter::successors(entry(first), move |e| entry(e.next))
            .filter(move |e| e.hash == wanted)
            .filter(move |e| btf.get(e.id).is_some_and(|t| essential(t.name_bytes()) == name))
            .map(|e| e.id)
    }
}

/// FNV-1a, eight bytes at a time where there are eight: names are short, and the table is no target,
/// for a chain is at most as long as the BTF.
fn hash(name: &[u8]) -> u32 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    let mut step = |value: u64| {
        state = (state ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 29;
    };
    let mut chunks = name.chunks_exact(8);
    for chunk in &mut chunks {
        step(chunk.first_chunk().map_or(0, |c| u64::from_le_bytes(*c)));
    }
    let mut tail = [0u8; 8];
    for (to, from) in tail.iter_mut().zip(chunks.remainder()) {
        *to = *from;
    }
    step(u64::from_le_bytes(tail) ^ (name.len() as u64) << 56);
    (state >> 32) as u32 ^ state as u32
}
