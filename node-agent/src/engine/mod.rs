//! The node's part of bpfleet, the same with a cluster and without: what shall run goes in, rows of what runs come
//! out. Programs are independent: one that fails or hangs holds up no other.

pub mod decide;
mod execute;
mod load;
pub mod row;
pub mod source;
pub mod state;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bpfleet_crds::{
    conditions::truncate,
    node::{MAX_MESSAGE_BYTES, ProgramStatus},
};
use bpfleet_fit::kernel::KernelVersion;
use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, UnboundedSender},
        watch as channel,
    },
    task::spawn_blocking,
    time::{interval_at, sleep_until, timeout},
};

use self::{
    decide::{Step, decide},
    execute::{Done, Executor},
    source::Source,
    state::{Program, Wanted},
};
use crate::{
    facts::{self, FactPaths},
    load::{
        request::{Failure, Loaded, NodePaths},
        spawn::{Spawner, own_binary},
    },
    pins::HookState,
};

/// Programs that are loaded at the same time: loading is CPU work, and the node has other things to do.
const CONCURRENT_LOADS: usize = 2;
/// How often it is looked whether everything is attached. What is lost has to leave Ready within 10 s.
pub const VERIFY_EVERY: Duration = Duration::from_secs(4);
/// How long a look waits for others: a file system that hangs must not hold up those at other programs.
const LOOK_PATIENCE: Duration = Duration::from_millis(500);
/// How long one revision may take to load: the verifier needs seconds for the largest programs.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// What the engine works with.
#[derive(Clone)]
pub struct Settings {
    /// Name of the node, for spreading retries.
    pub node_name: String,
    /// Where the node keeps things.
    pub node: NodePaths,
    /// How workers are started.
    pub spawner: Spawner,
    /// How often pins are looked at without a cause.
    pub verify_every: Duration,
    /// In Kubernetes' words.
    pub architecture: String,
    /// The kernel's version; none if it cannot be read.
    pub kernel_version: Option<KernelVersion>,
    /// Where facts are read from.
    pub facts: FactPaths,
}

impl Settings {
    /// For this machine: `paths` as given on the command line, with what is missing found out. `cancel` ends
    /// loading that is under way.
    pub fn new(
        node_name: &str,
        paths: &FactPaths,
        perf_links: bool,
        verify_every: Duration,
        cancel: Option<channel::Receiver<bool>>,
    ) -> Self {
        Self {
            node_name: node_name.to_owned(),
            node: NodePaths {
                pin_root: paths.pin_root.clone(),
                kernel_btf: paths.kernel_btf.clone(),
                cgroup_root: paths
                    .cgroup_root
                    .clone()
                    .or_else(|| facts::cgroup_hierarchies(&paths.host_root).v2),
                host_root: paths.host_root.clone(),
                perf_links,
            },
            spawner: Spawner {
                binary: own_binary(),
                timeout: LOAD_TIMEOUT,
                cancel,
            },
            verify_every,
            architecture: facts::machine_architecture(),
            kernel_version: facts::kernel_version().parse().ok(),
            facts: paths.clone(),
        }
    }
}

/// What runs now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The generation of [`Wanted`] that the rows speak of.
    pub generation: Option<i64>,
    /// A row for every program that shall run or is still there, by name.
    pub rows: Vec<ProgramStatus>,
    /// What loading said of programs that this process loaded.
    pub loaded: BTreeMap<String, Arc<Loaded>>,
    /// Programs that shall run.
    pub wanted: u32,
    /// Whether nothing is going on: everything runs, failed, or waits.
    pub settled: bool,
    /// Why nothing can run on this node at all.
    pub blocked: Option<Failure>,
}

impl View {
    /// Of a node on which nothing can be done: every program that shall run, or that was last known to (`running`, by
    /// name with its revision), failed for this one reason. What may still be attached must not look like gone.
    pub fn blocked(wanted: &Wanted, running: &BTreeMap<String, String>, failure: Failure) -> Self {
        let row = |name: &String| ProgramStatus {
            name: name.clone(),
            revision: running.get(name).cloned(),
            reason: Some(failure.reason.to_string()),
            message: Some(truncate(&failure.message, MAX_MESSAGE_BYTES).to_owned()),
            ..ProgramStatus::default()
        };
        let names: BTreeSet<&String> = wanted.programs.keys().chain(running.keys()).collect();
        Self {
            generation: wanted.generation,
            rows: names.into_iter().map(row).collect(),
            wanted: count(wanted),
            settled: true,
            blocked: Some(failure),
            ..Self::default()
        }
    }
}

