//! What the tests of the whole way share: nodes with real agents, and looks at what they report.

use std::{path::Path, time::Duration};

use bpfleet_crds::{BpfNode, BpfProgram, node::ProgramStatus};
use bpfleet_e2e::{
    Agent, AgentOptions, Cluster, Kubectl, Node, Operator, audit::Write, http, objects, target::FUNCTION,
    tools, wait,
};
use kube::Api;
use serde_json::{Value, json};

use crate::operator_support::{SOON, from_config_map, program};

/// A node with a running agent. Dropping it ends the agent and removes the node.
pub struct Rig<'c> {
    pub agent: Agent,
    pub node: Node<'c>,
    cluster: &'c Cluster,
}

impl<'c> Rig<'c> {
    /// Adds a node and starts its agent.
    pub fn start(cluster: &'c Cluster, name: &str) -> Rig<'c> {
        let node = cluster.add_node(name).unwrap();
        let agent = Agent::start(cluster, &node, &AgentOptions::default()).unwrap();
        Rig { agent, node, cluster }
    }

    /// Its BpfNode.
    pub fn bpf_node(&self) -> Result<BpfNode, String> {
        let api: Api<BpfNode> = Api::all(self.cluster.client());
        self.cluster
            .block_on(api.get(self.node.name()))
            .map_err(|error| error.to_string())
    }

    /// Waits for a row of its status that `wanted` holds for.
    pub fn wait_row(&self, program: &str, wanted: impl Fn(&ProgramStatus) -> bool) -> ProgramStatus {
        let name = self.node.name();
        wait::until(format!("the row of {program} on {name}"), SOON, || {
            let rows = self.bpf_node()?.status.unwrap_or_default().programs;
            match rows.into_iter().find(|row| row.name == program) {
                Some(row) if wanted(&row) => Ok(row),
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap()
    }

    /// Waits until its status speaks of a program no more.
    pub fn wait_no_row(&self, program: &str) {
        wait::until(format!("{program} to leave {}", self.node.name()), SOON, || {
            let rows = self.bpf_node()?.status.unwrap_or_default().programs;
            rows.into_iter()
                .find(|row| row.name == program)
                .map_or(Ok(()), |row| Err(format!("{row:?}")))
        })
        .unwrap();
    }

    /// How often the agent's log has a text.
    pub fn logged(&self, text: &str) -> usize {
        let log = std::fs::read_to_string(self.agent.process().log()).unwrap();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until the agent's log has a text so often.
    pub fn wait_logged(&self, text: &str, times: usize) {
        wait::until(
            format!("{times} × {text:?} in the agent's log"),
            SOON,
            || match self.logged(text) {
                now if now >= times => Ok(()),
                now => Err(now),
            },
        )
        .unwrap();
    }
}

/// Whether a row is healthy.
pub fn healthy(row: &ProgramStatus) -> bool {
    row.reason.is_none() && row.revision.is_some() && row.hooks_attached == row.hooks_wanted
}

/// An object that counts calls in steps.
pub fn hits(step: u32) -> Vec<u8> {
    compiled(&format!("-DSTEP={step}"))
}

/// One whose program of the same name the verifier refuses.
pub fn hits_refused() -> Vec<u8> {
    compiled("-DREJECT")
}

fn compiled(flag: &str) -> Vec<u8> {
    let source = tools::repository().join("e2e/programs/hits.bpf.c");
    std::fs::read(objects::compile_with(&source, &[flag]).unwrap()).unwrap()
}

/// A BpfProgram that counts calls of the target's function, with its object in the ConfigMap of its name.
pub fn hits_program(name: &str, node: &str, binary: &Path) -> Value {
    let mut program = program(name, node, from_config_map(name));
    let target = json!({"binary": {"path": binary, "symbol": FUNCTION}});
    program["spec"]["hooks"] = json!([{"name": "hit", "anyOf": [{"program": "on_hit", "target": target}]}]);
    program
}

/// An applied BpfProgram with its ConfigMap. Dropping it deletes both, without waiting.
pub struct Applied {
    kubectl: Kubectl,
    name: String,
}

impl Applied {
    /// Applies a BpfProgram.
    pub fn new(kubectl: &Kubectl, program: &Value) -> Applied {
        let name = program["metadata"]["name"].as_str().unwrap().to_owned();
        let applied = Applied {
            kubectl: kubectl.clone(),
            name,
        };
        kubectl.apply(&program.to_string()).unwrap();
        applied
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        let delete = |what: &str, args: &[&str]| {
            self.kubectl.run(
                &[
                    &["delete", what, &self.name, "--ignore-not-found", "--wait=false"],
                    args,
                ]
                .concat(),
            )
        };
        for result in [
            delete("bpfprogram", &[]),
            delete("configmap", &["-n", "bpfleet-system"]),
        ] {
            // With the API server gone there is nothing to clean up.
            let _ = result;
        }
    }
}

/// `kubectl wait --for=condition=Ready`.
pub fn wait_ready(kubectl: &Kubectl, program: &str) {
    kubectl
        .wait_for(&format!("bpfprogram/{program}"), "condition=Ready", SOON)
        .unwrap();
}

/// A BpfProgram.
pub fn bpf_program(cluster: &Cluster, name: &str) -> Result<BpfProgram, String> {
    let api: Api<BpfProgram> = Api::all(cluster.client());
    cluster.block_on(api.get(name)).map_err(|error| error.to_string())
}

/// Waits until a revision other than `not` runs on every node, and gives its name.
pub fn wait_updated(cluster: &Cluster, program: &str, not: Option<&str>) -> String {
    wait::until(format!("a new revision of {program} everywhere"), SOON, || {
        let status = bpf_program(cluster, program)?.status.unwrap_or_default();
        match status.revision {
            Some(revision)
                if Some(&revision) == status.updated_revision.as_ref() && Some(revision.as_str()) != not =>
            {
                Ok(revision)
            }
            other => Err(format!("runs {other:?}, wanted {:?}", status.updated_revision)),
        }
    })
    .unwrap()
}

/// Waits until a BpfProgram is gone.
pub fn wait_deleted(cluster: &Cluster, program: &str) {
    wait::until(format!("{program} to be gone"), SOON, || {
        match bpf_program(cluster, program) {
            Err(error) if error.contains("not found") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
}

/// Whether an operator leads, or that it does not.
pub fn leads(operator: &Operator) -> Result<(), String> {
    let (_, text) = http::get(&operator.health_url("/metrics")).map_err(|error| error.to_string())?;
    // The whole line: the metric's description begins alike.
    match text.lines().any(|line| line == "bpfleet_operator_leader 1") {
        true => Ok(()),
        false => Err("it does not lead".to_owned()),
    }
}

/// Writes of operator and agents about something with this word in its name.
pub fn writes(cluster: &Cluster, word: &str) -> Vec<Write> {
    let ours = |write: &Write| write.user.contains(":bpfleet-") && write.name.contains(word);
    cluster.plane().writes(ours).unwrap()
}

/// A moment in which something that must not happen would have happened.
pub const A_WHILE: Duration = Duration::from_secs(2);
