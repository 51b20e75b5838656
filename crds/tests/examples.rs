//! The examples' manifests are what the API takes, to the last field.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

use std::{fs, path::Path};

use bpfleet_crds::{BpfProgram, strict};
use serde_json::Value;

#[test]
fn every_example_is_a_valid_bpfprogram_whose_object_is_built() {
    let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"));
    let mut seen = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let path = folder.join("bpfprogram.yaml");
        let yaml = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let value: Value =
            serde_norway::from_str(&yaml).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let program: BpfProgram =
            strict::from_value(&value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(value["apiVersion"], "bpfleet.io/v1alpha1", "{}", path.display());
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(program.metadata.name.as_deref(), Some(name.as_str()));
        for variant in &program.spec.variants {
            let map = variant
                .object
                .config_map
                .as_ref()
                .expect("examples need no registry");
            let source = folder.join(map.key.replace(".bpf.o", ".bpf.c"));
            assert!(
                source.is_file(),
                "{} names {}, which no source makes",
                path.display(),
                map.key
            );
            let readme = fs::read_to_string(folder.join("README.md")).unwrap();
            let create = format!("create configmap {} --from-file {}=", map.name, map.key);
            assert!(
                readme.contains(&create),
                "{name}/README.md makes another ConfigMap than {}",
                map.name
            );
        }
        seen += 1;
    }
    assert!(seen >= 3, "{seen} examples");
}