fn count(wanted: &Wanted) -> u32 {
    u32::try_from(wanted.programs.len()).unwrap_or(u32::MAX)
}

/// Runs until `wanted` is closed. Never detaches anything when it ends: what runs outlives the agent.
pub async fn run(
    settings: Settings,
    source: Arc<dyn Source>,
    mut wanted: channel::Receiver<Option<Wanted>>,
    view: channel::Sender<View>,
) {
    let (done, mut finished) = mpsc::unbounded_channel();
    let (looked, mut looks) = mpsc::unbounded_channel();
    let executor = Arc::new(Executor::new(
        settings.clone(),
        source,
        Semaphore::new(CONCURRENT_LOADS),
    ));
    let mut programs: BTreeMap<String, Program> = match executor.scan().await {
        Ok(programs) => programs,
        Err(error) => {
            tracing::error!(error, "pins cannot be read; starting as if there were none");
            BTreeMap::new()
        }
    };
    let mut verify = interval_at(
        tokio::time::Instant::now() + settings.verify_every,
        settings.verify_every,
    );
    let mut current: Option<Wanted> = wanted.borrow_and_update().clone();
    loop {
        if let Some(wanted) = &current {
            for (name, revision) in &wanted.programs {
                programs.entry(name.clone()).or_default().want(revision);
            }
            for (name, program) in &mut programs {
                if wanted.authoritative && !wanted.programs.contains_key(name) {
                    program.wanted = None;
                }
            }
        }
        let now = Instant::now();
        let mut wake: Option<Instant> = None;
        for (name, program) in &mut programs {
            // Until somebody has said what shall run, nothing is touched.
            match current
                .as_ref()
                .map_or(Step::Idle, |wanted| decide(program, wanted.authoritative, now))
            {
                Step::Idle => {}
                Step::WaitUntil(time) => wake = Some(wake.map_or(time, |other| other.min(time))),
                Step::Start(action) => {
                    program.busy = true;
                    program.turn += 1;
                    let (executor, name, done) = (executor.clone(), name.clone(), done.clone());
                    tokio::spawn(async move {
                        let outcome = executor.execute(&name, action).await;
                        // The engine has ended: there is nobody to tell.
                        let _ = done.send((name, outcome));
                    });
                }
            }
        }
        programs.retain(|_, program| !program.is_gone());
        let next = View {
            generation: current.as_ref().and_then(|wanted| wanted.generation),
            rows: row::rows(&programs),
            loaded: programs
                .iter()
                .filter_map(|(name, program)| Some((name.clone(), program.running.as_ref()?.loaded.clone()?)))
                .collect(),
            wanted: current.as_ref().map_or(0, count),
            blocked: None,
            settled: current.is_some() && programs.values().all(|program| !program.busy),
        };
        if next.settled {
            executor.clean_cache(&programs);
        }
        view.send_if_modified(|view| {
            let changed = *view != next;
            *view = next;
            changed
        });
        // What changes nothing asks for no decision.
        loop {
            let retry = async {
                match wake {
                    Some(time) => sleep_until(time.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => current = wanted.borrow_and_update().clone(),
                    Err(_) => return,
                },
                Some((name, outcome)) = finished.recv() => {
                    if let Some(program) = programs.get_mut(&name) {
                        let failed = matches!(outcome, Done::Failed { .. } | Done::Reattached(..));
                        settle(program, outcome, &settings.node_name, &name);
                        if failed {
                            // An attempt that failed has put everything back; if it has not, that must be seen.
                            look(&executor, &name, program, &looked);
                        }
                    }
                }
                Some(Looked { name, revision, turn, found }) = looks.recv() => {
                    if let Some(program) = programs.get_mut(&name) {
                        program.looking = false;
                        let same = program.running.as_ref().is_some_and(|running| running.revision == revision);
                        if let Some(found) = found
                            && (turn, true) == (program.turn, same)
                        {
                            let changes = program.seen(found, Instant::now());
                            watch::log(&name, &revision, &changes);
                            if changes.is_empty() && program.is_running() {
                                continue;
                            }
                        }
                    }
                }
                _ = verify.tick() => {
                    for (name, program) in programs.iter_mut().filter(|(_, program)| !program.busy) {
                        look(&executor, name, program, &looked);
                    }
                    continue;
                }
                () = retry => {}
            }
            break;
        }
    }
}

/// What a look at a program's hooks found.
struct Looked {
    name: String,
    revision: String,
    turn: u64,
    found: Option<Vec<HookState>>,
}

/// Begins to look whether what runs is attached. A file system that hangs holds up the look at this program alone.
fn look(executor: &Arc<Executor>, name: &str, program: &mut Program, looked: &UnboundedSender<Looked>) {
    let Some(running) = &program.running else { return };
    if program.looking {
        return;
    }
    program.looking = true;
    let held: BTreeSet<String> = program.held.iter().map(|(hook, _)| hook.clone()).collect();
    let (executor, looked, revision) = (executor.clone(), looked.clone(), running.revision.clone());
    let (name, turn) = (name.to_owned(), program.turn);
    tokio::spawn(async move {
        // One after the other, as long as none takes long.
        let turn_to_look = timeout(LOOK_PATIENCE, executor.looks().acquire()).await;
        let executor = executor.clone();
        let (of, at) = (name.clone(), revision.clone());
        let found = spawn_blocking(move || executor.look(&of, &at, &held)).await;
        drop(turn_to_look);
        if let Err(error) = &found {
            tracing::error!(program = name, %error, "looking at hooks failed");
        }
        // The engine has ended: there is nobody to tell.
        let _ = looked.send(Looked {
            name,
            revision,
            turn,
            found: found.ok().flatten(),
        });
    });
}

/// Takes an outcome into a program's state.
fn settle(program: &mut Program, outcome: Done, node: &str, name: &str) {
    program.busy = false;
    program.turn += 1;
    let now = Instant::now();
    match outcome {
        Done::Loaded(running, held) => program.loaded(running, held),
        Done::LoadedUntidily(running, held, message) => {
            program.loaded(running, held);
            program.leftovers = true;
            program.remove_failed(message, now, &format!("{node}/{name}"));
        }
        Done::Reattached(revision, reattached) => {
            for hook in &reattached.hooks {
                tracing::info!(program = name, revision, hook = hook.name, "attached again");
            }
            if let Some(failure) = &reattached.failure {
                tracing::warn!(program = name, revision, reason = %failure.reason, "{}", failure.message);
            }
            program.reattached(revision, reattached, now, &format!("{node}/{name}"));
        }
        Done::Failed { revision, failure } => {
            tracing::warn!(program = name, revision, reason = %failure.reason, "{}", failure.message);
            if let Some(log) = &failure.log {
                tracing::info!(program = name, revision, "the verifier's log:\n{log}");
            }
            program.failed(revision, failure, now, &format!("{node}/{name}"));
        }
        Done::Cleaned => program.cleaned(),
        Done::Removed => program.removed(),
        Done::RemoveFailed(message) => program.remove_failed(message, now, &format!("{node}/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use bpfleet_crds::NodeReason;

    use super::*;

    #[test]
    fn what_ran_before_the_node_was_blocked_does_not_look_like_gone() {
        let wanted = Wanted {
            generation: Some(7),
            programs: [("new".to_owned(), "new-1".to_owned())].into(),
            authoritative: true,
        };
        let running = [("old".to_owned(), "old-1".to_owned())].into();
        let view = View::blocked(&wanted, &running, Failure::new(NodeReason::PinFailed, "no"));
        let rows: Vec<_> = view
            .rows
            .iter()
            .map(|row| (row.name.as_str(), row.revision.as_deref(), row.reason.as_deref()))
            .collect();
        assert_eq!(
            rows,
            [
                ("new", None, Some("PinFailed")),
                ("old", Some("old-1"), Some("PinFailed"))
            ]
        );
    }
}
