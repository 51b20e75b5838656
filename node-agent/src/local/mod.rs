//! Local mode: the node's part of bpfleet on this machine, without any cluster.

mod file;
mod show;
mod source;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch as channel,
};

use self::source::FileSource;
use crate::{
    engine::{self, Settings, View, state::Wanted},
    facts::FactPaths,
    pin_root::{PinRoot, PinRootError},
};

pub use file::FileError;
pub use show::Output;

/// What to run.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Files with BpfPrograms.
    pub files: Vec<PathBuf>,
    /// Where facts come from and pins go.
    pub paths: FactPaths,
    /// How to show what happens.
    pub output: Output,
    /// Unload and end as soon as everything is attached or has failed.
    pub once: bool,
    /// Whether perf-based hooks may use links.
    pub perf_links: bool,
    /// When the command was given.
    pub started: Instant,
}

/// Local mode could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The pin root.
    #[error(transparent)]
    PinRoot(#[from] PinRootError),
    /// Standard output or signals.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs the programs until they are told to end, then unloads them. False if one of them failed.
pub async fn run(config: RunConfig) -> Result<bool, RunError> {
    let programs = file::read_all(&config.files)?;
    let pin_root = PinRoot::take(&config.paths.pin_root, true)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let wanted = Wanted {
        generation: Some(1),
        programs: programs
            .iter()
            .map(|program| (program.spec.program.clone(), program.revision.clone()))
            .collect(),
        authoritative: true,
    };
    let (cancel, cancelled) = channel::channel(false);
    let settings = Settings::new(
        "local",
        &config.paths,
        config.perf_links,
        engine::VERIFY_EVERY,
        Some(cancelled),
    );
    let (tell, wanted_seen) = channel::channel(Some(wanted.clone()));
    let (view, mut seen) = channel::channel(View::default());
    let mut engine = Box::pin(engine::run(
        settings,
        Arc::new(FileSource::new(programs)),
        wanted_seen,
        view,
    ));
    let terminal = io::stdout().is_terminal();
    let mut shown = show::Shown::new(
        config.output,
        terminal,
        config.paths.pin_root.clone(),
        config.started,
    );
    let mut out = anstream::stdout();

    let mut healthy = false;
    loop {
        tokio::select! {
            () = &mut engine => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            changed = seen.changed() => if changed.is_err() { break },
        }
        let view = seen.borrow_and_update().clone();
        if view.generation.is_none() {
            continue;
        }
        shown.update(&mut out, &view)?;
        let failed = view.rows.iter().filter(|row| crate::report::failing(row)).count();
        healthy = failed == 0;
        // A program that failed at once is worth an exit code rather than a wait, unless others run, or an earlier
        // revision of it: a failed change must not end what works.
        let runs = view.rows.iter().any(|row| row.hooks_attached > 0);
        let all_failed = view.settled && failed > 0 && failed == view.rows.len() && !runs;
        if all_failed || (config.once && decided(&view)) {
            break;
        }
    }
    shown.unloading(&mut out)?;
    cancel.send_replace(true);
    tell.send_replace(Some(Wanted {
        generation: Some(2),
        programs: Default::default(),
        authoritative: true,
    }));
    let emptied = async {
        loop {
            tokio::select! {
                () = &mut engine => return,
                changed = seen.changed() => if changed.is_err() { return },
            }
            let view = seen.borrow_and_update();
            let stuck = view.settled && view.rows.iter().all(crate::report::failing);
            if view.generation == Some(2) && stuck {
                return;
            }
        }
    };
    emptied.await;
    let left: Vec<_> = seen.borrow().rows.clone();
    drop(engine);
    for row in &left {
        shown.left(&mut out, row)?;
    }
    if left.is_empty() {
        pin_root.give_back();
    }
    out.flush()?;
    Ok(healthy && left.is_empty())
}

/// Whether every program runs or has failed. One that failed is tried again and again, so that of several there may
/// never be a moment in which nothing is going on.
fn decided(view: &View) -> bool {
    view.rows
        .iter()
        .all(|row| row.reason.is_none() || crate::report::failing(row))
}

#[cfg(test)]
mod tests {
    use bpfleet_crds::{NodeReason, node::ProgramStatus};

    use super::*;

    #[test]
    fn a_program_that_is_tried_again_does_not_keep_once_from_its_end() {
        let view = |reasons: &[Option<NodeReason>]| View {
            rows: reasons
                .iter()
                .map(|reason| ProgramStatus {
                    reason: reason.map(Into::into),
                    ..ProgramStatus::default()
                })
                .collect(),
            settled: false,
            ..View::default()
        };
        assert!(decided(&view(&[None, Some(NodeReason::VerifierRejected)])));
        assert!(!decided(&view(&[None, Some(NodeReason::Pending)])));
    }
}
