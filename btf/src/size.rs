//! Sizes of values.

use crate::kind::{Kind, MAX_DEPTH};
use crate::parse::Btf;

/// Names of the integer that is as wide as a pointer on every Linux.
const LONG: [&[u8]; 11] = [
    b"long",
    b"long int",
    b"int long",
    b"unsigned long",
    b"long unsigned",
    b"unsigned long int",
    b"unsigned int long",
    b"long unsigned int",
    b"long int unsigned",
    b"int unsigned long",
    b"int long unsigned",
];

/// Whether an integer of this name tells the size of a pointer.
pub(crate) fn is_long(name: &[u8]) -> bool {
    LONG.contains(&name)
}

impl Btf<'_> {
    /// Size of a value of a type in bytes; `None` for what has none (void, functions, forward
    /// declarations) or one that overflows 32 bits.
    pub fn size(&self, id: u32) -> Option<u32> {
        let mut id = id;
        let mut factor = 1u32;
        for _ in 0..MAX_DEPTH {
            let t = self.get(id)?;
            id = match t.kind() {
                Kind::Ptr => return factor.checked_mul(self.pointer_size()),
                Kind::Array => {
                    let array = t.array()?;
                    factor = factor.checked_mul(array.length)?;
                    array.element
                }
                kind if kind.is_modifier() => t.size_or_type(),
                Kind::Var | Kind::DeclTag => t.size_or_type(),
                _ => return factor.checked_mul(t.own_size()?),
            };
        }
        None
    }

    /// Size of a pointer in bytes: that of `long`, and 8 if no `long` is there.
    pub fn pointer_size(&self) -> u32 {
        if let Some(base) = self.base() {
            return base.pointer_size();
        }
        *self.pointer_size_cell().get_or_init(|| {
            self.integers()
                .filter(|t| is_long(t.name_bytes()))
                .filter_map(|t| t.own_size())
                .find(|size| matches!(size, 4 | 8))
                .unwrap_or(8)
        })
    }
}
