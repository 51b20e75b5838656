//! What cannot run says why, once, and harms nothing that runs.

use bpfleet_e2e::{diagnose, target, target::Target, wait};

use crate::{flow_kernel::*, flow_support::*, operator_support::*};

#[test]
fn a_program_that_the_verifier_rejects_is_explained_and_retries_write_nothing() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let rig = Rig::start(cluster, "flow-reject");
    let _report = diagnose::on_failure(cluster).about(&["flow-reject"]);
    let binary = target::build(rig.node.dir());
    kubectl
        .apply(&config_map("flow-reject", &hits_refused()))
        .unwrap();
    let _applied = Applied::new(&kubectl, &hits_program("flow-reject", "flow-reject", &binary));

    wait_condition(&kubectl, "flow-reject", "Ready", "False/NodesFailed");
    wait_condition(&kubectl, "flow-reject", "Stalled", "True/NodesFailed");
    let failures = kubectl.get_json(&["bpfprogram", "flow-reject"]).unwrap()["status"]["failures"].clone();
    assert_eq!(failures[0]["reason"], "VerifierRejected", "{failures}");
    assert_eq!(
        (failures[0]["nodes"].as_u64(), failures[0]["exampleNode"].as_str()),
        (Some(1), Some("flow-reject"))
    );
    let message = failures[0]["message"].as_str().unwrap();
    assert!(
        message.contains("on_hit") && message.contains("unbounded memory access"),
        "{message}"
    );
    let row = rig.wait_row("flow-reject", |row| {
        row.reason.as_deref() == Some("VerifierRejected")
    });
    let tail = row.log_tail.unwrap();
    assert!(!tail.is_empty() && tail.len() <= 1024, "{} bytes", tail.len());
    assert!(tail.contains("unbounded memory access"), "{tail}");
    assert!(links(&rig.agent, "flow-reject").is_empty());

    // From the first retry on every end is like the one before.
    let tried = "reason=VerifierRejected";
    rig.wait_logged(tried, 2);
    let before = writes(cluster, "flow-reject");
    rig.wait_logged(tried, 7);
    assert_eq!(
        writes(cluster, "flow-reject"),
        before,
        "a retry that ends the same writes nothing"
    );
    assert!(in_kernel(&rig.agent).is_empty(), "a failed load leaves nothing");
}

#[test]
fn a_new_version_that_fails_leaves_the_old_one_running_and_the_status_names_both() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let rig = Rig::start(cluster, "flow-worse");
    let _report = diagnose::on_failure(cluster).about(&["flow-worse"]);
    let binary = target::build(rig.node.dir());
    let mut target = Target::start(&binary);
    kubectl.apply(&config_map("flow-worse", &hits(1))).unwrap();
    let _applied = Applied::new(&kubectl, &hits_program("flow-worse", "flow-worse", &binary));
    wait_ready(&kubectl, "flow-worse");
    let good = wait_updated(cluster, "flow-worse", None);
    let link = links(&rig.agent, "flow-worse");
    target.hit(10);

    kubectl.apply(&config_map("flow-worse", &hits_refused())).unwrap();
    let row = rig.wait_row("flow-worse", |row| {
        row.reason.as_deref() == Some("VerifierRejected")
    });
    assert_eq!(
        (row.revision.as_ref(), row.hooks_attached, row.hooks_wanted),
        (Some(&good), 1, 1)
    );
    let status = wait::until("the BpfProgram's status", SOON, || {
        let status = bpf_program(cluster, "flow-worse")?.status.unwrap_or_default();
        if status.failures.is_empty() {
            Err(format!("{status:?}"))
        } else {
            Ok(status)
        }
    })
    .unwrap();
    assert_eq!(status.revision.as_ref(), Some(&good));
    assert!(
        status.updated_revision.is_some() && status.updated_revision == row.failing_revision,
        "{status:?}"
    );
    target.hit(10);
    rig.wait_logged("reason=VerifierRejected", 2);
    has_links(&rig.agent, "flow-worse", &link).unwrap();
    let all = target.hit(10);
    assert_eq!(counted(&rig.agent, "flow-worse").unwrap(), all);

    // Back to the good one: nothing is loaded.
    kubectl.apply(&config_map("flow-worse", &hits(1))).unwrap();
    wait_ready(&kubectl, "flow-worse");
    assert_eq!(wait_updated(cluster, "flow-worse", None), good);
    rig.wait_row("flow-worse", healthy);
    has_links(&rig.agent, "flow-worse", &link).unwrap();
    let seen = in_kernel(&rig.agent);
    kubectl.delete("bpfprogram/flow-worse", SOON).unwrap();
    wait_gone(&rig.agent, &seen);
}

#[test]
fn a_target_that_appears_later_is_attached_without_anybodys_doing() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let rig = Rig::start(cluster, "flow-late");
    let _report = diagnose::on_failure(cluster).about(&["flow-late"]);
    let binary = rig.node.dir().join("late/target");
    kubectl.apply(&config_map("flow-late", &hits(1))).unwrap();
    let _applied = Applied::new(&kubectl, &hits_program("flow-late", "flow-late", &binary));
    let ready = wait_condition(&kubectl, "flow-late", "Ready", "False/NodesFailed");
    assert!(ready.contains("TargetNotFound"), "{ready}");
    let row = rig.wait_row("flow-late", |row| row.reason.as_deref() == Some("TargetNotFound"));
    let path = binary.to_string_lossy();
    let told = format!("{:?} {:?}", row.message, row.failed_hooks);
    assert!(told.contains(path.as_ref()), "{told}");
    wait_condition(&kubectl, "flow-late", "Stalled", "False/");

    std::fs::create_dir(binary.parent().unwrap()).unwrap();
    target::build(binary.parent().unwrap());
    wait_ready(&kubectl, "flow-late");
    let mut target = Target::start(&binary);
    target.hit(5);
    assert_eq!(counted(&rig.agent, "flow-late").unwrap(), 5);
}
