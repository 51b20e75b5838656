//! Which types have a name: a hash table over those that CO-RE looks up, made when first asked.

use crate::bytes::Bytes;
use crate::kind::{self, Kind};
use crate::name::essential;
use crate::parse::Btf;

/// Kinds that are looked up by name, as bits.
const LOOKED_UP: u32 = 1 << Kind::Int as u32
    | 1 << Kind::Struct as u32
    | 1 << Kind::Union as u32
    | 1 << Kind::Enum as u32
    | 1 << Kind::Fwd as u32
    | 1 << Kind::Typedef as u32
    | 1 << Kind::Float as u32
    | 1 << Kind::Enum64 as u32;

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

impl NameIndex {
    pub(crate) fn new(btf: &Btf<'_>) -> Self {
        let bytes = Bytes::new(btf.bytes(), btf.endian());
        let mut entries = Vec::new();
        for (own, at) in btf.own_offsets().iter().enumerate() {
            let Some(info) = bytes.u32(*at as usize + 4) else {
                continue;
            };
            if LOOKED_UP & (1 << kind::number(info)) == 0 {
                continue;
            }
            let Some(name) = bytes.u32(*at as usize).filter(|offset| *offset != 0) else {
                continue;
            };
            let Some(name) = btf.string(name).filter(|name| !name.is_empty()) else {
                continue;
            };
            entries.push(Entry {
                // Ids fit: opening has seen to it.
                id: btf.first_id().saturating_add(own as u32),
                hash: hash(essential(name)),
                next: NONE,
            });
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
