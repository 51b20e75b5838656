//! All cases on all kernels: one cluster, the kernels beside each other, the cases one after the other.

use std::time::Instant;

use bpfleet_e2e::vm::{self, Fleet, GuestOptions, Spec, VmNode};
use bpfleet_e2e::{Cluster, Kubectl};

use super::case::{self, Case};
use super::guest::Guest;
use super::{modules, restart, ways};

/// The matrix, and two of its kernels once more: one whose BTF is hidden, and one that is told to take the BPF LSM.
fn nodes() -> Vec<(&'static str, &'static Spec, GuestOptions)> {
    let matrix = vm::matrix().unwrap();
    let options = || GuestOptions {
        // Where it is built in; elsewhere modprobe is told.
        kernel_args: vec!["nf_conntrack.enable_hooks=1".into()],
        ..GuestOptions::default()
    };
    let mut lsm = options();
    lsm.kernel_args.push("lsm=lockdown,yama,bpf".into());
    let hidden = GuestOptions {
        hide_btf: true,
        ..options()
    };
    let more = [("v6-1", "v6-1-hidden", hidden), ("v5-10", "v5-10-lsm", lsm)];
    let more = more.into_iter().filter_map(|(of, name, options)| {
        let spec = matrix.iter().find(|spec| spec.name == of)?;
        Some((name, *spec, options))
    });
    let all = matrix.iter().map(|spec| (spec.name, *spec, options()));
    all.chain(more).collect()
}

/// Runs all cases on all kernels, and then restarts the agents. Fails with every kernel and case that failed.
pub fn all(cases: &[Case]) {
    let started = Instant::now();
    let only = std::env::var("BPFLEET_CASE").ok();
    let wanted = |case: &&Case| {
        only.as_deref()
            .is_none_or(|only| only.split(',').any(|o| o == case.name()))
    };
    let cases: Vec<&Case> = cases.iter().filter(wanted).collect();
    let cluster = Cluster::start().unwrap();
    let fleet = Fleet::start_with(&cluster, &nodes()).unwrap();
    let _watch = fleet.on_failure();
    for node in fleet.nodes() {
        modules::load(node).unwrap();
        ways::install(node).unwrap();
    }
    case::apply(&cluster, &cases);
    println!("{:.0} s: applied", started.elapsed().as_secs_f32());

    let failures: Vec<String> = std::thread::scope(|threads| {
        let on = |node| {
            let (cases, kubectl) = (&cases, cluster.kubectl());
            threads.spawn(move || on_kernel(node, cases, &kubectl))
        };
        let running: Vec<_> = fleet.nodes().iter().map(on).collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    println!("{:.0} s: done", started.elapsed().as_secs_f32());
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn on_kernel(node: &VmNode<'_>, cases: &[&Case], kubectl: &Kubectl) -> Vec<String> {
    let mut failures = Vec::new();
    let mut note = |case: &str, result: case::Result<String>, started: Instant| {
        let about = format!("{} ({}): {case}", node.name(), node.kernel().release);
        match result {
            Ok(said) => println!("{about}: {said} ({:.1} s)", started.elapsed().as_secs_f32()),
            Err(error) => {
                println!("{about}: FAILED: {error}");
                failures.push(format!("{about}: {error}"));
            }
        }
    };
    for case in cases {
        let guest = Guest {
            node,
            program: case.name(),
            kubectl: kubectl.clone(),
        };
        let started = Instant::now();
        note(case.name(), (case.check)(&guest), started);
    }
    let started = Instant::now();
    note("restart", restart::check(node), started);
    failures
}
