//! Debian's objects as BpfPrograms.

use bpf_oracle::corpus;
use bpf_oracle::libbpf::{self, MapSize};
use bpfleet_e2e::vm;
use serde_json::{Value, json};

/// Where objects lie in a guest.
const DIR: &str = "/objects";
/// A library of every guest.
const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";

/// A library with the USDT probe of `libbpf::PROBE`.
pub fn probe() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libprobe.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/libbpf_tools/probe.c");
    let done = std::process::Command::new("cc")
        .args(["-shared", "-nostdlib", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status()
        .unwrap();
    assert!(done.success(), "cc {source}: {done}");
    std::fs::read(library).unwrap()
}

/// An object of `libbpf-tools`.
#[derive(Debug)]
pub struct Tool {
    /// The Debian suite, as [`corpus::Object::set`].
    pub set: String,
    /// File name without `.bpf.o`.
    pub name: String,
    /// The object.
    pub bytes: Vec<u8>,
    /// Its programs.
    pub programs: Vec<libbpf::Program>,
    sizes: Vec<MapSize>,
}

impl Tool {
    /// Looks into an object of the corpus.
    pub fn of(object: &corpus::Object) -> Tool {
        let bytes = object.bytes().unwrap();
        let opened = libbpf::Object::open(&bytes, None).unwrap();
        Tool {
            set: object.set.clone(),
            name: object.name.trim_end_matches(".bpf.o").to_owned(),
            programs: opened.programs(),
            sizes: opened.missing_sizes(),
            bytes,
        }
    }

    /// Where it lies in a guest.
    pub fn path(&self) -> String {
        format!("{DIR}/{}/{}.bpf.o", self.set, self.name)
    }

    /// As a user would write it who knows nothing but the sizes of maps.
    pub fn plain(&self) -> Value {
        let mut spec = json!({"variants": [{"name": "main", "object": {"file": self.path()}}]});
        if !self.sizes.is_empty() {
            let maps = self.sizes.iter().map(|size| {
                let mut map = json!({"name": size.map});
                if let Some(entries) = size.max_entries {
                    map["maxEntries"] = entries.into();
                }
                if let Some(bytes) = size.value_size {
                    map["valueSize"] = bytes.into();
                }
                map
            });
            spec["maps"] = maps.collect();
        }
        json!({"apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfProgram", "metadata": {"name": self.name}, "spec": spec})
    }

    /// With an optional hook for each program, so that each is tried whatever becomes of the others. Hook `p3` is
    /// program 3.
    pub fn each(&self) -> Value {
        let hook = |(number, program): (usize, &libbpf::Program)| {
            let alternatives = targets(&program.section).into_iter().map(|target| match target {
                Some(target) => json!({"program": program.name, "target": target}),
                None => json!({"program": program.name}),
            });
            json!({"name": format!("p{number}"), "optional": true, "anyOf": alternatives.collect::<Vec<_>>()})
        };
        let mut program = self.plain();
        program["spec"]["hooks"] = self.programs.iter().enumerate().map(hook).collect();
        program
    }
}

/// Binary, provider and name of the probe.
pub fn probe_place() -> [&'static str; 3] {
    let (path, provider, name) = vm::libbpf::PROBE;
    [path, provider, name].map(|text| text.to_str().unwrap())
}

/// Whether a program whose own place is not there can be attached elsewhere.
pub fn has_elsewhere(section: &str) -> bool {
    targets(section).len() > 1
}

/// Whether a section says where its program is attached.
pub fn says_where(section: &str) -> bool {
    targets(section).first() == Some(&None)
}

/// Where to attach a program: first as its section says, then, so that it is seen whether it can be loaded, where every
/// kernel can. Programs that are tied to their function when they are loaded have no second place.
fn targets(section: &str) -> Vec<Option<Value>> {
    let section = section.trim_start_matches('?');
    let (kind, place) = section.split_once('/').unwrap_or((section, ""));
    let elsewhere = match kind {
        "kprobe" | "kretprobe" => json!({"function": "vfs_read"}),
        "tp" | "tracepoint" => json!({"tracepoint": "sched/sched_switch"}),
        "raw_tp" | "raw_tracepoint" => json!({"rawTracepoint": "sched_switch"}),
        "uprobe" | "uretprobe" => json!({"binary": {"path": LIBC, "symbol": "malloc"}}),
        "usdt" => {
            let [path, provider, name] = probe_place();
            json!({"usdt": {"path": path, "provider": provider, "name": name}})
        }
        "perf_event" => json!({"perfEvent": {"event": "CpuClock", "sampleFrequency": 49}}),
        _ => return vec![None],
    };
    if place.is_empty() || ["uprobe", "uretprobe", "usdt"].contains(&kind) {
        vec![Some(elsewhere)]
    } else {
        vec![None, Some(elsewhere)]
    }
}
