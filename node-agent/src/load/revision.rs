//! Loading one revision, in order: read → inspect → plan → ask the node → choose → attempt. An attempt resolves the
//! object for this kernel, opens, loads, pins and attaches; an alternative that fails in it is left out of the next
//! choice, until everything is attached or nothing is left to choose.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
    time::Instant,
};

use bpf_object::ObjectInfo;
use bpfleet_crds::{Digest, NodeReason, conditions::truncate, node::FailedHook, object::MAX_OBJECT_BYTES};
use bpfleet_fit::{
    Attempt, Choice, HookPlan, ProblemKind, Tried, Unservable, choose, explain, hook_questions, plan_hooks,
};

use super::{
    attempt::{Miss, attempt, micros},
    kernel_data::KernelData,
    request::{Failure, Loaded, Request},
    tracefs,
};

/// Most of a failed alternative's message that is kept for the message of its hook.
const MAX_ATTEMPT_BYTES: usize = 512;

/// Why nothing was loaded.
#[derive(Debug)]
pub enum Refusal {
    /// It was tried.
    Failed(Failure),
    /// There is nothing to try: the variant is not for this node.
    Unsuited(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Loads and attaches a revision; gives what runs, and descriptors that keep hooks attached.
pub fn load(request: &Request, start: Instant) -> Result<(Loaded, Vec<OwnedFd>), Refusal> {
    let bytes = read_object(&request.object, &request.digest)?;
    let object =
        bpf_object::inspect(&bytes).map_err(|e| Failure::new(NodeReason::InvalidObject, e.to_string()))?;
    let plans = plan(&object, request)?;
    // Questions are answered by what is mounted; where nothing is and nothing can be, they stay open.
    let tracefs = tracefs::mount_privately(&plans);
    let mut kernel = KernelData::new(&request.node);
    let answers = kernel.answers(&hook_questions(&object, &plans));
    let mut tried = Tried::new();
    let mut last: Option<Failure> = None;
    loop {
        let choice = match choose(&object, &plans, &answers, &tried) {
            Ok(choice) => choice,
            Err(unservable) => {
                return Err(match last {
                    Some(failure) => Refusal::Failed(exhausted(failure, &unservable)),
                    None => Refusal::Unsuited(unsuited(&unservable)),
                });
            }
        };
        tracefs.check(&choice)?;
        let failure = match attempt(request, &bytes, &object, &choice, &mut kernel) {
            Ok((mut loaded, held)) => {
                loaded.total_micros = micros(start.elapsed());
                return Ok((loaded, held));
            }
            Err(Miss::Revision(failure)) => return Err(failure.into()),
            Err(Miss::Programs(failed)) => {
                let failure = first_without_alternative(&plans, &choice, &failed);
                note(&mut tried, &choice, &failure, |hook| {
                    let (_, failure) = failed.iter().find(|(name, _)| *name == hook.program.name)?;
                    Some(attempt_of(failure))
                });
                failure
            }
            Err(Miss::Hooks(failure)) => {
                note(&mut tried, &choice, &failure, |hook| {
                    let failed = failure
                        .failed_hooks
                        .iter()
                        .find(|failed| failed.name == hook.name)?;
                    Some(Attempt {
                        reason: NodeReason::parse(&failed.reason).unwrap_or(failure.reason),
                        message: truncate(&failed.message, MAX_ATTEMPT_BYTES).to_owned(),
                    })
                });
                failure
            }
        };
        last = Some(failure);
    }
}

/// Of what failed to load, what will end the attempts: the first that leaves its hook without an alternative; else the
/// first.
fn first_without_alternative(plans: &[HookPlan], choice: &Choice, failed: &[(String, Failure)]) -> Failure {
    let ends = |name: &str| {
        choice.hooks.iter().any(|chosen| {
            let plan = plans.iter().find(|plan| plan.name == chosen.hook.name);
            chosen.hook.program.name == name
                && plan
                    .is_some_and(|plan| !plan.optional && chosen.alternative + 1 >= plan.alternatives.len())
        })
    };
    failed
        .iter()
        .find(|(name, _)| ends(name))
        .or(failed.first())
        .map_or_else(
            || Failure::new(NodeReason::LoadFailed, "a program cannot be loaded"),
            |(_, failure)| failure.clone(),
        )
}

/// Leaves out of the next choice what failed in this one. If that is nothing, everything is left out, so that there
/// is an end.
fn note(
    tried: &mut Tried,
    choice: &Choice,
    failure: &Failure,
    failed: impl Fn(&bpfleet_fit::PlannedHook) -> Option<Attempt>,
) {
    let before = tried.len();
    for chosen in &choice.hooks {
        if let Some(attempt) = failed(&chosen.hook) {
            tried.insert((chosen.hook.name.clone(), chosen.alternative), attempt);
        }
    }
    if tried.len() == before {
        for chosen in &choice.hooks {
            tried.insert(
                (chosen.hook.name.clone(), chosen.alternative),
                attempt_of(failure),
            );
        }
    }
}

fn attempt_of(failure: &Failure) -> Attempt {
    Attempt {
        reason: failure.reason,
        message: truncate(&failure.message, MAX_ATTEMPT_BYTES).to_owned(),
    }
}

/// The last failure, with the hooks that have no alternative left where they had several.
fn exhausted(mut failure: Failure, unservable: &[Unservable]) -> Failure {
    let several = unservable.iter().filter(|hook| hook.passed_over.len() > 1);
    let texts: Vec<String> = several.map(ToString::to_string).collect();
    if !texts.is_empty() {
        failure.message.push_str("; no alternative is left: ");
        failure.message.push_str(&texts.join("; "));
    }
    failure
}

/// Why this variant is not for this node: the reason of the first hook's last resort, and everything in words.
fn unsuited(unservable: &[Unservable]) -> Failure {
    let texts: Vec<String> = unservable.iter().map(ToString::to_string).collect();
    let message = format!(
        "{}; give the hook an alternative for such nodes, make it optional, or exclude them by nodeSelector",
        texts.join("; ")
    );
    let reason = unservable.first().map_or(NodeReason::TargetNotFound, reason_of);
    Failure {
        failed_hooks: unservable.iter().map(failed_hook).collect(),
        ..Failure::new(reason, message)
    }
}

/// Of the last resort.
fn reason_of(hook: &Unservable) -> NodeReason {
    hook.passed_over
        .last()
        .map_or(NodeReason::TargetNotFound, |passed| passed.reason)
}

/// A hook that nothing can serve, as a status has it.
pub fn failed_hook(hook: &Unservable) -> FailedHook {
    FailedHook {
        name: hook.hook.clone(),
        reason: reason_of(hook).into(),
        message: explain(&hook.passed_over),
    }
}

/// Reads the object, and checks that it is what was asked for: nothing else reaches the kernel.
pub(super) fn read_object(path: &Path, digest: &Digest) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(
            NodeReason::CacheFailed,
            format!("cannot read the object from {}: {error}", path.display()),
        )
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_OBJECT_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    let found = Digest::of(&bytes);
    if found == *digest {
        Ok(bytes)
    } else {
        let message = format!(
            "{} has the digest {found}, and the revision names {digest}",
            path.display()
        );
        Err(Failure::new(NodeReason::DigestMismatch, message))
    }
}

/// The hooks of a request.
pub(super) fn plan(object: &ObjectInfo, request: &Request) -> Result<Vec<HookPlan>, Failure> {
    plan_hooks(object, request.hooks.as_deref()).map_err(|problems| {
        let unsupported = problems
            .iter()
            .any(|problem| problem.kind == ProblemKind::Unsupported);
        let reason = if unsupported {
            NodeReason::UnsupportedProgram
        } else {
            NodeReason::InvalidHook
        };
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(reason, texts.join("; "))
    })
}
