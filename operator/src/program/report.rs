//! What a BpfProgram's status says. Pure: conditions, counts and failures from the input and the plan.

use bpfleet_crds::{
    BpfProgramStatus, ProgramReason,
    conditions::{self, ACCEPTED, COMPATIBLE, READY, STALLED, Status, truncate},
    node::MAX_MESSAGE_BYTES,
};
use jiff::Timestamp;

use super::{
    compatible::Prediction, input::Input, kernels::kernels, nodes::Tally, plan::Plan, validate::Accepted,
};
use crate::error::Fault;

/// What the writes of this reconcile came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Why they could not be made.
    pub failure: Option<String>,
    /// What is lost and cannot be made whole.
    pub warnings: Vec<String>,
}

/// One condition, as it shall be.
struct Verdict {
    status: Status,
    reason: ProgramReason,
    message: String,
}

fn verdict(status: impl Into<Status>, reason: ProgramReason, message: impl Into<String>) -> Verdict {
    Verdict {
        status: status.into(),
        reason,
        message: message.into(),
    }
}

/// The status that the BpfProgram shall have.
pub fn report(
    input: &Input,
    accepted: &Result<Accepted, Fault>,
    plan: &Plan,
    applied: &Applied,
    now: Timestamp,
) -> BpfProgramStatus {
    let mut status = input.program.status.clone().unwrap_or_default();
    let generation = input.program.metadata.generation;
    let wanted = match accepted {
        Ok(accepted) if applied.failure.is_none() => Some(accepted.revision.clone()),
        _ => status.updated_revision.clone(),
    };
    let selector = accepted.as_ref().ok().map(|accepted| accepted.selector.clone());
    let selector = selector.or_else(|| plan.desired.joining().map(|(_, selector)| selector));
    let tally = Tally::new(input, wanted.as_deref(), selector.as_ref());

    let kernels = selector.as_ref().map_or_else(Vec::new, |selector| {
        kernels(input.selected(selector), &input.name(), wanted.as_deref())
    });

    let accepted_verdict = accepted_verdict(accepted, applied);
    let compatible = compatible_verdict(input, accepted);
    let ready = ready_verdict(input, accepted, applied, wanted.as_deref(), &tally);
    let stalled = stalled_verdict(input, accepted, applied, &tally);
    for (type_, verdict) in [
        (ACCEPTED, accepted_verdict),
        (COMPATIBLE, compatible),
        (READY, ready),
        (STALLED, stalled),
    ] {
        let Verdict {
            status: holds,
            reason,
            message,
        } = verdict;
        conditions::set(
            &mut status.conditions,
            type_,
            holds,
            reason.as_str(),
            message,
            generation,
            now,
        );
    }
    if let Some(revision) = tally.on_all_nodes.filter(|_| !input.deleting()) {
        status.revision = Some(revision);
    }
    status.observed_generation = generation;
    status.updated_revision = wanted;
    status.nodes = Some(tally.counts);
    status.kernels = kernels;
    status.failures = tally.failures;
    status
}

fn accepted_verdict(accepted: &Result<Accepted, Fault>, applied: &Applied) -> Verdict {
    match accepted {
        Ok(accepted) => {
            let mut message = format!(
                "the spec and its objects are valid; revision {}",
                accepted.revision
            );
            for warning in accepted.warnings.iter().chain(&applied.warnings) {
                message.push_str("; ");
                message.push_str(warning);
            }
            verdict(true, ProgramReason::Valid, message)
        }
        Err(fault) => verdict(false, fault.reason, fault.message.clone()),
    }
}

fn compatible_verdict(input: &Input, accepted: &Result<Accepted, Fault>) -> Verdict {
    let Ok(accepted) = accepted else {
        return verdict(
            Status::Unknown,
            ProgramReason::NotAccepted,
            "not known before the program is accepted",
        );
    };
    let live: Vec<_> = input
        .selected(&accepted.selector)
        .filter(|node| node.is_live())
        .collect();
    let known: Vec<_> = live
        .iter()
        .filter_map(|node| node.bpf_node.as_deref())
        .filter(|n| n.architecture.is_some())
        .collect();
    if known.is_empty() {
        let message = "no selected node has told what its kernel can do yet";
        return verdict(Status::Unknown, ProgramReason::Pending, message);
    }
    let prediction = Prediction::new(accepted);
    let problems: Vec<_> = known
        .iter()
        .filter_map(|node| prediction.incompatible(node).map(|why| (node.name.as_str(), why)))
        .collect();
    match problems.first() {
        None => {
            let message = format!(
                "nothing that {} of {} live nodes report speaks against it",
                known.len(),
                live.len()
            );
            verdict(true, ProgramReason::AllNodesCompatible, message)
        }
        Some((name, why)) => {
            let message = format!(
                "{} of {} live nodes cannot run it, such as {name}: {why}",
                problems.len(),
                live.len()
            );
            verdict(false, ProgramReason::IncompatibleNodes, message)
        }
    }
}

