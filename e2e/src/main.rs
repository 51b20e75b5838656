//! `bpfleet-e2e`: the tests' clusters for a person to play with, and for the demos.

mod foreground;
mod vm_command;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bpfleet_e2e::error::{Error, Result, write_file};
use bpfleet_e2e::real::{NodeOptions, inner};
use bpfleet_e2e::scratch::Scratch;
use bpfleet_e2e::vm::{self, GuestOptions, guest, libbpf};
use bpfleet_e2e::{
    Agent, AgentOptions, Cluster, ControlPlane, Operator, OperatorOptions, RealCluster, RealOptions, tools,
};
use clap::{Parser, Subcommand};

use foreground::{Progress, Stop, quoted};

/// Kubernetes on this machine, for bpfleet.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Starts a control plane with bpfleet, without kubelets, and stays in the foreground until SIGINT or
    /// SIGTERM, then removes everything.
    Up(Up),
    /// Starts a cluster whose nodes run pods, without bpfleet, and stays in the foreground until SIGINT or
    /// SIGTERM, then removes everything.
    Cluster(Real),
    /// Boots one of the kernels that tests run on, for a shell or a command.
    Vm(vm_command::Arguments),
    /// What runs in a guest and does what the host asks.
    #[command(hide = true)]
    Guest,
    /// What libbpf can load and attach of objects, program by program, in a guest.
    #[command(hide = true)]
    Libbpf { objects: Vec<PathBuf> },
    /// What the harness starts in the namespaces of a node.
    #[command(hide = true, subcommand)]
    Inner(Inner),
}

#[derive(clap::Args)]
struct Up {
    /// Directory for its files, which must not exist: it is removed at the end.
    #[arg(long)]
    state: PathBuf,
    /// Name of a node that gets an agent on this machine; may be given several times.
    #[arg(long = "node", default_value = "local")]
    nodes: Vec<String>,
    /// A kernel of `bpfleet-e2e vm --list`, booted as a node of its name; may be given several times.
    #[arg(long = "vm", value_name = "KERNEL")]
    vms: Vec<String>,
    /// Registries (HOST:PORT) from which the operator pulls over plain HTTP.
    #[arg(long = "insecure-registry")]
    insecure_registries: Vec<String>,
    /// Only etcd and the API server: no CRDs, operator or agents.
    #[arg(long)]
    control_plane_only: bool,
}

#[derive(clap::Args)]
struct Real {
    /// Directory for its files, which must not exist: it is removed at the end.
    #[arg(long)]
    state: PathBuf,
    /// Number of nodes: node1, node2 and so on.
    #[arg(long, default_value_t = 2)]
    nodes: usize,
    /// Seconds after which a node that is silent is no longer Ready; Kubernetes' own 50 if not given.
    #[arg(long)]
    node_grace: Option<u64>,
}

