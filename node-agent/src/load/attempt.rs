//! One attempt at what was chosen: resolve → open → load → pin → attach → commit. What fails leaves nothing behind.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use bpf_object::ObjectInfo;
use bpfleet_crds::{NodeReason, node::FailedHook};
use bpfleet_fit::{Attach, Choice, ChosenHook, PassedOver, explain};

use super::{
    attach::{Attaching, describe},
    error::{HookError, chain},
    kernel_data::KernelData,
    programs::Programs,
    request::{AbsentHook, Failure, Loaded, LoadedHook, NodePaths, Request},
    resolve::resolve,
    watching::{Modules, attach},
};
use crate::{
    kernel::bpf,
    layout::{ProgramDir, RevisionDir},
    notes::Notes,
    pins,
    record::PROGRAM,
};

/// Why an attempt failed, and what it says about what was chosen.
#[derive(Debug)]
pub enum Miss {
    /// Another choice would not help.
    Revision(Failure),
    /// These programs cannot be loaded, each with why; never empty.
    Programs(Vec<(String, Failure)>),
    /// The failure's hooks cannot be attached.
    Hooks(Failure),
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Self::Revision(failure)
    }
}

/// Loads, pins and attaches what was chosen. What is attached stays so when this process ends.
pub fn attempt(
    request: &Request,
    bytes: &[u8],
    object: &ObjectInfo,
    choice: &Choice,
    kernel: &mut KernelData,
) -> Result<(Loaded, Vec<OwnedFd>), Miss> {
    let resolved = resolve(bytes, object, choice, &request.maps, kernel)?;
    let mut programs = Programs::load(resolved, kernel.has_cookies())?;
    let pinning = |error: &dyn std::error::Error| {
        Failure::new(
            NodeReason::PinFailed,
            format!(
                "cannot pin below {}: {}",
                request.node.pin_root.display(),
                chain(error)
            ),
        )
    };
    let program_dir = ProgramDir::new(&request.node.pin_root, &request.program).map_err(|e| pinning(&e))?;
    let making = program_dir
        .loading_revision(&request.revision)
        .map_err(|e| pinning(&e))?;
    let made = make(request, &program_dir, &making, &mut programs, choice).and_then(|made| {
        commit(request, &program_dir, &making)
            .map(|()| made)
            .map_err(|e| pinning(&e).into())
    });
    if made.is_err()
        // What was attached must not stay half attached.
        && let Err(error) = pins::remove_revision(&program_dir, &making)
    {
        eprintln!("load-worker: {error}");
    }
    made
}

/// A duration for a report.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Pins maps and programs, then attaches and pins hook by hook. Hooks that displace something (XDP) come last,
/// when everything else has succeeded.
fn make(
    request: &Request,
    program_dir: &ProgramDir,
    making: &RevisionDir,
    programs: &mut Programs,
    choice: &Choice,
) -> Result<(Loaded, Vec<OwnedFd>), Miss> {
    let failed = |error: HookError| Failure::new(error.reason, error.message);
    let create = |path: &Path| fs::create_dir_all(path).map_err(|error| failed(HookError::pin(path, &error)));
    let named = |error: crate::escape::NameTooLong| Failure::new(NodeReason::PinFailed, error.to_string());
    // What a crash left here is not ours to build on.
    pins::remove_revision(program_dir, making)
        .map_err(|error| Failure::new(NodeReason::PinFailed, error.to_string()))?;
    for directory in [
        making.programs(),
        making.maps(),
        making.hooks(),
        making.variant(&request.variant).map_err(named)?,
    ] {
        create(&directory)?;
    }
    for (name, map) in programs.named_maps() {
        let path = making.map(name).map_err(named)?;
        map.pin(&path)
            .map_err(|error| failed(HookError::pin(&path, &error)))?;
    }
    let perf_links = request.node.perf_links && aya::features().bpf_perf_link();
    let node = NodePaths {
        perf_links,
        ..request.node.clone()
    };
    let hooks = choice.hooks.as_slice();
    let displaces = |chosen: &ChosenHook| matches!(chosen.hook.attach, Attach::Xdp { .. });
    let (mut loaded, mut held) = (Loaded::default(), Vec::new());
    let mut failed_hooks = Vec::new();
    let modules = Modules::of(hooks);
    let mut order: Vec<usize> = (0..hooks.len()).collect();
    order.sort_by_key(|index| hooks.get(*index).is_some_and(displaces));
    let mut outcomes: Vec<Option<LoadedHook>> = vec![None; hooks.len()];
    for index in order {
        let Some(chosen) = hooks.get(index) else { continue };
        let hook = &chosen.hook;
        if displaces(chosen) && !failed_hooks.is_empty() {
            continue;
        }
        let hook_dir = making.hook(&hook.name).map_err(named)?;
        create(&hook_dir)?;
        pin_program(making, &hook_dir, programs, &hook.program.name).map_err(failed)?;
        let mut context = Attaching::new(&node, program_dir, making, hook_dir);
        match attach(&mut context, programs, chosen, &modules) {
            Ok(()) => {
                loaded
                    .held_fds
                    .extend(context.held.iter().map(|_| hook.name.clone()));
                if let Some(outcome) = outcomes.get_mut(index) {
                    *outcome = Some(attached(chosen, context.attach_time));
                }
                held.append(&mut context.held);
            }
            Err(error) => failed_hooks.push(FailedHook {
                name: hook.name.clone(),
                reason: error.reason.into(),
                message: error.message,
            }),
        }
    }
    match failed_hooks.first() {
        None => {
            loaded.hooks = outcomes.into_iter().flatten().collect();
            loaded.absent = absent(choice);
            let notes = Notes {
                passed_over: request.passed_over.clone(),
                choices: loaded.choices(),
            };
            notes
                .bounded()
                .write(making)
                .map_err(|error| failed(HookError::pin(&making.notes(), &error)))?;
            Ok((loaded, held))
        }
        Some(_) => Err(Miss::Hooks(not_attached(failed_hooks, hooks.len()))),
    }
}

