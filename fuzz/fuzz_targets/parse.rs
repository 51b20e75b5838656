//! BTF and `.BTF.ext` of any bytes: opened, everything read, written and read again.
#![no_main]

use std::sync::Arc;

use bpfleet_fuzz::{bounded, read_all, read_ext, spell};
use btf::{Btf, Builder, Definition, Endian};
use libfuzzer_sys::fuzz_target;

/// Types are spelled, which takes up to a megabyte for each.
const SPELL: u8 = 8;

fuzz_target!(|data: &[u8]| {
    let Some((&how, data)) = data.split_first() else {
        return;
    };
    let fixed = if how & SPELL == 0 { 64 << 10 } else { 8 << 20 };
    bounded(fixed, data.len(), || match how & 3 {
        0 => {
            if let Ok(btf) = Btf::parse(data) {
                if how & SPELL == 0 {
                    read_all(&btf);
                } else {
                    spell(&btf);
                }
            }
        }
        1 => read_ext(data),
        // A module on top of a kernel that is known.
        2 => split(
            &kernel(if how & 4 == 0 { Endian::Little } else { Endian::Big }),
            data,
        ),
        // And on top of one out of the input.
        _ => {
            let length = data
                .first_chunk()
                .map_or(0, |raw| usize::from(u16::from_le_bytes(*raw)));
            let data = data.get(2..).unwrap_or(&[]);
            let (kernel, module) = data.split_at(length.min(data.len()));
            split(kernel, module);
        }
    });
});

fn split(kernel: &[u8], module: &[u8]) {
    let Ok(kernel) = Btf::parse(kernel) else { return };
    let kernel = Arc::new(kernel);
    let Ok(module) = Btf::parse_split(module, Arc::clone(&kernel)) else {
        return;
    };
    assert_eq!(module.first_id(), kernel.len());
    for t in module.types() {
        let _ = (
            t.name(),
            t.resolved().map(|t| t.id()),
            module.size(t.id()),
            t.definition(),
        );
        let _ = (module.find(t.kind(), t.name_bytes()), module.c_name(t.id()));
        let _ = module.candidates(btf::essential(t.name_bytes())).count();
    }
    let _ = Btf::parse_split(module.bytes().to_vec(), Arc::new(module)).map(|third| third.types().count());
}

fn kernel(endian: Endian) -> Vec<u8> {
    let mut builder = Builder::new(endian);
    builder.add(&Definition::Int {
        name: b"int".to_vec(),
        size: 4,
        raw: 1,
        offset: 0,
        bits: 32,
    });
    builder.add(&Definition::Ptr(1));
    builder.add(&Definition::Typedef {
        name: b"number".to_vec(),
        target: 1,
    });
    builder.finish()
}
