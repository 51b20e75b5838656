//! A program's row in the status.

use std::collections::BTreeMap;

use bpfleet_crds::{
    NodeReason,
    conditions::{tail, truncate},
    node::{FailedHook, MAX_FAILED_HOOKS, MAX_LOG_TAIL_BYTES, MAX_MESSAGE_BYTES, ProgramStatus},
};

use super::state::Program;

/// The rows, by name.
pub fn rows(programs: &BTreeMap<String, Program>) -> Vec<ProgramStatus> {
    programs
        .iter()
        .map(|(name, program)| row(name, program))
        .collect()
}

fn row(name: &str, program: &Program) -> ProgramStatus {
    let mut row = ProgramStatus {
        name: name.to_owned(),
        ..ProgramStatus::default()
    };
    if let Some(running) = &program.running {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        row.revision = Some(running.revision.clone());
        row.variant = running.variant.clone();
        row.passed_over = running.notes.passed_over.clone();
        row.choices = running.notes.choices.clone();
        row.hooks_wanted = count(running.hooks.len());
        row.hooks_attached = count(
            running
                .hooks
                .iter()
                .filter(|hook| hook.detached.is_none())
                .count(),
        );
        let ending = running.hooks.iter().filter(|hook| hook.ends_with_agent).count();
        row.hooks_ending_with_agent = (ending > 0).then(|| count(ending));
    }
    explain(&mut row, program);
    row
}

/// Says what is not well. On a healthy row there is nothing to say.
fn explain(row: &mut ProgramStatus, program: &Program) {
    let lost: Vec<FailedHook> = program
        .running
        .iter()
        .flat_map(|running| &running.hooks)
        .filter_map(|hook| {
            let why = hook.detached.as_ref()?;
            Some(FailedHook {
                name: hook.name.clone(),
                reason: NodeReason::Detached.into(),
                message: truncate(why, MAX_MESSAGE_BYTES).to_owned(),
            })
        })
        .take(MAX_FAILED_HOOKS)
        .collect();
    let other = |revision: &String| (Some(revision) != row.revision.as_ref()).then(|| revision.clone());
    if let Some(retry) = &program.failure {
        row.failing_revision = retry.revision.as_ref().and_then(other);
        row.reason = Some(retry.failure.reason.into());
        row.message = Some(truncate(&retry.failure.message, MAX_MESSAGE_BYTES).to_owned());
        row.log_tail = retry
            .failure
            .log
            .as_ref()
            .map(|log| tail(without_addresses(log).trim_end(), MAX_LOG_TAIL_BYTES).to_owned());
        row.failed_hooks = retry
            .failure
            .failed_hooks
            .iter()
            .take(MAX_FAILED_HOOKS)
            .cloned()
            .map(bounded)
            .collect();
        if row.failed_hooks.is_empty() {
            row.failed_hooks = lost;
        }
        return;
    }
    match &program.wanted {
        None => {
            row.reason = Some(NodeReason::Removing.into());
            row.message = Some("the program shall not run here any more and is being removed".to_owned());
        }
        Some(_) if program.is_running() => {}
        Some(revision) => {
            row.failing_revision = other(revision);
            if lost.is_empty() {
                row.reason = Some(NodeReason::Pending.into());
                row.message = Some(format!("{revision} is being fetched, loaded and attached"));
            } else {
                row.reason = Some(NodeReason::Detached.into());
                row.message = Some(format!(
                    "{} of {} hooks are not attached any more; they are being attached again",
                    lost.len(),
                    row.hooks_wanted
                ));
                row.failed_hooks = lost;
            }
        }
    }
}

/// A verifier's log without the kernel's addresses, which the verifier shows where a program refers to a map:
/// more people read a status than may know where in memory the kernel lies.
fn without_addresses(log: &str) -> String {
    let masked = |line: &str| {
        let (instruction, state) = line.split_once(';')?;
        let refers = state.contains("map_ptr(") || state.contains("map_value(") || state.contains("ptr_");
        let (target, _) = instruction
            .split_once(" = 0x")
            .filter(|_| refers && instruction.contains("(18) "))?;
        Some(format!("{target} = <address> ;{state}"))
    };
    let lines = log
        .lines()
        .map(|line| masked(line).unwrap_or_else(|| line.to_owned()));
    lines.collect::<Vec<_>>().join("\n")
}

