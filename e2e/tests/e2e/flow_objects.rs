//! Where objects come from may change, break or go away: what runs does not depend on it.

use bpfleet_e2e::{diagnose, target, target::Target, wait};
use serde_json::json;

use crate::{flow_kernel::*, flow_support::*, operator_support::*};

#[test]
fn a_config_map_may_come_late_change_break_and_go_while_the_program_runs() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let rig = Rig::start(cluster, "flow-object");
    let _report = diagnose::on_failure(cluster).about(&["flow-object"]);
    let binary = target::build(rig.node.dir());
    let mut target = Target::start(&binary);
    let mut program = hits_program("flow-object", "", &binary);
    program["spec"]["nodeSelector"] = json!({"matchLabels": {"flow": "object"}});
    rig.node.label(&json!({"flow": "object"})).unwrap();
    let _applied = Applied::new(&kubectl, &program);
    wait_condition(&kubectl, "flow-object", "Accepted", "False/ConfigMapNotFound");
    assert!(in_kernel(&rig.agent).is_empty());

    kubectl.apply(&config_map("flow-object", &hits(1))).unwrap();
    wait_ready(&kubectl, "flow-object");
    let first = wait_updated(cluster, "flow-object", None);
    target.hit(5);
    assert_eq!(counted(&rig.agent, "flow-object").unwrap(), 5);

    kubectl.apply(&config_map("flow-object", &hits(1000))).unwrap();
    let second = wait_updated(cluster, "flow-object", Some(&first));
    wait_ready(&kubectl, "flow-object");
    let link = links(&rig.agent, "flow-object");
    let before = counted(&rig.agent, "flow-object").unwrap();
    target.hit(5);
    assert_eq!(counted(&rig.agent, "flow-object").unwrap(), before + 5000);

    kubectl
        .apply(&config_map("flow-object", b"no object at all"))
        .unwrap();
    wait_condition(&kubectl, "flow-object", "Accepted", "False/InvalidObject");
    kubectl
        .run(&["-n", "bpfleet-system", "delete", "configmap", "flow-object"])
        .unwrap();
    wait_condition(&kubectl, "flow-object", "Accepted", "True/Valid");
    let late = Rig::start(cluster, "flow-object-late");
    late.node.label(&json!({"flow": "object"})).unwrap();
    let row = late.wait_row("flow-object", healthy);
    assert_eq!(
        row.revision.as_ref(),
        Some(&second),
        "a node that joins gets what the others run"
    );
    wait::holds("nothing is detached", A_WHILE, || {
        has_links(&rig.agent, "flow-object", &link)
    })
    .unwrap();
    target.hit(5);
    assert_eq!(counted(&rig.agent, "flow-object").unwrap(), before + 10_000);
    assert_eq!(counted(&late.agent, "flow-object").unwrap(), 5000);
}
