//! The operator is away, comes back with nothing but what the API server holds, or another replica takes over.

use std::collections::BTreeSet;

use bpfleet_e2e::{Cluster, Operator, diagnose, target, target::Target, wait};
use serde_json::{Value, json};

use crate::{flow_kernel::*, flow_support::*, operator_support::*};

/// Ids of the links of several programs.
fn all_links(rig: &Rig<'_>, programs: &[String]) -> BTreeSet<u64> {
    programs
        .iter()
        .flat_map(|program| links(&rig.agent, program))
        .collect()
}

fn empty_cache(operator: &Operator) {
    std::fs::remove_dir_all(operator.cache_dir()).unwrap();
}

#[test]
fn an_operator_that_comes_back_with_nothing_detaches_nothing_and_serves_old_revisions() {
    let cluster = Cluster::start().unwrap();
    let mut operator = start_operator(&cluster, "operator", &[]);
    let kubectl = cluster.kubectl();
    let rig = Rig::start(&cluster, "flow-first");
    let _report = diagnose::on_failure(&cluster);
    let binary = target::build(rig.node.dir());
    let mut target = Target::start(&binary);
    let program = |name: &str, source: &str| {
        let mut program = hits_program(name, "", &binary);
        program["spec"]["nodeSelector"] = Value::Null;
        program["spec"]["variants"][0]["object"] = from_config_map(source);
        program.to_string()
    };
    // Many, so that the operator needs a while to look at all of them.
    let staying: Vec<String> = (0..8).map(|n| format!("flow-stay-{n}")).collect();
    for name in ["source", "broken"] {
        kubectl.apply(&config_map(name, &hits(1))).unwrap();
    }
    for (n, name) in staying.iter().enumerate() {
        kubectl
            .apply(&program(name, if n % 2 == 0 { "source" } else { "broken" }))
            .unwrap();
    }
    kubectl.apply(&program("flow-goes", "source")).unwrap();
    for name in staying.iter().chain([&"flow-goes".to_owned()]) {
        wait_ready(&kubectl, name);
    }
    let link = all_links(&rig, &staying);
    assert_eq!(link.len(), staying.len());
    let going = links(&rig.agent, "flow-goes");
    let pump = target.pump();

    // Who applies what is there already changes nothing.
    let before = writes(&cluster, "flow-stay");
    let told = kubectl.apply(&program("flow-stay-0", "source")).unwrap();
    assert!(told.contains("unchanged"), "{told}");
    wait::holds("no writes", A_WHILE, || match writes(&cluster, "flow-stay") {
        now if now == before => Ok(()),
        now => Err(format!("{now:?}")),
    })
    .unwrap();

    // While nobody looks: a deletion, a BpfNode lost, objects lost and overwritten, the cache lost.
    operator.kill().unwrap();
    kubectl
        .run(&["delete", "bpfprogram", "flow-goes", "--wait=false"])
        .unwrap();
    kubectl.run(&["delete", "bpfnode", "flow-first"]).unwrap();
    kubectl
        .run(&["-n", cluster.namespace(), "delete", "configmap", "source"])
        .unwrap();
    kubectl.apply(&config_map("broken", b"no object")).unwrap();
    empty_cache(&operator);
    has_links(&rig.agent, "flow-goes", &going).unwrap();
    operator.restart().unwrap();

    wait_deleted(&cluster, "flow-goes");
    wait::until("the BpfNode to be whole again", SOON, || {
        let node = rig.bpf_node()?;
        let names: Vec<String> = node
            .spec
            .programs
            .iter()
            .map(|entry| entry.name.clone())
            .collect();
        let healthy = node
            .status
            .unwrap_or_default()
            .programs
            .iter()
            .filter(|row| healthy(row))
            .count();
        if names == staying && healthy == staying.len() {
            Ok(())
        } else {
            Err(format!("{names:?}, {healthy} healthy"))
        }
    })
    .unwrap();
    assert_eq!(all_links(&rig, &staying), link, "something was detached");
    wait::until("flow-goes to be detached", SOON, || {
        has_links(&rig.agent, "flow-goes", &BTreeSet::new())
    })
    .unwrap();

    // A node that joins now gets the bytes of the revisions that run.
    let second = Rig::start(&cluster, "flow-second");
    for name in &staying {
        let row = second.wait_row(name, healthy);
        assert_eq!(row.revision, rig.wait_row(name, healthy).revision);
    }
    assert_eq!(all_links(&rig, &staying), link, "something was detached");
    let all = pump.stop();
    for name in &staying {
        assert_eq!(counted(&rig.agent, name).unwrap(), all, "{name}");
    }
    let (seen, of_second) = (in_kernel(&rig.agent), in_kernel(&second.agent));
    kubectl
        .run(&["delete", "bpfprogram", "--all", "--timeout=60s"])
        .unwrap();
    wait_gone(&rig.agent, &seen);
    wait_gone(&second.agent, &of_second);
}

