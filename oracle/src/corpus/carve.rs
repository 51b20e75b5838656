//! eBPF objects inside programs, and BTF inside kernels.

use object::{Object as _, ObjectSection as _};

const EM_BPF: u16 = 247;

/// The eBPF objects that stand in a program's data, as libbpf's skeletons put them there.
pub(super) fn objects(program: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(skip) = find(&program[at..], b"\x7fELF\x02\x01\x01") {
        at += skip;
        match object_length(&program[at..]) {
            Some(length) => {
                found.push(&program[at..at + length]);
                at += length;
            }
            None => at += 4,
        }
    }
    found
}

/// An object of clang's ends with the table of its sections.
fn object_length(bytes: &[u8]) -> Option<usize> {
    let machine = u16::from_le_bytes(bytes.get(18..20)?.try_into().ok()?);
    let table = usize::try_from(u64::from_le_bytes(bytes.get(40..48)?.try_into().ok()?)).ok()?;
    let entry = u16::from_le_bytes(bytes.get(58..60)?.try_into().ok()?);
    let entries = u16::from_le_bytes(bytes.get(60..62)?.try_into().ok()?);
    let length = table.checked_add(64 * usize::from(entries))?;
    (machine == EM_BPF && entry == 64 && entries > 0 && length <= bytes.len()).then_some(length)
}

/// A kernel's own BTF: the largest that stands in it.
pub(super) fn kernel_btf(kernel: &[u8]) -> Option<&[u8]> {
    let mut largest: Option<&[u8]> = None;
    let mut at = 0;
    while let Some(skip) = find(&kernel[at..], b"\x9f\xeb\x01") {
        at += skip;
        if let Some(btf) = btf_length(&kernel[at..]).and_then(|length| kernel.get(at..at + length))
            && largest.is_none_or(|l| l.len() < btf.len())
        {
            largest = Some(btf);
        }
        at += 3;
    }
    largest
}

/// The length of the BTF that begins here, if one does: the strings must be where the header says.
fn btf_length(bytes: &[u8]) -> Option<usize> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let (header, types, types_length, strings, strings_length) =
        (word(4)?, word(8)?, word(12)?, word(16)?, word(20)?);
    let mut end = strings.checked_add(strings_length)?;
    // A longer header has a third part, which may stand behind the strings.
    if header >= 32 {
        end = end.max(word(24)?.checked_add(word(28)?)?);
    }
    let text = bytes.get(header.checked_add(strings)?..)?.get(..strings_length)?;
    let sane = bytes.get(3) == Some(&0)
        && (24..=64).contains(&header)
        && types_length > 0
        && types.checked_add(types_length)? <= strings
        && text.first() == Some(&0)
        && text.last() == Some(&0);
    sane.then_some(header + end)
}

/// A module's BTF, which builds upon the kernel's; modules before 5.11 have none.
pub(super) fn module_btf(module: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let file = object::File::parse(module).map_err(|e| format!("not an ELF file: {e}"))?;
    let Some(section) = file.section_by_name(".BTF") else {
        return Ok(None);
    };
    section
        .data()
        .map(|data| Some(data.to_vec()))
        .map_err(|e| format!(".BTF: {e}"))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    // By the first byte, which is rare: kernels are large, and tests are built without optimization.
    let mut from = 0;
    while let Some(skip) = bytes[from..].iter().position(|b| *b == what[0]) {
        if bytes[from + skip..].starts_with(what) {
            return Some(from + skip);
        }
        from += skip + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u16, table: u64, entries: u16) -> Vec<u8> {
        let mut elf = vec![0; 64];
        elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        elf[18..20].copy_from_slice(&machine.to_le_bytes());
        elf[40..48].copy_from_slice(&table.to_le_bytes());
        elf[58..60].copy_from_slice(&64u16.to_le_bytes());
        elf[60..62].copy_from_slice(&entries.to_le_bytes());
        elf
    }

    fn btf(types: u32, text: &[u8]) -> Vec<u8> {
        let mut btf = b"\x9f\xeb\x01\x00".to_vec();
        for word in [24, 0, types, types, u32::try_from(text.len()).unwrap()] {
            btf.extend(word.to_le_bytes());
        }
        btf.extend(vec![7; types as usize]);
        btf.extend(text);
        btf
    }

    #[test]
    fn objects_are_carved_out_of_a_program_whole_and_nothing_else_is() {
        let mut object = elf(EM_BPF, 70, 1);
        object.extend([9; 70]);
        let program = [
            &elf(62, 64, 0)[..],
            b"code",
            &object,
            b"text",
            &object,
            b"\x7fELF",
        ]
        .concat();
        assert_eq!(objects(&program), [&object[..], &object[..]]);
    }

    #[test]
    fn an_object_that_the_file_cuts_off_is_none() {
        for cut in [
            elf(EM_BPF, 1 << 40, 1),
            elf(EM_BPF, u64::MAX, 1),
            elf(EM_BPF, 64, 1)[..50].to_vec(),
        ] {
            assert!(objects(&cut).is_empty());
        }
    }

    #[test]
    fn the_largest_btf_of_a_kernel_is_its_own() {
        let (small, large) = (btf(12, b"\0a\0"), btf(120, b"\0task_struct\0"));
        let kernel = [b"text", &small[..], b"\x9f\xeb\x01\0", &large, b"tail"].concat();
        assert_eq!(kernel_btf(&kernel), Some(&large[..]));
    }

    #[test]
    fn what_only_looks_like_btf_is_none() {
        let mut beyond = btf(12, b"\0a\0");
        beyond[20] = 200;
        for wrong in [
            btf(12, b"a\0"),
            btf(12, b"\0a"),
            btf(0, b"\0"),
            beyond,
            b"\x9f\xeb\x01".to_vec(),
        ] {
            assert_eq!(kernel_btf(&wrong), None, "{wrong:02x?}");
        }
    }
}
