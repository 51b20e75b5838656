//! A node for each of some kernels, beside one control plane and one operator.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::fetch::{Kernel, ensure};
use super::kernels::Spec;
use super::node::VmNode;
use super::qemu::GuestOptions;
use crate::cluster::Cluster;
use crate::diagnose::{self, OnFailure};
use crate::error::{Error, Result};
use crate::operator::{Operator, OperatorOptions};

/// For the operator and the agents to be ready, on a machine that emulates several others.
const READY: Duration = Duration::from_secs(120);

/// Nodes with kernels of their own. Dropping it ends them, and the operator.
pub struct Fleet<'c> {
    nodes: Vec<VmNode<'c>>,
    operator: Operator,
    cluster: &'c Cluster,
}

impl<'c> Fleet<'c> {
    /// Starts an operator, and a node of the kernel's name for each, and waits until all agents are ready.
    pub fn start(cluster: &'c Cluster, kernels: &[&'static Spec]) -> Result<Fleet<'c>> {
        let options = GuestOptions::default();
        let nodes: Vec<_> = kernels
            .iter()
            .map(|spec| (spec.name, *spec, options.clone()))
            .collect();
        Fleet::start_with(cluster, &nodes)
    }

    /// The same with nodes of other names and options.
    pub fn start_with(
        cluster: &'c Cluster,
        nodes: &[(&str, &'static Spec, GuestOptions)],
    ) -> Result<Fleet<'c>> {
        let specs: Vec<_> = nodes.iter().map(|(_, spec, _)| *spec).collect();
        let kernels = ensure(&specs)?;
        let operator = Operator::start(cluster, &OperatorOptions::default())?;
        let wanted = nodes
            .iter()
            .zip(&kernels)
            .map(|((name, _, options), kernel)| (*name, kernel, options));
        let nodes = boot(cluster, wanted.collect())?;
        operator.wait_ready(READY)?;
        for node in &nodes {
            node.wait_ready(READY)?;
        }
        Ok(Fleet {
            nodes,
            operator,
            cluster,
        })
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Result<&VmNode<'c>> {
        self.nodes
            .iter()
            .find(|node| node.name() == name)
            .ok_or_else(|| Error::Other(format!("the fleet has no node {name}")))
    }

    /// All nodes, in the order of the kernels.
    pub fn nodes(&self) -> &[VmNode<'c>] {
        &self.nodes
    }

    /// Watches over the rest of the scope as [`diagnose::on_failure`] does, and shows what is in the guests' kernels.
    pub fn on_failure(&self) -> OnFailure<'_> {
        OnFailure::new(|about| {
            let mut out = diagnose::report(self.cluster, about);
            for node in &self.nodes {
                let shown =
                    node.sh("bpftool prog show; bpftool link show; find /sys/fs/bpf; dmesg | tail -n 20");
                let shown = shown.unwrap_or_else(|error| error.to_string());
                diagnose::section(&mut out, &format!("kernel of {}", node.name()), &shown);
            }
            out
        })
    }

    /// The operator.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }
}

/// As many at a time as there are processors: more would only slow each other down.
fn boot<'c>(cluster: &'c Cluster, wanted: Vec<(&str, &Kernel, &GuestOptions)>) -> Result<Vec<VmNode<'c>>> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let order: Vec<_> = wanted.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let queue = Mutex::new(VecDeque::from(wanted));
    let booted = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..at_once {
            threads.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((name, kernel, options)) = next else {
                        return;
                    };
                    let node = cluster.add_vm(name, kernel, options);
                    booted.lock().unwrap_or_else(PoisonError::into_inner).push(node);
                }
            });
        }
    });
    let booted = booted.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut nodes = booted.into_iter().collect::<Result<Vec<_>>>()?;
    nodes.sort_by_key(|node| order.iter().position(|name| name == node.name()));
    Ok(nodes)
}