#[test]
fn another_replica_takes_over_and_a_revision_from_the_future_is_not_half_applied() {
    let cluster = Cluster::start().unwrap();
    let kubectl = cluster.kubectl();
    let first = start_operator(&cluster, "first", &[]);
    wait::until("the first to lead", SOON, || leads(&first)).unwrap();
    let second = start_operator(&cluster, "second", &[]);
    let rig = Rig::start(&cluster, "flow-future");
    let _report = diagnose::on_failure(&cluster);
    let binary = target::build(rig.node.dir());
    kubectl.apply(&config_map("flow-future", &hits(1))).unwrap();
    kubectl
        .apply(&hits_program("flow-future", "flow-future", &binary).to_string())
        .unwrap();
    wait_ready(&kubectl, "flow-future");
    let old = wait_updated(&cluster, "flow-future", None);
    assert!(leads(&second).is_err());
    let (_, metrics) = bpfleet_e2e::http::get(&second.health_url("/metrics")).unwrap();
    assert!(
        !metrics.contains("bpfleet_operator_api_writes_total{"),
        "it writes nothing: {metrics}"
    );

    first.kill().unwrap();
    kubectl.apply(&config_map("flow-future", &hits(1000))).unwrap();
    let new = wait_updated(&cluster, "flow-future", Some(&old));
    leads(&second).unwrap();
    wait_ready(&kubectl, "flow-future");
    let link = links(&rig.agent, "flow-future");

    // A later version of bpfleet has a field that this one does not know.
    second.kill().unwrap();
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-preserve-unknown-fields";
    let patch = json!([{"op": "add", "path": path, "value": true}]).to_string();
    kubectl
        .run(&[
            "patch",
            "crd",
            "bpfrevisions.bpfleet.io",
            "--type=json",
            "-p",
            &patch,
        ])
        .unwrap();
    let mut revision = kubectl.get_json(&["bpfrevision", &new]).unwrap();
    let owner = revision["metadata"]["ownerReferences"].clone();
    revision["metadata"] =
        json!({"name": "flow-future-1", "labels": revision["metadata"]["labels"], "ownerReferences": owner});
    revision["spec"]["sandbox"] = json!({"strict": true});
    wait::until("a revision with an unknown field", SOON, || {
        kubectl
            .apply(&revision.to_string())
            .map_err(|error| error.to_string())?;
        let made = kubectl
            .get_json(&["bpfrevision", "flow-future-1"])
            .map_err(|error| error.to_string())?;
        if made["spec"]["sandbox"].is_object() {
            return Ok(());
        }
        kubectl
            .delete("bpfrevision/flow-future-1", SOON)
            .map_err(|error| error.to_string())?;
        Err("it was pruned".to_owned())
    })
    .unwrap();
    let patch =
        json!({"spec": {"programs": [{"name": "flow-future", "revision": "flow-future-1"}]}}).to_string();
    kubectl
        .run(&["patch", "bpfnode", "flow-future", "--type=merge", "-p", &patch])
        .unwrap();
    let row = rig.wait_row("flow-future", |row| row.reason.as_deref() == Some("AgentTooOld"));
    assert_eq!(
        (row.revision, row.failing_revision),
        (Some(new.clone()), Some("flow-future-1".to_owned()))
    );
    let message = row.message.unwrap();
    assert!(
        message.contains("sandbox") && message.contains("upgrade the agent"),
        "{message}"
    );
    has_links(&rig.agent, "flow-future", &link).unwrap();

    // An operator that is back puts the node right, and nothing was reloaded.
    let mut first = first;
    first.restart().unwrap();
    let row = rig.wait_row("flow-future", healthy);
    assert_eq!(row.revision, Some(new));
    wait_ready(&kubectl, "flow-future");
    has_links(&rig.agent, "flow-future", &link).unwrap();
    let seen = in_kernel(&rig.agent);
    kubectl.delete("bpfprogram/flow-future", SOON).unwrap();
    wait_gone(&rig.agent, &seen);
}
