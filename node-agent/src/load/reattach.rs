//! Attaching again what a complete revision has lost, with the programs and maps that it has: its other hooks go on
//! meanwhile, and its maps keep what is in them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    slice,
    time::Instant,
};

use aya::programs::{PerfEvent, Program, ProgramError, SchedClassifier, SkLookup, TracePoint};
use aya_obj::generated::bpf_prog_type::{
    BPF_PROG_TYPE_PERF_EVENT, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SK_LOOKUP, BPF_PROG_TYPE_TRACEPOINT,
};
use bpf_object::ObjectInfo;
use bpfleet_crds::{NodeReason, node::FailedHook};
use bpfleet_fit::{Attach, ChosenHook, HookPlan, Tried, choose, hook_questions};

use super::{
    attach::{Attaching, describe},
    attempt::{attached, micros, not_attached},
    error::{HookError, attaching},
    kernel_data::KernelData,
    programs::Attachable,
    request::{Failure, Loaded, NodePaths, Report, Request},
    revision::{failed_hook, plan, read_object},
    tracefs,
    watching::{Modules, attach},
};
use crate::{
    kernel::bpf,
    layout::{ProgramDir, RevisionDir},
    pins::{self, watched::Watched},
    record::PROGRAM,
    usdt::{Plan, Probe},
};

/// Attaches the lost hooks of a complete revision that can be; gives descriptors that keep some attached.
pub fn reattach(request: &Request, lost: &[String], start: Instant) -> (Report, Vec<OwnedFd>) {
    match each(request, lost, start) {
        Ok((loaded, failure, held)) => (Report::Reattached(loaded, failure), held),
        Err(Miss::Failed(failure)) => (Report::Failed(failure), Vec::new()),
        Err(Miss::LoadAnew(why)) => {
            let failure = Failure::new(NodeReason::Detached, format!("it has to be loaded anew: {why}"));
            (Report::Unsuited(failure), Vec::new())
        }
    }
}

/// Why nothing was attached, or not all that could be.
enum Miss {
    Failed(Failure),
    LoadAnew(String),
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn pinning(error: impl std::fmt::Display) -> Failure {
    Failure::new(NodeReason::PinFailed, error.to_string())
}

type Outcome = (Loaded, Option<Failure>, Vec<OwnedFd>);

fn each(request: &Request, lost: &[String], start: Instant) -> Result<Outcome, Miss> {
    let bytes = read_object(&request.object, &request.digest)?;
    let object = bpf_object::inspect(&bytes)
        .map_err(|error| Failure::new(NodeReason::InvalidObject, error.to_string()))?;
    let mut plans = plan(&object, request)?;
    plans.retain(|plan| lost.contains(&plan.name));
    let tracefs = tracefs::mount_privately(&plans);
    let mut kernel = KernelData::new(&request.node);
    let program_dir = ProgramDir::new(&request.node.pin_root, &request.program).map_err(pinning)?;
    let complete = program_dir.revision(&request.revision).map_err(pinning)?;
    let making = program_dir.loading_revision(&request.revision).map_err(pinning)?;
    let (chosen, mut failed) = chosen(&object, &plans, &complete, &mut kernel)?;
    if chosen.len() + failed.len() < lost.len() {
        return Err(Miss::LoadAnew("the revision has other hooks".to_owned()));
    }
    tracefs.check(&bpfleet_fit::Choice {
        hooks: chosen.clone(),
        absent: Vec::new(),
    })?;
    let node = NodePaths {
        perf_links: request.node.perf_links && aya::features().bpf_perf_link(),
        ..request.node.clone()
    };
    let place = Place {
        node: &node,
        program: &program_dir,
        complete: &complete,
        making: &making,
    };
    let modules = Modules::of(&chosen);
    // What a crash left there is not ours to build on.
    pins::remove_revision(&program_dir, &making).map_err(pinning)?;
    let (mut loaded, mut held) = (Loaded::default(), Vec::new());
    let mut anew = None;
    for hook in &chosen {
        match place.attach(hook, &modules, &mut kernel) {
            Ok((time, mut kept)) => {
                loaded.hooks.push(attached(hook, time));
                loaded
                    .held_fds
                    .extend(kept.iter().map(|_| hook.hook.name.clone()));
                held.append(&mut kept);
            }
            Err(error) => {
                let alone = plans
                    .iter()
                    .any(|plan| plan.name == hook.hook.name && plan.alternatives.len() == 1);
                let awaited = matches!(error.reason, NodeReason::TargetNotFound | NodeReason::TargetBusy);
                if !(alone && awaited) {
                    anew = Some(format!("hook {}: {}", hook.hook.name, error.message));
                    break;
                }
                failed.push(FailedHook {
                    name: hook.hook.name.clone(),
                    reason: error.reason.into(),
                    message: error.message,
                });
            }
        }
    }
    if let Err(error) = pins::remove_revision(&program_dir, &making) {
        eprintln!("load-worker: {error}");
    }
    if let Some(why) = anew {
        return Err(Miss::LoadAnew(why));
    }
    loaded.total_micros = micros(start.elapsed());
    let failure = (!failed.is_empty()).then(|| not_attached(failed, lost.len()));
    Ok((loaded, failure, held))
}

/// The lost hooks that the alternative can serve again which did, and those that none can serve now.
fn chosen(
    object: &ObjectInfo,
    plans: &[HookPlan],
    complete: &RevisionDir,
    kernel: &mut KernelData,
) -> Result<(Vec<ChosenHook>, Vec<FailedHook>), Miss> {
    let answers = kernel.answers(&hook_questions(object, plans));
    let (mut chosen, mut failed) = (Vec::new(), Vec::new());
    for plan in plans {
        match choose(object, slice::from_ref(plan), &answers, &Tried::new()) {
            Ok(choice) => {
                let dir = complete.hook(&plan.name).map_err(pinning)?;
                let watched = Watched::read(&dir)
                    .ok_or_else(|| Miss::LoadAnew(format!("nothing is known of hook {}", plan.name)))?;
                for hook in choice.hooks {
                    // Where its program looks for the probes of a binary is known only while it is loaded.
                    let described = matches!(hook.hook.attach, Attach::Usdt { .. });
                    if described || hook.alternative != watched.alternative {
                        return Err(Miss::LoadAnew(format!("hook {} is served otherwise", plan.name)));
                    }
                    chosen.push(hook);
                }
            }
            Err(unservable) => failed.extend(unservable.iter().map(failed_hook)),
        }
    }
    Ok((chosen, failed))
}

/// Where hooks are attached again.
struct Place<'a> {
    node: &'a NodePaths,
    program: &'a ProgramDir,
    complete: &'a RevisionDir,
    making: &'a RevisionDir,
}

