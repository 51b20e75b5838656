//! An object of any bytes, resolved for a kernel that has the object's own types: what comes of it is an object
//! again, without relocations.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use bpf_object::kconfig::{KconfigData, KconfigEntry};
use bpf_object::{ExternKind, MapSize, ObjectInfo, Request, Target, inspect_for, resolve};
use bpfleet_fuzz::bounded;
use btf::Btf;
use btf::co_re::Targets;
use libfuzzer_sys::fuzz_target;
use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSection as _};

fuzz_target!(|data: &[u8]| {
    let Some((&how, data)) = data.split_first() else {
        return;
    };
    bounded(4 << 20, data.len(), || run(how, data));
});

fn run(how: u8, data: &[u8]) {
    let order = if how & 1 == 0 {
        btf::Endian::Little
    } else {
        btf::Endian::Big
    };
    let Ok(info) = inspect_for(data, order) else {
        // The same is wrong.
        let nothing = Request::new(Target::None);
        if let Err(error) = resolve(data, &nothing) {
            assert!(!error.to_string().is_empty());
        }
        return;
    };
    let types = own_types(data);
    let kernel = types.as_deref().and_then(|types| Btf::parse(types).ok());
    let target = match (&kernel, how >> 1 & 3) {
        (Some(kernel), 0 | 1) => Target::Kernel(Targets::kernel(kernel)),
        (Some(kernel), 2) => Target::Supplied(kernel),
        _ => Target::None,
    };
    let some: BTreeSet<String> = info.programs.iter().map(|p| p.name.clone()).step_by(2).collect();
    let names = |kind: ExternKind| info.externs.iter().filter(move |e| e.kind == kind);
    let values = KconfigData {
        bytes: vec![1; 64],
        entries: names(ExternKind::Kconfig)
            .zip(0..)
            .map(|(e, i)| KconfigEntry {
                name: e.name.clone(),
                offset: i * 4,
                size: [4, 1, 8][i as usize % 3],
                is_set: true,
            })
            .collect(),
        shortened: Vec::new(),
    };
    let ksyms = names(ExternKind::Ksym)
        .map(|e| (e.name.clone(), 0x1122_3344_5566_7788))
        .collect();
    let sizes = info.maps.iter().map(|m| {
        (
            m.name.clone(),
            MapSize {
                max_entries: Some(7),
                value_size: None,
            },
        )
    });
    let request = Request {
        target,
        programs: (how & 8 != 0).then_some(&some),
        attach: &BTreeMap::new(),
        globals: &BTreeMap::new(),
        kconfig: (how & 16 == 0).then_some(&values),
        ksyms: &ksyms,
        map_sizes: &if how & 32 == 0 {
            BTreeMap::new()
        } else {
            sizes.collect()
        },
        syscall_prefix: (how & 64 == 0).then_some("__x64_sys_"),
    };
    match resolve(data, &request) {
        Ok(resolved) => {
            let names = resolved.plan.programs.iter().map(|p| p.name.clone()).collect();
            check(&resolved.elf, &info, &names);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What was made is an object with these programs of the original, and asks nothing of a kernel. Of an object
/// that contradicts itself (one variable is a map and a kernel symbol) it may be no object that can be read.
fn check(elf: &[u8], original: &ObjectInfo, programs: &BTreeSet<String>) {
    let Ok(info) = inspect_for(elf, original.endian) else {
        return;
    };
    let found: BTreeSet<String> = info.programs.iter().map(|p| p.name.clone()).collect();
    assert_eq!(&found, programs);
    assert!(info.co_re.is_empty(), "relocations are done");
    assert!(found.iter().all(|name| original.program(name).is_some()));
}

fn own_types(data: &[u8]) -> Option<Vec<u8>> {
    let file = ElfFile64::<Endianness>::parse(data).ok()?;
    Some(file.section_by_name(".BTF")?.data().ok()?.to_vec())
}
