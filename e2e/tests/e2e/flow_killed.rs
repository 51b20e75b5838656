//! An agent that dies at the worst moments.

use std::{path::Path, time::Instant};

use bpfleet_e2e::{diagnose, target, target::Target, wait};

use crate::{flow_kernel::*, flow_support::*, operator_support::*};

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).into_iter().flatten().count()
}

/// Looks without a pause until a moment of milliseconds has come, or is over: then the kill still comes soon
/// after it. False: it was over.
fn catch(moment: impl Fn() -> bool, over: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    loop {
        if moment() {
            return true;
        }
        if over() {
            return false;
        }
        assert!(
            Instant::now() < deadline,
            "neither came the moment nor was it over"
        );
        std::thread::yield_now();
    }
}

/// A moment in an update, by what lies in the program's directory.
type Moment = (&'static str, fn(&Path) -> bool);

const MOMENTS: [Moment; 4] = [
    ("before anything", |_| true),
    ("while the new one is loaded", |dir| {
        entries(&dir.join("loading")) > 0
    }),
    ("while both are there", |dir| entries(&dir.join("revisions")) > 1),
    ("after the old one", |_| false),
];

#[test]
fn an_agent_killed_in_an_update_or_a_removal_leaves_one_version_and_then_none() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let mut rig = Rig::start(cluster, "flow-killed");
    let _report = diagnose::on_failure(cluster).about(&["flow-killed"]);
    let binary = target::build(rig.node.dir());
    let mut target = Target::start(&binary);
    kubectl.apply(&config_map("flow-killed", &hits(1))).unwrap();
    let _applied = Applied::new(&kubectl, &hits_program("flow-killed", "flow-killed", &binary));
    wait_ready(&kubectl, "flow-killed");
    let mut revision = wait_updated(cluster, "flow-killed", None);
    let mut seen = in_kernel(&rig.agent);
    let dir = rig.agent.pin_root().join("flow-killed");

    for (step, (name, moment)) in [10, 100, 1000, 10_000].into_iter().zip(MOMENTS) {
        let old = dir.join("revisions").join(&revision);
        kubectl.apply(&config_map("flow-killed", &hits(step))).unwrap();
        let caught = catch(|| moment(&dir), || !old.exists());
        rig.agent.kill().unwrap();
        println!("killed {name}{}", if caught { "" } else { " (it was over)" });
        assert!(
            !links(&rig.agent, "flow-killed").is_empty(),
            "{name}: nothing is attached"
        );
        seen.extend(in_kernel(&rig.agent));
        rig.agent.restart().unwrap();
        revision = wait_updated(cluster, "flow-killed", Some(&revision));
        wait_ready(&kubectl, "flow-killed");
        wait::until(format!("{name}: one version"), SOON, || {
            let left = (entries(&dir.join("revisions")), entries(&dir.join("loading")));
            let links = links(&rig.agent, "flow-killed").len();
            if (left, links) == ((1, 0), 1) {
                Ok(())
            } else {
                Err(format!("{left:?}, {links} links"))
            }
        })
        .unwrap();
        let before = counted(&rig.agent, "flow-killed").unwrap();
        target.hit(7);
        let counted = counted(&rig.agent, "flow-killed").unwrap() - before;
        assert_eq!(counted, 7 * u64::from(step), "{name}: another version counts");
        seen.extend(in_kernel(&rig.agent));
    }

    let hooks = dir.join("revisions").join(&revision).join("hooks");
    kubectl
        .run(&["delete", "bpfprogram", "flow-killed", "--wait=false"])
        .unwrap();
    catch(|| entries(&hooks) == 0, || !dir.exists());
    rig.agent.kill().unwrap();
    rig.agent.restart().unwrap();
    wait_gone(&rig.agent, &seen);
    wait_deleted(cluster, "flow-killed");
}
