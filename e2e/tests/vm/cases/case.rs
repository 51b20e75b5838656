//! A case: a BpfProgram, its objects, and what to look at on every kernel.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bpfleet_e2e::{Cluster, objects, tools};
use serde_json::{Value, json};

use super::guest::Guest;

/// What went wrong; the runner adds kernel and case.
pub type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// One BpfProgram for all kernels.
#[derive(Clone)]
pub struct Case {
    /// The BpfProgram, which has the case's name.
    pub program: Value,
    /// C sources of the objects, from the repository's root; each object is in a ConfigMap of its own.
    pub sources: Vec<String>,
    /// Looks at one kernel, and says in a few words what that one took.
    pub check: fn(&Guest<'_>) -> Result<String>,
}

impl Case {
    /// A spec whose variants have [`object`]s of `e2e/programs`.
    pub fn new(name: &str, spec: &Value, check: fn(&Guest<'_>) -> Result<String>) -> Case {
        let program = json!({"apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfProgram",
            "metadata": {"name": name}, "spec": spec});
        Case::of(program, check)
    }

    /// An example, as it is in the repository.
    pub fn example(name: &str, check: fn(&Guest<'_>) -> Result<String>) -> Case {
        let path = tools::repository().join(format!("examples/{name}/bpfprogram.yaml"));
        let program = serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        Case::of(program, check)
    }

    fn of(program: Value, check: fn(&Guest<'_>) -> Result<String>) -> Case {
        let folders = ["e2e/programs".to_owned()];
        let examples = std::fs::read_dir(tools::repository().join("examples")).unwrap();
        let examples = examples.map(|entry| format!("examples/{}", entry.unwrap().file_name().display()));
        let folders: Vec<_> = folders.into_iter().chain(examples).collect();
        let source = |key: &str| {
            let file = key.replace(".bpf.o", ".bpf.c");
            let mut paths = folders.iter().map(|folder| format!("{folder}/{file}"));
            paths
                .find(|path| tools::repository().join(path).exists())
                .unwrap()
        };
        let variants = program["spec"]["variants"].as_array().unwrap();
        let keys = variants
            .iter()
            .map(|variant| variant["object"]["configMap"]["key"].as_str().unwrap());
        Case {
            sources: keys.map(source).collect(),
            program,
            check,
        }
    }

    /// Its name, and that of its BpfProgram.
    pub fn name(&self) -> &str {
        self.program["metadata"]["name"].as_str().unwrap()
    }
}

/// Where an object of `e2e/programs` or of an example is found: `block_io` for `block_io.bpf.c`.
pub fn object(name: &str) -> Value {
    json!({"configMap": {"name": name.replace('_', "-"), "key": format!("{name}.bpf.o")}})
}

/// A spec with one variant.
pub fn spec(object_name: &str, hooks: &Value) -> Value {
    json!({"variants": [{"name": "default", "object": object(object_name)}], "hooks": hooks})
}

/// Applies all of them at once, as a user would.
pub fn apply(cluster: &Cluster, cases: &[Case]) {
    let mut maps = BTreeMap::new();
    for source in cases.iter().flat_map(|case| &case.sources) {
        let file = source.rsplit('/').next().unwrap();
        let stem = file.strip_suffix(".bpf.c").unwrap();
        let bytes = BASE64_STANDARD.encode(objects::bytes(source).unwrap());
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": stem.replace('_', "-"), "namespace": cluster.namespace()},
            "binaryData": {format!("{stem}.bpf.o"): bytes}});
        maps.insert(stem.to_owned(), map);
    }
    let items: Vec<_> = maps.into_values().collect();
    let items = [items, cases.iter().map(|case| case.program.clone()).collect()].concat();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    cluster.kubectl().apply(&list.to_string()).unwrap();
}