fn ready_verdict(
    input: &Input,
    accepted: &Result<Accepted, Fault>,
    applied: &Applied,
    wanted: Option<&str>,
    tally: &Tally,
) -> Verdict {
    let counts = &tally.counts;
    if input.deleting() {
        let holders: Vec<&str> = input.holders().map(|node| node.node.name.as_str()).collect();
        let message = match holders.first() {
            None => "no live node holds it any more".to_owned(),
            Some(first) => format!(
                "waiting for {} to let go of it, such as {first}",
                nodes(holders.len())
            ),
        };
        return verdict(false, ProgramReason::Deleting, message);
    }
    if let Err(fault) = accepted {
        let running = match wanted {
            Some(revision) => format!("revision {revision} goes on running where it ran"),
            None => "nothing runs yet".to_owned(),
        };
        return verdict(
            false,
            ProgramReason::NotAccepted,
            format!("{}; {running}: {}", fault.reason, fault.message),
        );
    }
    if let Some(failure) = &applied.failure {
        return verdict(
            false,
            ProgramReason::ApiUnavailable,
            format!("{failure}; trying again"),
        );
    }
    let live = counts.ready + counts.pending + counts.failed;
    let aside = aside(tally);
    match () {
        () if counts.selected == 0 => {
            let message = format!("nodeSelector selects no Linux node; correct it or label nodes{aside}");
            verdict(false, ProgramReason::NoNodesSelected, message)
        }
        () if live == 0 => verdict(
            false,
            ProgramReason::NoLiveAgents,
            format!(
                "none of {} selected has a running agent{aside}",
                nodes(counts.selected as usize)
            ),
        ),
        () if counts.failed > 0 => {
            let first = tally.failures.first();
            let example = first.map(|group| {
                format!(
                    ", such as {}: {}: {}",
                    group.example_node, group.reason, group.message
                )
            });
            let message = format!(
                "{} of {live} live nodes failed{}{aside}",
                counts.failed,
                example.unwrap_or_default()
            );
            verdict(false, ProgramReason::NodesFailed, message)
        }
        () if counts.pending > 0 => {
            let message = format!(
                "{} of {live} live nodes run the wanted revision{aside}",
                counts.ready
            );
            verdict(false, ProgramReason::RollingOut, message)
        }
        () => verdict(
            true,
            ProgramReason::AllNodesReady,
            format!("it runs on all {}{aside}", nodes(live as usize)),
        ),
    }
}

fn stalled_verdict(
    input: &Input,
    accepted: &Result<Accepted, Fault>,
    applied: &Applied,
    tally: &Tally,
) -> Verdict {
    if input.deleting() {
        return verdict(false, ProgramReason::Deleting, "being deleted");
    }
    match accepted {
        Err(fault) if !fault.retry => return verdict(true, fault.reason, fault.message.clone()),
        Err(fault) => {
            return verdict(
                false,
                ProgramReason::Progressing,
                format!("trying again: {}", fault.message),
            );
        }
        Ok(_) => {}
    }
    if applied.failure.is_none()
        && tally.stuck > 0
        && tally.counts.pending == 0
        && tally.stuck == tally.counts.failed
    {
        let message = format!(
            "{} cannot run it without a change; see status.failures",
            nodes(tally.stuck as usize)
        );
        return verdict(true, ProgramReason::NodesFailed, message);
    }
    verdict(false, ProgramReason::Progressing, "nothing stands in the way")
}

/// Nodes that do not count, in words.
fn aside(tally: &Tally) -> String {
    let counts = &tally.counts;
    let mut text = String::new();
    for (count, what) in [
        (counts.unreachable, "not reachable"),
        (counts.without_agent, "without a running agent"),
        (
            tally.full,
            "with as many programs as a node can run, so that this one finds no room",
        ),
        (tally.leaving, "no longer selected and letting go of it"),
    ] {
        if count > 0 {
            text.push_str(&format!("; {} {what}", nodes(count as usize)));
        }
    }
    text
}

fn nodes(count: usize) -> String {
    if count == 1 {
        "1 node".to_owned()
    } else {
        format!("{count} nodes")
    }
}

/// An event: whether it is a warning, its reason, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Something is wrong.
    pub warning: bool,
    /// Why, as one word.
    pub reason: String,
    /// What happened.
    pub message: String,
}

/// The events that lie between two statuses: what turned, and what turned up. The same status again gives
/// none.
pub fn notes(before: &BpfProgramStatus, after: &BpfProgramStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    for type_ in [ACCEPTED, COMPATIBLE, READY] {
        let Some(new) = conditions::find(&after.conditions, type_) else {
            continue;
        };
        let old = conditions::find(&before.conditions, type_);
        let turned = old.is_none_or(|old| (&old.status, &old.reason) != (&new.status, &new.reason));
        // What a message of Accepted warns of is worth an event of its own.
        let warned =
            type_ == ACCEPTED && new.status == "True" && new.message.contains("kept and goes on running");
        let known = old.is_some_and(|old| old.message == new.message);
        if warned && !known {
            let message = truncate(&new.message, MAX_MESSAGE_BYTES).to_owned();
            notes.push(Note {
                warning: true,
                reason: "SourceGone".to_owned(),
                message,
            });
        }
        // Ready=False/NotAccepted only repeats Accepted; Unknown is no news.
        if turned && new.status != "Unknown" && new.reason != ProgramReason::NotAccepted.as_str() {
            let bad = new.status == "False"
                && ![ProgramReason::RollingOut, ProgramReason::Deleting]
                    .iter()
                    .any(|fine| new.reason == fine.as_str());
            let message = truncate(&new.message, MAX_MESSAGE_BYTES).to_owned();
            notes.push(Note {
                warning: bad,
                reason: new.reason.clone(),
                message,
            });
        }
    }
    if after.updated_revision.is_some() && after.updated_revision != before.updated_revision {
        let message = format!(
            "nodes shall run revision {}",
            after.updated_revision.as_deref().unwrap_or_default()
        );
        notes.push(Note {
            warning: false,
            reason: "RevisionCreated".to_owned(),
            message,
        });
    }
    notes
}

#[cfg(test)]
mod tests;
