//! Integers of any width at any bit, in either byte order.

use btf::Endian;

/// Where bit `index` (0 is the first in memory order) stands: its byte, and its bit within that.
///
/// BTF counts from the least significant bit of the first byte on little-endian machines and from the
/// most significant one on big-endian machines, as compilers lay bit fields out (libbpf's btf_dump.c,
/// `btf_dump_get_bitfield_value`).
fn place(endian: Endian, index: u64) -> Option<(usize, u32)> {
    let (byte, bit) = (usize::try_from(index / 8).ok()?, (index % 8) as u32);
    Some(match endian {
        Endian::Little => (byte, bit),
        Endian::Big => (byte, 7 - bit),
    })
}

/// Index of bit `k` of a value (0 is the least significant) within its `width` bits of memory.
fn order(endian: Endian, k: u32, width: u32) -> u64 {
    u64::from(match endian {
        Endian::Little => k,
        Endian::Big => width - 1 - k,
    })
}

fn within(bytes: &[u8], start: u64, width: u32) -> bool {
    let end = start.checked_add(u64::from(width));
    (1..=128).contains(&width) && end.is_some_and(|end| end <= (bytes.len() as u64).saturating_mul(8))
}

/// Writes the lower `width` bits (1 to 128) of `value` from bit `start` on; `None`, and nothing written,
/// if they do not fit into the bytes.
#[must_use]
pub(super) fn write(bytes: &mut [u8], endian: Endian, start: u64, width: u32, value: u128) -> Option<()> {
    if !within(bytes, start, width) {
        return None;
    }
    for k in 0..width {
        let (byte, bit) = place(endian, start + order(endian, k, width))?;
        let to = bytes.get_mut(byte)?;
        let mask = 1u8 << bit;
        if value >> k & 1 != 0 {
            *to |= mask;
        } else {
            *to &= !mask;
        }
    }
    Some(())
}

/// Reads `width` bits (1 to 128) from bit `start` on; `None` if the bytes end before.
pub(super) fn read(bytes: &[u8], endian: Endian, start: u64, width: u32) -> Option<u128> {
    if !within(bytes, start, width) {
        return None;
    }
    let mut value = 0u128;
    for k in 0..width {
        let (byte, bit) = place(endian, start + order(endian, k, width))?;
        value |= u128::from(bytes.get(byte)? >> bit & 1) << k;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_integers_are_those_of_the_byte_order() {
        let mut bytes = [0u8; 6];
        write(&mut bytes, Endian::Little, 8, 32, 0x0102_0304).unwrap();
        assert_eq!(bytes, [0, 4, 3, 2, 1, 0]);
        write(&mut bytes, Endian::Big, 8, 32, 0x0102_0304).unwrap();
        assert_eq!(bytes, [0, 1, 2, 3, 4, 0]);
        assert_eq!(read(&bytes, Endian::Big, 8, 32), Some(0x0102_0304));
    }

    #[test]
    fn a_bit_field_leaves_its_neighbours_alone() {
        // `unsigned a:3, b:5, c:8` with b = 0b10011, as clang lays it out for either byte order.
        let mut little = [0b0000_0101, 0xff];
        write(&mut little, Endian::Little, 3, 5, 0b10011).unwrap();
        assert_eq!(little, [0b1001_1101, 0xff]);
        let mut big = [0b1010_0000, 0xff];
        write(&mut big, Endian::Big, 3, 5, 0b10011).unwrap();
        assert_eq!(big, [0b1011_0011, 0xff]);
        assert_eq!(read(&big, Endian::Big, 3, 5), Some(0b10011));
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let mut bytes = [0u8; 2];
        assert_eq!(write(&mut bytes, Endian::Little, 9, 8, 0xff), None);
        assert_eq!(write(&mut bytes, Endian::Big, u64::MAX, 8, 0xff), None);
        assert_eq!(write(&mut bytes, Endian::Big, 0, 0, 0xff), None);
        assert_eq!(bytes, [0, 0]);
        assert_eq!(read(&bytes, Endian::Little, 9, 8), None);
    }
}
