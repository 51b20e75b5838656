//! All cases on all kernels: one cluster, the kernels beside each other, the cases one after the other.

use std::time::{Duration, Instant};

use bpfleet_e2e::vm::{self, Fleet, GuestOptions, Spec, VmNode};
use bpfleet_e2e::{Cluster, Kubectl};

use super::case::{self, Case};
use super::guest::Guest;
use super::{modules, restart, ways};

/// Whose BTF is hidden: the kernel itself still has it.
const HIDDEN: &str = "v6-1";
/// A kernel that has the BPF LSM and does not take it by itself, and what it is called when it is told to.
const TOLD: (&str, &str) = ("v5-10", "v5-10-lsm");

/// The matrix; if it is more than the quick one, also the kernel that is told to take the BPF LSM.
fn nodes() -> Vec<(&'static str, &'static Spec, GuestOptions)> {
    let matrix = vm::matrix().unwrap();
    let options = |spec: &Spec| GuestOptions {
        kernel_args: modules::KERNEL_ARGS.map(str::to_owned).to_vec(),
        hide_btf: spec.name == HIDDEN,
        ..GuestOptions::default()
    };
    let mut nodes: Vec<_> = matrix
        .iter()
        .map(|spec| (spec.name, *spec, options(spec)))
        .collect();
    if matrix.len() > vm::quick_matrix().len() {
        let spec = vm::find(TOLD.0).unwrap();
        let mut told = options(spec);
        told.kernel_args.push("lsm=lockdown,yama,bpf".into());
        nodes.push((TOLD.1, spec, told));
    }
    nodes
}

/// Applies all cases and looks at them on all kernels; then those that are `impossible`, which nodes try again and
/// again; then restarts the agents. Fails with every kernel and case that failed. `BPFLEET_CASE` names some cases.
pub fn all(cases: &[Case], impossible: &[Case]) {
    let only = std::env::var("BPFLEET_CASE").ok();
    let wanted = |case: &Case| {
        let named = |only: &str| only.split(',').any(|name| name == case.name());
        only.as_deref().is_none_or(named)
    };
    let [cases, impossible] = [cases, impossible].map(|cases| {
        cases
            .iter()
            .filter(|case| wanted(case))
            .cloned()
            .collect::<Vec<_>>()
    });
    let cluster = Cluster::start().unwrap();
    let fleet = Fleet::start_with(&cluster, &nodes()).unwrap();
    let _watch = fleet.on_failure();
    for node in fleet.nodes() {
        modules::load(node).unwrap();
        ways::install(node).unwrap();
    }
    let kubectl = cluster.kubectl();
    let mut failures = Vec::new();
    // kubectl refuses to apply nothing.
    for cases in [&cases, &impossible]
        .into_iter()
        .filter(|cases| !cases.is_empty())
    {
        case::apply(&cluster, cases);
        failures.extend(on_all(&fleet, |node| {
            let each = cases.iter().map(|case| looked_at(node, case, &kubectl));
            each.collect()
        }));
    }
    failures.extend(on_all(&fleet, |node| {
        vec![told(node, "restart", Instant::now(), restart::check(node))]
    }));
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Does something on all kernels at once, and gives what failed.
fn on_all(fleet: &Fleet<'_>, what: impl Fn(&VmNode<'_>) -> Vec<Result<(), String>> + Sync) -> Vec<String> {
    std::thread::scope(|threads| {
        let nodes = fleet.nodes().iter();
        let running: Vec<_> = nodes.map(|node| threads.spawn(|| what(node))).collect();
        let results = running.into_iter().flat_map(|thread| thread.join().unwrap());
        results.filter_map(Result::err).collect()
    })
}

fn looked_at(node: &VmNode<'_>, case: &Case, kubectl: &Kubectl) -> Result<(), String> {
    let guest = Guest {
        node,
        program: case.name(),
        kubectl: kubectl.clone(),
    };
    let started = Instant::now();
    told(node, case.name(), started, (case.check)(&guest))
}

/// Prints what became of it, with kernel and case.
fn told(node: &VmNode<'_>, case: &str, started: Instant, result: case::Result<String>) -> Result<(), String> {
    let about = format!("{} ({}): {case}", node.name(), node.kernel().release);
    match result {
        Ok(said) => {
            let took: Duration = started.elapsed();
            println!("{about}: {said} ({:.1} s)", took.as_secs_f32());
            Ok(())
        }
        Err(error) => {
            println!("{about}: FAILED: {error}");
            Err(format!("{about}: {error}"))
        }
    }
}
