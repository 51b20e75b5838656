//! How nodes and clusters end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bpfleet_e2e::real::{NodeOptions, diagnose};
use bpfleet_e2e::scratch::Scratch;
use bpfleet_e2e::{RealCluster, RealOptions, wait};

/// Time for what takes a fraction of a second on an idle machine.
const SOON: Duration = Duration::from_secs(60);

/// Directories of this process's clusters among the machine's control groups.
fn control_groups(owner: u32) -> Vec<PathBuf> {
    fn walk(dir: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(prefix) {
                    found.push(entry.path());
                } else {
                    walk(&entry.path(), prefix, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(
        Path::new("/sys/fs/cgroup"),
        &format!("bpfleet-e2e-{owner}-"),
        &mut found,
    );
    found
}

/// Every process in these groups and below.
fn processes(groups: &[PathBuf]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for group in groups {
        let procs = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        found.extend(procs.lines().map(str::to_owned));
        let below = std::fs::read_dir(group).into_iter().flatten().flatten();
        let below: Vec<PathBuf> = below
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        found.extend(processes(&below));
    }
    found
}

/// What of a cluster can be seen on the host: programs, mounts, files and control groups.
fn left(state: &Path, groups: &[PathBuf], pids: &BTreeSet<String>) -> Result<(), String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let text = state.to_string_lossy();
    if let Some(pid) = pids.iter().find(|pid| Path::new("/proc").join(pid).exists()) {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        return Err(format!("process {pid}: {}", line.replace('\0', " ")));
    }
    let named = |entry: &std::fs::DirEntry| {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        line.contains(&*text) && entry.file_name().to_string_lossy() != std::process::id().to_string()
    };
    if let Some(entry) = std::fs::read_dir("/proc").unwrap().flatten().find(named) {
        return Err(format!("process {}", entry.path().display()));
    }
    if let Some(mount) = mounts.lines().find(|line| line.contains(&*text)) {
        return Err(format!("mount {mount}"));
    }
    if let Some(group) = groups.iter().find(|group| group.exists()) {
        return Err(format!("control group {}", group.display()));
    }
    if state.exists() {
        Err(format!("directory {text}"))
    } else {
        Ok(())
    }
}

/// What must be the same after a cluster as before.
fn host() -> String {
    let links = Command::new("ip").args(["-brief", "link"]).output().unwrap();
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    [
        String::from_utf8(links.stdout).unwrap(),
        read("/proc/sys/net/ipv4/ip_forward"),
        read("/proc/sys/vm/overcommit_memory"),
        read("/proc/sys/kernel/panic"),
        read("/proc/sys/kernel/hostname"),
    ]
    .concat()
}

#[test]
fn a_killed_node_turns_not_ready_and_can_come_back_and_nothing_is_left_of_a_dropped_cluster() {
    let before = host();
    let scratch = Scratch::new("ends").unwrap();
    let state = scratch.path().to_owned();
    let options = RealOptions {
        node_grace: Some(Duration::from_secs(8)),
        ..RealOptions::with_nodes(["steady", "victim"].map(NodeOptions::named))
    };
    let cluster = RealCluster::start_in(scratch, &options).unwrap();
    let watch = diagnose::on_failure(&cluster);
    let kubectl = cluster.kubectl();
    let victim = cluster.node("victim").unwrap();
    victim.run(&["mkdir", "/sys/fs/bpf/pinned"]).unwrap();
    victim.kill().unwrap();
    assert!(
        victim
            .run(&["true"])
            .unwrap_err()
            .to_string()
            .contains("victim was killed")
    );
    kubectl
        .wait_for("node/victim", "condition=Ready=Unknown", SOON)
        .unwrap();
    kubectl
        .wait_for("node/steady", "condition=Ready=True", SOON)
        .unwrap();
    victim.boot().unwrap();
    cluster.wait_ready(SOON).unwrap();
    assert!(!victim.run(&["ls", "/sys/fs/bpf"]).unwrap().contains("pinned"));
    let events = kubectl
        .run(&[
            "get",
            "events",
            "--field-selector=reason=NodeNotReady",
            "-o",
            "name",
        ])
        .unwrap();
    assert!(
        !events.contains("steady"),
        "a node suffers from another's death: {events}"
    );

    let groups = control_groups(std::process::id());
    let groups: Vec<PathBuf> = groups
        .into_iter()
        .filter(|group| group.join("steady").exists())
        .collect();
    let pids = processes(&groups);
    assert!(!groups.is_empty() && pids.len() > 8, "{groups:?} {pids:?}");
    assert!(left(&state, &groups, &pids).is_err(), "it is seen while it runs");
    drop(watch);
    drop(cluster);
    left(&state, &groups, &pids).unwrap();
    assert_eq!(host(), before);
}

#[test]
fn nothing_is_left_of_a_cluster_whose_owner_was_killed() {
    let scratch = Scratch::new("killed").unwrap();
    let state = scratch.path().join("state");
    let mut owner = Command::new(env!("CARGO_BIN_EXE_bpfleet-e2e"))
        .args(["cluster", "--nodes=1", "--state"])
        .arg(&state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("the cluster", SOON, || match owner.try_wait().unwrap() {
        Some(status) => panic!("it ended with {status}"),
        None if state.join("env").exists() => Ok(()),
        None => Err("it is still starting"),
    })
    .unwrap();
    let groups = control_groups(owner.id());
    let pids = processes(&groups);
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait::until("everything to be gone", SOON, || left(&state, &groups, &pids)).unwrap();
}
