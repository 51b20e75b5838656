//! Damaged objects give a reason or a result, and never a panic.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use std::sync::LazyLock;

use bpf_object::{InspectError, MapSize, inspect};
use common::{RICH, compile};
use proptest::prelude::*;
use resolving::Wish;

static OBJECT: LazyLock<Vec<u8>> = LazyLock::new(|| compile(RICH));

fn read(bytes: &[u8]) -> Result<(), InspectError> {
    let info = inspect(bytes)?;
    for relocation in &info.co_re {
        assert!(!relocation.describe().is_empty() && !relocation.describe_missing().is_empty());
    }
    for program in &info.programs {
        let _ = info.relocation_at(&program.name, u64::MAX);
    }
    Ok(())
}

/// The same, and resolved; what comes out must be whole.
fn resolve(bytes: &[u8]) -> Result<(), InspectError> {
    if let Ok(resolved) = WISH.resolve(bytes) {
        let size = resolved.elf.len();
        assert!(
            size < 16 * bytes.len() + (2 << 20),
            "{size} bytes of {}",
            bytes.len()
        );
        inspect(&resolved.elf).unwrap();
        // Nor does aya panic on it, as it does on many a damaged object.
        let _ = aya_obj::Object::parse(&resolved.elf);
    }
    read(bytes)
}

/// Everything is settled for the object: nothing is refused for want of a value.
static WISH: LazyLock<Wish> = LazyLock::new(|| {
    let mut wish = Wish::on(
        r#"
        struct signal_struct { int pad; int nr_threads; };
        struct task_struct { int pad; int tgid; struct signal_struct *signal; char comm[16]; } init_task;
        enum colour { RED, BLUE, GREEN = 9 } colour;
        void bpf_rcu_read_lock(void) {}
        "#,
    );
    wish.ksyms.insert("init_task".into(), 0xffff_ffff_8000_0000);
    wish.map_sizes.insert(
        "hists".into(),
        MapSize {
            max_entries: Some(2),
            value_size: Some(64),
        },
    );
    wish.globals.insert(".rodata".into(), vec![1; 4]);
    wish
});

#[test]
fn undamaged_it_resolves() {
    WISH.linked(&OBJECT);
}

#[test]
fn an_object_cut_anywhere_is_refused() {
    // The table of section headers comes last, so that every cut loses something.
    for length in 0..OBJECT.len() {
        let error = read(&OBJECT[..length]).err();
        let fits = match length {
            0..4 => matches!(error, Some(InspectError::NotElf { .. })),
            _ => matches!(error, Some(InspectError::Truncated { .. })),
        };
        assert!(fits, "cut at {length}: {error:?}");
    }
}

#[test]
fn every_byte_flipped_is_survived() {
    let mut bytes = OBJECT.clone();
    let mut refused = 0;
    for at in 0..bytes.len() {
        for mask in [0xff, 0x01, 0x80] {
            bytes[at] ^= mask;
            let examine = if mask == 0xff && at % 5 == 0 {
                resolve
            } else {
                read
            };
            refused += usize::from(examine(&bytes).is_err());
            bytes[at] ^= mask;
        }
    }
    assert!(refused > 100, "some flips must matter: {refused}");
}

/// Offset and size of a section in the file.
fn section(name: &str) -> (usize, usize) {
    use object::read::{File, Object, ObjectSection};
    let file = File::parse(OBJECT.as_slice()).unwrap();
    let (at, size) = file.section_by_name(name).unwrap().file_range().unwrap();
    (usize::try_from(at).unwrap(), usize::try_from(size).unwrap())
}

#[test]
fn every_word_of_btf_at_its_extremes_is_survived() {
    let mut bytes = OBJECT.clone();
    for name in [".BTF", ".BTF.ext", ".symtab"] {
        let (start, size) = section(name);
        for at in (start..start + size - 3).step_by(4) {
            let old: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
            for value in [0u32, 1, 0x7fff_ffff, u32::MAX, u32::MAX - 11] {
                bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
                let examine = if value == 1 { resolve } else { read };
                let _ = examine(&bytes);
            }
            bytes[at..at + 4].copy_from_slice(&old);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn many_bytes_replaced_are_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64)) {
        let mut bytes = OBJECT.clone();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let _ = resolve(&bytes);
    }

    #[test]
    fn a_stretch_moved_is_survived(
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        length in 1usize..512,
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut bytes = OBJECT.clone();
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        let length = length.min(bytes.len() - from.max(to));
        bytes.copy_within(from..from + length, to);
        bytes.truncate(cut.map_or(bytes.len(), |c| c.index(bytes.len())));
        let _ = resolve(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_an_elf_header_are_survived(tail in prop::collection::vec(any::<u8>(), 0..2048)) {
        let mut bytes = OBJECT[..64].to_vec();
        bytes.extend(tail);
        let _ = resolve(&bytes);
    }

    #[test]
    fn arbitrary_section_names_are_survived(name in ".{0,64}") {
        let _ = bpf_object::parse_sec(&name).kind.to_string();
    }
}
