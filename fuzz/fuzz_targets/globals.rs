//! Global variables and `__kconfig` externs of any types: listed, set, read back.
#![no_main]

use std::collections::BTreeMap;

use bpf_object::globals::{Global, get, globals, set, set_all, value_of_text};
use bpf_object::kconfig::{Facts, Kconfig, resolve_kconfig};
use bpfleet_fuzz::{Recipe, bounded};
use btf::Btf;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// Bytes that each section has.
const SECTION: usize = 256;

fuzz_target!(|data: &[u8]| {
    let Some(([how, low, high], data)) = data.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes([*low, *high])).min(data.len());
    let (text, data) = data.split_at(length);
    let recipe = Recipe::read(data);
    // A configuration's externs may have a megabyte, and each step of reading values takes some memory.
    bounded(16 << 20, data.len() + text.len(), || {
        let btf = Btf::parse(recipe.object.as_slice()).expect("recipes make BTF");
        configure(&btf, text, *how);
        variables(&btf, text, *how);
    });
});

fn configure(btf: &Btf<'_>, text: &[u8], how: u8) {
    let config = Kconfig::parse(text);
    let facts = Facts {
        kernel_version: u32::from(how) << 8,
        has_syscall_wrapper: (how & 1 != 0).then_some(how & 2 != 0),
        has_bpf_cookie: (how & 4 != 0).then_some(how & 8 != 0),
    };
    let is_weak = |name: &str| name.len() % 2 == usize::from(how & 1);
    match resolve_kconfig(btf, (how & 16 == 0).then_some(&config), &facts, &is_weak) {
        Ok(values) => {
            for entry in &values.entries {
                assert!(entry.offset as usize + entry.size as usize <= values.bytes.len());
            }
        }
        Err(errors) => {
            assert!((1..=64).contains(&errors.len()));
            assert!(errors.iter().all(|e| !e.to_string().is_empty()));
        }
    }
}

fn variables(btf: &Btf<'_>, text: &[u8], how: u8) {
    let symbols = |_: &str, name: &str| (how & 32 != 0).then_some((name.len() as u64 % 4 * 8, 16));
    let Ok(listed) = globals(btf, &symbols) else {
        return;
    };
    let contents: Vec<u8> = (0..SECTION)
        .map(|i| text.get(i).copied().unwrap_or(how))
        .collect();
    let text = String::from_utf8_lossy(text);
    let mut values = vec![json!(1), json!(-1), json!("a"), json!([1, "x"]), json!({"a": 1})];
    values.extend(serde_json::from_str::<Value>(&text));
    for global in listed.iter().take(16) {
        let given = value_of_text(btf, global, &text);
        for value in values.iter().chain([&given]) {
            try_set(btf, &contents, global, value);
        }
        if let Some(value) = get(btf, &contents, global) {
            try_set(btf, &contents, global, &value);
        }
    }
    let named: BTreeMap<String, Value> = listed
        .iter()
        .map(|g| g.name.clone())
        .chain(["nobody".to_owned()])
        .zip(values.into_iter().cycle())
        .collect();
    let mut sections: BTreeMap<String, Vec<u8>> = listed
        .iter()
        .map(|g| (g.section.clone(), contents.clone()))
        .collect();
    let before = sections.clone();
    if let Err(errors) = set_all(btf, &mut sections, &listed, &named) {
        assert!(errors.iter().all(|e| !e.to_string().is_empty()));
        assert_eq!(sections, before, "nothing is set where something does not fit");
    }
}

fn try_set(btf: &Btf<'_>, contents: &[u8], global: &Global, value: &Value) {
    let mut bytes = contents.to_vec();
    match set(btf, &mut bytes, global, value) {
        Ok(()) => assert_eq!(bytes.len(), contents.len()),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(bytes, contents, "nothing is set where it does not fit");
        }
    }
}
