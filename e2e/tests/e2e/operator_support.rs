//! What the tests of the operator alone share: a cluster and an operator of their own, and an agent that is
//! played by patching its BpfNode's status, with the agent's own token.

use std::{sync::OnceLock, time::Duration};

use bpfleet_crds::{BpfNode, BpfNodeStatus, node::ProgramStatus};
use bpfleet_e2e::{Cluster, Kubectl, Node, Operator, OperatorOptions, Registry, objects, wait};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

/// Long enough for a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A cluster with one operator, which pulls from one registry.
pub struct World {
    pub cluster: Cluster,
    pub registry: Registry,
    pub private: Registry,
    _operator: Operator,
}

/// The one world of the tests that neither kill the operator nor the API server.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let cluster = Cluster::start().unwrap();
        let (registry, private) = (
            Registry::start().unwrap(),
            Registry::start_with_password().unwrap(),
        );
        let hosts = [registry.host(), private.host(), unused_host()];
        let operator = start_operator(&cluster, "operator", &hosts);
        World {
            cluster,
            registry,
            private,
            _operator: operator,
        }
    })
}

/// A registry at which nobody answers.
pub fn unused_host() -> String {
    "127.0.0.1:9".to_owned()
}

/// Starts an operator and waits until it is ready.
pub fn start_operator(cluster: &Cluster, identity: &str, registries: &[String]) -> Operator {
    let options = OperatorOptions {
        identity: Some(identity.to_owned()),
        insecure_registries: registries.to_vec(),
        ..OperatorOptions::default()
    };
    let operator = Operator::start(cluster, &options).unwrap();
    operator.wait_ready(SOON).unwrap();
    operator
}

/// The object whose one program counts `sched_process_exec`; `step` makes another content.
pub fn exec_object(step: u32) -> Vec<u8> {
    if step == 0 {
        return objects::bytes("e2e/programs/tracepoint_exec.bpf.c").unwrap();
    }
    objects::bytes(&format!("e2e/programs/counter_v{step}.bpf.c")).unwrap()
}

/// A ConfigMap with an object at key `o`.
pub fn config_map(name: &str, object: &[u8]) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "bpfleet-system"},
        "binaryData": {"o": BASE64_STANDARD.encode(object)}})
    .to_string()
}

/// A BpfProgram for one node, from an object source.
pub fn program(name: &str, node: &str, object: Value) -> Value {
    json!({"apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfProgram", "metadata": {"name": name},
        "spec": {"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": node}},
            "variants": [{"name": "main", "object": object}]}})
}

/// An object source: key `o` of a ConfigMap.
pub fn from_config_map(name: &str) -> Value {
    json!({"configMap": {"name": name, "key": "o"}})
}

/// A condition of a BpfProgram as `Status/Reason: message`, once it speaks of the current generation.
pub fn condition(kubectl: &Kubectl, program: &str, type_: &str) -> String {
    let object = kubectl.get_json(&["bpfprogram", program]).unwrap();
    let conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == type_);
    match found {
        Some(c) if c["observedGeneration"] == object["metadata"]["generation"] => format!(
            "{}/{}: {}",
            c["status"].as_str().unwrap_or_default(),
            c["reason"].as_str().unwrap_or_default(),
            c["message"].as_str().unwrap_or_default()
        ),
        _ => "not yet".to_owned(),
    }
}

/// Waits until a condition begins with this text, and gives all of it.
pub fn wait_condition(kubectl: &Kubectl, program: &str, type_: &str, expected: &str) -> String {
    wait::until(format!("{program}: {type_}={expected}"), SOON, || {
        let seen = condition(kubectl, program, type_);
        if seen.starts_with(expected) {
            Ok(seen)
        } else {
            Err(seen)
        }
    })
    .unwrap()
}

/// The revision of a program that a node shall run.
pub fn wanted(kubectl: &Kubectl, node: &str, program: &str) -> Option<String> {
    let object = kubectl.get_json(&["bpfnode", node]).ok()?;
    let entries = object["spec"]["programs"].as_array().cloned().unwrap_or_default();
    let entry = entries.into_iter().find(|entry| entry["name"] == program)?;
    entry["revision"].as_str().map(str::to_owned)
}

/// Waits until a node shall run a revision of a program other than `not`.
pub fn wait_wanted(kubectl: &Kubectl, node: &str, program: &str, not: Option<&str>) -> String {
    wait::until(format!("{node} shall run {program}"), SOON, || {
        match wanted(kubectl, node, program) {
            Some(revision) if Some(revision.as_str()) != not => Ok(revision),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap()
}

/// Plays the agent: says of every program that it shall run that it runs, or that it failed.
pub fn play_agent(cluster: &Cluster, node: &Node<'_>, failure: Option<&str>) {
    let name = node.name();
    let kubeconfig = kube::config::Kubeconfig::read_from(node.kubeconfig()).unwrap();
    cluster.block_on(async {
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
            .await
            .unwrap();
        let api: Api<BpfNode> = Api::all(kube::Client::try_from(config).unwrap());
        let known = api.get(name).await.unwrap();
        let row = |entry: &bpfleet_crds::node::NodeProgram| ProgramStatus {
            name: entry.name.clone(),
            revision: failure.is_none().then(|| entry.revision.clone()),
            hooks_attached: u32::from(failure.is_none()),
            hooks_wanted: 1,
            failing_revision: failure.map(|_| entry.revision.clone()),
            reason: failure.map(str::to_owned),
            message: failure.map(|reason| format!("{reason} on this node")),
            ..ProgramStatus::default()
        };
        let facts = json!({"kernelRelease": "6.1.0", "kernelVersion": "6.1.115", "architecture": "amd64",
            "btf": {"kernel": "Yes"}, "cgroup": "V2", "bpffs": "Yes"});
        let status = BpfNodeStatus {
            observed_generation: known.metadata.generation,
            agent_version: Some("test".to_owned()),
            facts: Some(serde_json::from_value(facts).unwrap()),
            programs: known.spec.programs.iter().map(row).collect(),
            ..BpfNodeStatus::default()
        };
        let mut patch = json!({"status": status});
        // What is absent has to be said in a merge patch, or it stays.
        if status.programs.is_empty() {
            patch["status"]["programs"] = Value::Null;
        }
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    });
}

/// Waits until the BpfNode of a node exists.
pub fn wait_bpf_node(kubectl: &Kubectl, node: &str) -> Value {
    wait::until(format!("BpfNode {node}"), SOON, || {
        kubectl.get_json(&["bpfnode", node])
    })
    .unwrap()
}

/// An object of bpfleet's namespace, once it exists.
pub fn wait_own(kubectl: &Kubectl, object: &str) -> Value {
    wait::until(object.to_owned(), SOON, || {
        kubectl.get_json(&["-n", "bpfleet-system", object])
    })
    .unwrap()
}

/// Deletes an object of bpfleet's namespace, which must exist.
pub fn delete_own(kubectl: &Kubectl, object: &str) {
    kubectl.run(&["-n", "bpfleet-system", "delete", object]).unwrap();
}