/// What is said of a hook that was attached.
pub fn attached(chosen: &ChosenHook, attach_time: Duration) -> LoadedHook {
    let hook = &chosen.hook;
    LoadedHook {
        name: hook.name.clone(),
        program: hook.program.name.clone(),
        kind: hook.program.kind.to_string(),
        target: describe(&hook.attach, hook.program.kind),
        passed_over: (chosen.alternative > 0).then(|| explain(&chosen.passed_over)),
        attach_micros: micros(attach_time),
    }
}

/// What is said of so many hooks, when these could not be attached.
pub fn not_attached(failed_hooks: Vec<FailedHook>, of: usize) -> Failure {
    let (reason, message) = match failed_hooks.as_slice() {
        [] => (NodeReason::AttachFailed, String::new()),
        [first, rest @ ..] => {
            let reason = NodeReason::parse(&first.reason).unwrap_or(NodeReason::AttachFailed);
            let message = match rest.len() {
                0 => format!("hook {}: {}", first.name, first.message),
                more => format!(
                    "{} of {of} hooks cannot be attached; first, {}: {}",
                    more + 1,
                    first.name,
                    first.message
                ),
            };
            (reason, message)
        }
    };
    Failure {
        failed_hooks,
        ..Failure::new(reason, message)
    }
}

fn absent(choice: &Choice) -> Vec<AbsentHook> {
    let one = |(name, passed_over): &(String, Vec<PassedOver>)| AbsentHook {
        name: name.clone(),
        reason: passed_over
            .last()
            .map_or(NodeReason::TargetNotFound, |passed| passed.reason),
        message: explain(passed_over),
    };
    choice.absent.iter().map(one).collect()
}

/// Pins a program once, and gives the hook a further name of it.
fn pin_program(
    making: &RevisionDir,
    hook_dir: &Path,
    programs: &Programs,
    name: &str,
) -> Result<(), HookError> {
    let path = making
        .program(name)
        .map_err(|error| HookError::new(NodeReason::PinFailed, error.to_string()))?;
    if !path.exists() {
        let fd = programs.fd(name)?;
        bpf::obj_pin(fd.as_fd(), &path).map_err(|error| HookError::pin(&path, &error))?;
    }
    let link = hook_dir.join(PROGRAM);
    fs::hard_link(&path, &link).map_err(|error| HookError::pin(&link, &error))
}

/// Makes the revision complete, in one rename. An earlier attempt at the same revision that has lost a hook
/// steps aside; the agent removes it.
fn commit(request: &Request, program: &ProgramDir, making: &RevisionDir) -> io::Result<()> {
    let complete = program.revision(&request.revision).map_err(io::Error::other)?;
    fs::create_dir_all(program.revisions())?;
    if complete.path().exists() {
        let retired = program
            .retired_revision(&request.revision)
            .map_err(io::Error::other)?;
        pins::remove_revision(program, &retired).map_err(io::Error::other)?;
        fs::rename(complete.path(), retired.path())?;
    }
    fs::rename(making.path(), complete.path())
}