#[derive(Subcommand)]
enum Inner {
    /// Joins control groups and becomes another program.
    Join {
        #[arg(long = "group")]
        groups: Vec<PathBuf>,
        #[arg(long)]
        outlive: bool,
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// The first process of a node.
    First { spec: PathBuf },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        What::Up(up) => run(&up),
        What::Cluster(real) => run_real(&real),
        What::Vm(arguments) => vm_command::run(&arguments),
        What::Guest => guest::serve(),
        What::Libbpf { objects } => libbpf::print_each(&objects),
        What::Inner(Inner::Join {
            groups,
            outlive,
            command,
        }) => inner::join(&groups, outlive, &command),
        What::Inner(Inner::First { spec }) => inner::first(&spec),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(up: &Up) -> Result<()> {
    // A signal during the start is noticed at its end.
    let stop = Stop::new()?;
    tools::Tools::find()?;
    let mut progress = Progress::new();
    if up.control_plane_only {
        let plane = ControlPlane::start_in(Scratch::at(&up.state)?)?;
        progress.done("control plane");
        write_file(&plane.scratch().path().join("env"), environment(&plane))?;
        return stop.wait();
    }
    let cluster = Cluster::start_in(Scratch::at(&up.state)?)?;
    progress.done("control plane, CRDs, RBAC");
    let options = OperatorOptions {
        insecure_registries: up.insecure_registries.clone(),
        ..OperatorOptions::default()
    };
    let operator = Operator::start(&cluster, &options)?;
    operator.wait_ready(Duration::from_secs(30))?;
    progress.done("operator");
    let mut env = environment(cluster.plane());
    let _ = writeln!(env, "OPERATOR_PID={}", operator.pid());
    let mut running = Vec::new();
    for name in &up.nodes {
        let node = cluster.add_node(name)?;
        let agent = Agent::start(&cluster, &node, &AgentOptions::default())?;
        progress.done(&format!("agent of node {name}"));
        let variable: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        let _ = writeln!(env, "AGENT_PID_{variable}={}", agent.pid());
        let _ = writeln!(env, "PIN_ROOT_{variable}={}", quoted(&agent.pin_root()));
        running.push((agent, node));
    }
    let specs = up
        .vms
        .iter()
        .map(|name| vm::find(name))
        .collect::<Result<Vec<_>>>()?;
    let guests = if specs.is_empty() {
        Vec::new()
    } else {
        let kernels = vm::ensure(&specs)?;
        progress.done("kernels");
        // They boot side by side.
        let options = GuestOptions::default();
        let started = std::thread::scope(|scope| {
            let starting: Vec<_> = kernels
                .iter()
                .zip(&up.vms)
                .map(|(kernel, name)| scope.spawn(|| cluster.add_vm(name, kernel, &options)))
                .collect();
            starting.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        progress.done(&format!("guests {}", up.vms.join(", ")));
        started
    };
    write_file(&cluster.plane().scratch().path().join("env"), env)?;
    let stopped = stop.wait();
    drop(guests);
    // Agents before their nodes, both before the operator and the control plane.
    for (agent, node) in running {
        drop(agent);
        drop(node);
    }
    drop(operator);
    stopped
}

/// What a thread that boots a guest came to.
fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(Error::Other("the thread that boots a guest panicked".into())))
}

fn run_real(real: &Real) -> Result<()> {
    let stop = Stop::new()?;
    tools::Tools::find()?;
    tools::NodeTools::find()?;
    let mut progress = Progress::new();
    let options = RealOptions {
        node_grace: real.node_grace.map(Duration::from_secs),
        ..RealOptions::with_nodes((1..=real.nodes).map(|number| NodeOptions::named(format!("node{number}"))))
    };
    let cluster = RealCluster::start_in(Scratch::at(&real.state)?, &options)?;
    progress.done(&format!("cluster of {} nodes", real.nodes));
    let mut env = format!(
        "KUBECONFIG={}\nKUBECTL={}\nHELM={}\nLOGS={}\nREGISTRY={}\nREGISTRY_IN_CLUSTER={}\nIN='{}'\n",
        quoted(cluster.admin_kubeconfig()),
        quoted(&cluster.tools().kubectl),
        quoted(cluster.helm_program()),
        quoted(cluster.logs()),
        cluster.registry().host(),
        bpfleet_e2e::real::REGISTRY,
        cluster.control_prefix().join(" "),
    );
    for (number, node) in cluster.nodes().iter().enumerate() {
        let _ = writeln!(env, "IN_NODE{}='{}'", number + 1, node.prefix()?.join(" "));
    }
    write_file(&cluster.scratch().path().join("env"), env)?;
    let stopped = stop.wait();
    drop(cluster);
    stopped
}

/// Variables for a shell that sources the file; it appears when everything is up.
fn environment(plane: &ControlPlane) -> String {
    format!(
        "KUBECONFIG={}\nKUBECTL={}\nLOGS={}\n",
        quoted(plane.admin_kubeconfig()),
        quoted(&plane.tools().kubectl),
        quoted(plane.logs())
    )
}