fn bounded(hook: FailedHook) -> FailedHook {
    FailedHook {
        message: truncate(&hook.message, MAX_MESSAGE_BYTES).to_owned(),
        ..hook
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bpfleet_crds::node::{HookChoice, PassedOverVariant};

    use super::*;
    use crate::{engine::state::Running, load::request::Failure, notes::Notes, pins::HookState};

    fn healthy() -> Program {
        let hook = HookState::attached("h", false);
        let running = Running {
            revision: "p-1".into(),
            variant: Some("main".into()),
            hooks: vec![hook],
            notes: Notes::default(),
            loaded: None,
        };
        Program {
            wanted: Some("p-1".into()),
            running: Some(running),
            ..Program::default()
        }
    }

    #[test]
    fn a_healthy_row_is_short() {
        let row = row("p", &healthy());
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"name":"p","revision":"p-1","variant":"main","hooksAttached":1,"hooksWanted":1}"#
        );
    }

    #[test]
    fn what_is_off_the_first_choice_is_told_with_its_reason() {
        let mut program = healthy();
        let choice = HookChoice {
            name: "unlink".into(),
            program: Some("probe".into()),
            target: Some("function do_unlinkat".into()),
            message: "program enter: this kernel has no BTF".into(),
        };
        let variant = PassedOverVariant {
            name: "core".into(),
            message: "map/ringbuf: no".into(),
        };
        program.running.as_mut().unwrap().notes = Notes {
            passed_over: vec![variant.clone()],
            choices: vec![choice.clone()],
        };
        let row = row("p", &program);
        assert_eq!((row.passed_over, row.choices), (vec![variant], vec![choice]));
        assert_eq!(row.reason, None);
    }

    #[test]
    fn a_failed_update_names_what_runs_and_what_failed() {
        let mut program = healthy();
        program.want("p-2");
        let mut failure = Failure::new(NodeReason::VerifierRejected, "m".repeat(5000));
        failure.log = Some(format!("{}the end", "x".repeat(9000)));
        program.failed("p-2".into(), failure, Instant::now(), "n/p");
        let row = row("p", &program);
        assert_eq!(
            (row.revision.as_deref(), row.failing_revision.as_deref()),
            (Some("p-1"), Some("p-2"))
        );
        assert_eq!(row.reason.as_deref(), Some("VerifierRejected"));
        assert_eq!(row.message.unwrap().len(), MAX_MESSAGE_BYTES);
        let log = row.log_tail.unwrap();
        assert!(log.len() <= MAX_LOG_TAIL_BYTES && log.ends_with("the end"));
    }

    #[test]
    fn addresses_of_the_kernel_stay_out_of_the_status() {
        let log = "4: (18) r1 = 0xffff888150b70a00       ; R1=map_ptr(map=counts,ks=4,vs=8)\n\
                   6: (18) r2 = 0xffffffff00000000       ; R2=0xffffffff00000000\n\
                   R6 unbounded memory access";
        let expected = "4: (18) r1 = <address> ; R1=map_ptr(map=counts,ks=4,vs=8)\n\
                        6: (18) r2 = 0xffffffff00000000       ; R2=0xffffffff00000000\n\
                        R6 unbounded memory access";
        assert_eq!(without_addresses(log), expected);
    }

    #[test]
    fn a_lost_hook_is_never_counted_as_attached() {
        let mut program = healthy();
        program.running.as_mut().unwrap().hooks[0].detached = Some("its link is gone".into());
        let row = row("p", &program);
        assert_eq!((row.hooks_attached, row.hooks_wanted), (0, 1));
        assert_eq!(row.reason.as_deref(), Some("Detached"));
        assert_eq!(row.failed_hooks[0].name, "h");
    }
}