impl Place<'_> {
    /// Attaches a hook beside the revision, then puts it in the place of what the revision has lost.
    fn attach(
        &self,
        chosen: &ChosenHook,
        modules: &Modules,
        kernel: &mut KernelData,
    ) -> Result<(std::time::Duration, Vec<OwnedFd>), HookError> {
        let named =
            |error: crate::escape::NameTooLong| HookError::new(NodeReason::PinFailed, error.to_string());
        let hook_dir = self.complete.hook(&chosen.hook.name).map_err(named)?;
        let fresh = self.making.hook(&chosen.hook.name).map_err(named)?;
        let pin = hook_dir.join(PROGRAM);
        let create = || {
            fs::create_dir_all(&fresh)?;
            fs::hard_link(&pin, fresh.join(PROGRAM))
        };
        create().map_err(|error| HookError::pin(&fresh, &error))?;
        let mut program = Pinned::open(pin, chosen, kernel)?;
        let mut context = Attaching::new(self.node, self.program, self.complete, fresh.clone());
        attach(&mut context, &mut program, chosen, modules)?;
        pins::replace_hook(self.program, self.complete, &hook_dir, &fresh)
            .map_err(|error| HookError::pin(&hook_dir, &error))?;
        Ok((context.attach_time, std::mem::take(&mut context.held)))
    }
}

/// A hook's program, by its pin.
struct Pinned {
    pin: PathBuf,
    fd: OwnedFd,
    target: String,
    syscall_function: Option<String>,
    by_aya: BTreeMap<String, Program>,
}

impl Pinned {
    fn open(pin: PathBuf, chosen: &ChosenHook, kernel: &mut KernelData) -> Result<Self, HookError> {
        let fd = bpf::obj_get(&pin).map_err(|error| HookError::pin(&pin, &error))?;
        let hook = &chosen.hook;
        let syscall_function = match &hook.attach {
            Attach::Syscall { name } => kernel.syscall_prefix().map(|prefix| format!("{prefix}{name}")),
            _ => None,
        };
        Ok(Self {
            pin,
            fd,
            target: describe(&hook.attach, hook.program.kind),
            syscall_function,
            by_aya: BTreeMap::new(),
        })
    }

    fn opened(&self) -> Result<Program, ProgramError> {
        let kind = aya::programs::ProgramInfo::from_pin(&self.pin)?.program_type();
        Ok(match kind {
            BPF_PROG_TYPE_TRACEPOINT => Program::TracePoint(TracePoint::from_pin(&self.pin)?),
            BPF_PROG_TYPE_PERF_EVENT => Program::PerfEvent(PerfEvent::from_pin(&self.pin)?),
            BPF_PROG_TYPE_SK_LOOKUP => Program::SkLookup(SkLookup::from_pin(&self.pin)?),
            BPF_PROG_TYPE_SCHED_CLS => Program::SchedClassifier(SchedClassifier::from_pin(&self.pin)?),
            other => {
                let message = format!("{} is of type {other:?}", self.pin.display());
                return Err(ProgramError::IOError(io::Error::other(message)));
            }
        })
    }
}

impl Attachable for Pinned {
    fn fd(&self, _: &str) -> Result<BorrowedFd<'_>, HookError> {
        Ok(self.fd.as_fd())
    }

    fn syscall_function(&self, _: &str) -> Option<String> {
        self.syscall_function.clone()
    }

    fn by_aya(&mut self, name: &str) -> Result<&mut Program, HookError> {
        let program = self.opened().map_err(|error| attaching(&self.target, &error))?;
        Ok(self.by_aya.entry(name.to_owned()).or_insert(program))
    }

    fn describe_probes(&mut self, _: &str, _: &[Probe]) -> Result<Plan, HookError> {
        Err(HookError::new(
            NodeReason::AttachFailed,
            format!(
                "{} can only be described while its program is loaded",
                self.target
            ),
        ))
    }
}
