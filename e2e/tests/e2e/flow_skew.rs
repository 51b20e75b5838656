//! An agent of a later version than the cluster's schema: what it says more is lost, and nothing else.
//! (The reverse, a later operator, is in `flow_operator_away`.)

use bpfleet_e2e::{Cluster, Operator, OperatorOptions, diagnose, target, target::Target, wait};
use serde_json::json;

use crate::{flow_kernel::*, flow_support::*, operator_support::*};

#[test]
fn an_agent_whose_status_an_older_schema_prunes_runs_everything_and_does_not_write_it_again_and_again() {
    let cluster = &Cluster::start().unwrap();
    let kubectl = cluster.kubectl();
    let _operator = Operator::start(cluster, &OperatorOptions::default()).unwrap();
    let rig = Rig::start(cluster, "skew");
    let _report = diagnose::on_failure(cluster).about(&["skew"]);
    // To the agent this is a schema from before its version, and the name of its system, were said in the status.
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let older = json!([
        {"op": "remove", "path": format!("{schema}/agentVersion")},
        {"op": "remove", "path": format!("{schema}/facts/properties/osImage")},
    ]);
    kubectl
        .run(&[
            "patch",
            "crd",
            "bpfnodes.bpfleet.io",
            "--type=json",
            "-p",
            &older.to_string(),
        ])
        .unwrap();
    wait::until("the older schema to be in use", SOON, || {
        match rig.bpf_node()?.status {
            Some(status) if status.facts.is_some() && status.agent_version.is_none() => Ok(()),
            // What is there stays until it is written again, which the agent does when somebody has emptied it.
            Some(status) if status.agent_version.is_some() => {
                let empty = r#"[{"op": "add", "path": "/status", "value": {}}]"#;
                kubectl
                    .run(&[
                        "patch",
                        "bpfnode",
                        "skew",
                        "--subresource=status",
                        "--type=json",
                        "-p",
                        empty,
                    ])
                    .map_err(|error| error.to_string())?;
                Err("it was emptied".to_owned())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();

    let binary = target::build(rig.node.dir());
    let mut target = Target::start(&binary);
    kubectl.apply(&config_map("skew", &hits(1))).unwrap();
    kubectl
        .apply(&hits_program("skew", "skew", &binary).to_string())
        .unwrap();
    wait_ready(&kubectl, "skew");
    let hits = target.hit(10);
    assert_eq!(counted(&rig.agent, "skew").unwrap(), hits);

    let status_writes = || {
        let ours = |write: &bpfleet_e2e::audit::Write| {
            write.user.contains("bpfleet-agent") && write.resource == "bpfnodes"
        };
        cluster.plane().writes(ours).unwrap().len()
    };
    let before = status_writes();
    wait::holds(
        "no write while nothing changes",
        A_WHILE * 3,
        || match status_writes() {
            now if now == before => Ok(()),
            now => Err(format!("{} writes", now - before)),
        },
    )
    .unwrap();
    let seen = in_kernel(&rig.agent);
    kubectl.delete("bpfprogram/skew", SOON).unwrap();
    wait_gone(&rig.agent, &seen);
}
