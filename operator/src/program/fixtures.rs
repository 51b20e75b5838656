//! Inputs for the tests of the pure steps.

use std::sync::Arc;

use bpf_object::{Endian, ObjectInfo, Program, parse_sec};
use bpfleet_crds::{
    BpfProgram, BpfRevision, Digest,
    node::{NodeProgram, ProgramStatus},
    object::ConfigMapSource,
    revision::{RevisionObject, RevisionSource},
};
use serde_json::{Value, json};

use super::input::{Input, NodeInput};
use crate::{
    objects::{
        config_map,
        resolve::{Objects, Resolved},
    },
    view::{BpfNodeView, ConfigMapView, NodeView},
};

/// An object that holds these programs: name and SEC().
pub fn inspected(programs: &[(&str, &str)]) -> Arc<ObjectInfo> {
    let program = |(index, (name, section)): (usize, &(&str, &str))| {
        let sec = parse_sec(section);
        Program {
            name: (*name).to_owned(),
            section: (*section).to_owned(),
            kind: sec.kind,
            target: sec.target,
            sleepable: sec.sleepable,
            autoload: sec.autoload,
            instructions: 2,
            section_index: index,
            offset: 0,
        }
    };
    Arc::new(ObjectInfo {
        programs: programs.iter().enumerate().map(program).collect(),
        subprograms: Vec::new(),
        maps: Vec::new(),
        initial: Vec::new(),
        license: Some("GPL".to_owned()),
        co_re: Vec::new(),
        externs: Vec::new(),
        has_btf: true,
        endian: Endian::HOST,
    })
}

/// An object from ConfigMap `m` with this content.
pub fn objects(content: &str, info: Option<Arc<ObjectInfo>>) -> Objects {
    let digest = Digest::of(content.as_bytes());
    let source = RevisionSource {
        digest,
        config_map: Some(config_map::copy_source(digest)),
        copied_from: Some(ConfigMapSource {
            name: "m".to_owned(),
            key: "k".to_owned(),
        }),
        image: None,
    };
    let object = RevisionObject {
        architecture: None,
        digest,
        size_bytes: content.len() as u64,
    };
    Objects {
        objects: vec![Resolved { object, source, info }],
        warning: None,
    }
}

/// BpfProgram `p`, generation 3, with these members of spec besides its variant.
pub fn program(spec: &Value) -> BpfProgram {
    let mut program = json!({
        "apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfProgram",
        "metadata": {"name": "p", "uid": "p-uid", "generation": 3, "resourceVersion": "5"},
        "spec": {"variants": [{"name": "main", "object": {"configMap": {"name": "m", "key": "k"}}}]},
    });
    for (key, value) in spec.as_object().unwrap() {
        program["spec"][key] = value.clone();
    }
    serde_json::from_value(program).unwrap()
}

/// An input without nodes: one tracepoint program, which is valid as it is.
pub fn input() -> Input {
    let info = inspected(&[("on_exec", "tracepoint/sched/sched_process_exec")]);
    Input {
        program: program(&json!({})),
        nodes: Vec::new(),
        revisions: Vec::new(),
        copies: Vec::new(),
        objects: Ok(vec![("main".to_owned(), objects("v1", Some(info)))]),
        previous: None,
    }
}

/// What a node's agent says of program `p`: attached revision, and the reason if all is not well.
pub fn row(revision: Option<&str>, reason: Option<&str>) -> ProgramStatus {
    ProgramStatus {
        name: "p".to_owned(),
        revision: revision.map(str::to_owned),
        hooks_attached: u32::from(revision.is_some()),
        hooks_wanted: 1,
        reason: reason.map(str::to_owned),
        message: reason.map(|reason| format!("{reason} happened")),
        ..ProgramStatus::default()
    }
}

/// A live node that shall run a revision of `p`, and what its agent says of it.
pub fn node(name: &str, wanted: Option<&str>, row: Option<ProgramStatus>) -> NodeInput {
    let entry = |revision: &str| NodeProgram {
        name: "p".to_owned(),
        revision: revision.to_owned(),
    };
    NodeInput {
        node: Arc::new(NodeView {
            name: name.to_owned(),
            uid: name.to_owned(),
            ready: true,
            ..NodeView::default()
        }),
        live_agent: true,
        bpf_node: Some(Arc::new(BpfNodeView {
            name: name.to_owned(),
            owner: Some(name.to_owned()),
            generation: 2,
            observed_generation: 2,
            programs: wanted.map(entry).into_iter().collect(),
            rows: row.into_iter().collect(),
            architecture: Some("amd64".to_owned()),
            kernel: Some("6.1.0".to_owned()),
            btf: bpfleet_crds::node::Fact::Yes,
            ..BpfNodeView::default()
        })),
    }
}

/// The same node, changed.
pub fn with(mut node: NodeInput, change: impl FnOnce(&mut BpfNodeView)) -> NodeInput {
    let mut view = node.bpf_node.as_deref().cloned().unwrap_or_default();
    change(&mut view);
    node.bpf_node = Some(Arc::new(view));
    node
}

/// A revision of `p`, made at this second, with the copy of an object.
pub fn revision(name: &str, second: i64, content: &str) -> BpfRevision {
    let time = jiff::Timestamp::from_second(1_700_000_000 + second).unwrap();
    let objects = objects(content, None).objects;
    serde_json::from_value(json!({
        "apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfRevision",
        "metadata": {"name": name, "uid": format!("{name}-uid"), "creationTimestamp": time},
        "spec": {"program": "p", "variants": [{"name": "main", "objects": [objects[0].object]}]},
        "status": {"sources": [objects[0].source]},
    }))
    .unwrap()
}

/// The copy of an object, owned by these revisions.
pub fn copy(content: &str, owners: &[&str]) -> (String, Arc<ConfigMapView>) {
    let owners = owners.iter().map(|name| format!("{name}-uid")).collect();
    let view = ConfigMapView {
        version: "1".to_owned(),
        owners,
    };
    (
        config_map::copy_name(Digest::of(content.as_bytes())),
        Arc::new(view),
    )
}
