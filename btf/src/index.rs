//! Which types have a name: a hash table over those that CO-RE looks up, made when it pays. Who wants some
//! names once is served by a pass over the types, which costs a fifth of making the table.

use std::collections::HashMap;

use crate::bytes::Bytes;
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

/// Calls `each` with id and string offset of every own type that is looked up by name.
#[inline]
fn named(btf: &Btf<'_>, mut each: impl FnMut(u32, u32)) {
    let bytes = Bytes::new(btf.bytes(), btf.endian());
    for (first, word) in (0u32..).step_by(64).zip(btf.looked_up()) {
        let mut left = *word;
        while left != 0 {
            let own = first + left.trailing_zeros();
            left &= left - 1;
            let at = btf.own_offsets().get(own as usize);
            if let Some(name) = at
                .and_then(|at| bytes.u32(*at as usize))
                .filter(|name| *name != 0)
            {
                // Ids fit: opening has seen to it.
                each(btf.first_id().saturating_add(own), name);
            }
        }
    }
}

/// The same as [`NameIndex::find`] for several names at once, without a table: ids for each name.
pub(crate) fn scan(btf: &Btf<'_>, names: &[&[u8]]) -> Vec<Vec<u32>> {
    // Most names are told apart by their first bytes, which costs one look at them.
    let mut starts = [0u64; 64];
    for start in names.iter().filter_map(|name| start(name)) {
        if let Some(word) = starts.get_mut(start / 64) {
            *word |= 1 << (start % 64);
        }
    }
    let wanted: HashMap<&[u8], usize> = names.iter().copied().zip(0..).collect();
    let mut found = vec![Vec::new(); names.len()];
    named(btf, |id, offset| {
        let worth = btf
            .string_from(offset)
            .and_then(start)
            .is_some_and(|start| starts.get(start / 64).is_some_and(|w| w >> (start % 64) & 1 != 0));
        if worth
            && let Some(name) = btf.string(offset)
            && let Some(ids) = wanted.get(essential(name)).and_then(|i| found.get_mut(*i))
        {
            ids.push(id);
        }
    });
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

/// Twelve bits of a name's first three bytes; `None` for an empty one. Names shorter than that end in a NUL
/// or `___`: what follows does not count.
#[inline]
fn start(name: &[u8]) -> Option<usize> {
    let mut bits = 0;
    for (at, shift) in [(0, 0), (1, 3), (2, 6)] {
        match name.get(at) {
            Some(0) | None => break,
            // A flavour may begin here.
            Some(b'_') if at > 0 => break,
            Some(byte) => bits ^= usize::from(*byte) << shift,
        }
    }
    (name.first().copied().unwrap_or(0) != 0).then_some(bits & 0xfff)
}

impl NameIndex {
    pub(crate) fn new(btf: &Btf<'_>) -> Self {
        let mut entries = Vec::with_capacity(btf.own_offsets().len() / 4);
        named(btf, |id, offset| {
            if let Some(name) = btf.string(offset).filter(|name| !name.is_empty()) {
                entries.push(Entry {
                    id,
                    hash: hash(essential(name)),
                    next: NONE,
                });
            }
        });
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
