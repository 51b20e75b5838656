//! An object of any bytes: inspected, and its sections given the names that aya knows.
#![no_main]

use std::collections::BTreeSet;

use bpf_object::{Endian, InspectError, ObjectInfo, inspect_for};
use bpfleet_fuzz::bounded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    bounded(256 << 10, data.len(), || {
        for endian in [Endian::Little, Endian::Big] {
            match inspect_for(data, endian) {
                Ok(info) => look(&info),
                Err(InspectError::NotElf { found }) => assert!(!found.is_empty()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    });
});

fn look(info: &ObjectInfo) {
    assert!(!info.programs.is_empty());
    let names: BTreeSet<_> = info.programs.iter().map(|p| &p.name).collect();
    assert_eq!(names.len(), info.programs.len(), "names of programs are distinct");
    let maps: BTreeSet<_> = info.maps.iter().map(|m| &m.name).collect();
    assert_eq!(maps.len(), info.maps.len(), "names of maps are distinct");
    for relocation in &info.co_re {
        assert!(!relocation.describe().is_empty() && !relocation.describe_missing().is_empty());
    }
    for program in &info.programs {
        assert_eq!(info.program(&program.name), Some(program));
        for instruction in [0, 1, program.instructions, u64::MAX] {
            let _ = info.relocation_at(&program.name, instruction);
        }
    }
}
