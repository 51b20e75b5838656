//! Whatever the bytes: an answer, never a panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

mod common;

use std::sync::LazyLock;

use bpfleet_images::{
    binary,
    component::{Component, Platform},
    layer::layer,
    layout::{Layout, Names, layout},
    report::rows,
    tree::{Node, Tree},
};
use common::{made, program};
use flate2::read::GzDecoder;
use proptest::prelude::*;

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        any::<String>().prop_map(|name| format!("/{name}")),
        "(/[a-z.äß -]{1,12}){1,12}",
        "/[a-z/]{90,110}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_names_and_bytes_are_refused_or_read_back_as_they_were(
        files in proptest::collection::vec((path(), 0_u32..0o7777, proptest::collection::vec(any::<u8>(), 0..600)), 0..8),
        epoch in any::<u32>(),
    ) {
        let mut tree = Tree::new();
        let mut kept = std::collections::BTreeMap::new();
        for (path, mode, bytes) in files {
            let node = Node::File { mode, bytes: bytes.clone() };
            if tree.add(&path, node).is_ok() {
                kept.insert(path.trim_start_matches('/').to_owned(), bytes);
            }
        }
        let layer = layer(&tree, u64::from(epoch)).unwrap();
        let mut found = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(GzDecoder::new(layer.blob.bytes())).entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type().is_file() {
                let path = entry.path().unwrap().display().to_string();
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
                found.insert(path, bytes);
            }
        }
        prop_assert_eq!(found, kept);
    }

    #[test]
    fn any_bytes_are_a_program_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for platform in Platform::ALL {
            let _ = binary::check(&bytes, platform);
        }
    }

    #[test]
    fn a_damaged_program_never_ends_the_check(at in 0_usize..120, byte in any::<u8>(), length in 0_usize..130) {
        let mut bytes = program(Platform::Amd64, true, b"0123456789");
        bytes[at] = byte;
        bytes.truncate(length);
        let _ = binary::check(&bytes, Platform::Amd64);
    }

    #[test]
    fn any_prefix_and_tag_are_a_name_or_none(prefix in any::<String>(), tag in any::<String>()) {
        if let Ok(names) = Names::new(&prefix, &tag) {
            names.full(Component::Agent);
        }
    }

    #[test]
    fn a_change_of_any_byte_of_a_layout_is_noticed(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut layout = WHOLE.clone();
        // The marker says only that it is a layout, and the annotations of index.json are names.
        let blobs: Vec<String> = layout.files.keys().filter(|path| path.starts_with("blobs/")).cloned().collect();
        let bytes = layout.files.get_mut(file.get(&blobs)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(rows(&layout).is_err());
    }

    #[test]
    fn any_index_is_refused_or_listed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut layout = WHOLE.clone();
        layout.files.insert("index.json".into(), bytes);
        let _ = rows(&layout);
    }
}

/// Made once, as compressing takes long without optimization.
static WHOLE: LazyLock<Layout> = LazyLock::new(|| {
    let indexes = Component::ALL.map(|component| made(component, &Platform::ALL));
    layout(&indexes, &Names::new("localhost", "1").unwrap()).unwrap()
});
