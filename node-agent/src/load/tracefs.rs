//! tracefs for the loading process: attaching to a tracepoint reads its number there, and only its lists tell
//! which functions can be traced.

use std::path::Path;

use bpfleet_crds::NodeReason;
use bpfleet_fit::{Alternative, Attach, Choice, HookPlan};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::request::Failure;
use crate::kernel::perf::TRACEFS;

/// Whether tracefs is there.
#[derive(Debug)]
pub struct Tracefs(Result<(), nix::Error>);

/// Mounts tracefs for this process alone where the node has none mounted and an alternative could use it.
pub fn mount_privately(plans: &[HookPlan]) -> Tracefs {
    let useful = plans
        .iter()
        .flat_map(|plan| &plan.alternatives)
        .any(|alternative| match alternative {
            Alternative::Planned(hook) => matches!(
                hook.attach,
                Attach::Tracepoint { .. } | Attach::Trampoline { .. } | Attach::Functions { .. }
            ),
            Alternative::NoProgram { .. } => false,
        });
    let there = TRACEFS.iter().any(|root| Path::new(root).join("events").exists());
    if !useful || there {
        return Tracefs(Ok(()));
    }
    let none = None::<&str>;
    let [at, _] = TRACEFS;
    let mounted = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
        .and_then(|()| mount(Some("tracefs"), at, Some("tracefs"), MsFlags::empty(), none));
    Tracefs(mounted)
}

impl Tracefs {
    /// Whether what was chosen can be attached: tracepoints cannot without it.
    pub fn check(&self, choice: &Choice) -> Result<(), Failure> {
        let needed = choice
            .hooks
            .iter()
            .any(|chosen| matches!(chosen.hook.attach, Attach::Tracepoint { .. }));
        match &self.0 {
            Err(error) if needed => {
                let [at, _] = TRACEFS;
                let message = format!(
                    "attaching to a tracepoint needs tracefs, which is not mounted at {at}, and the agent cannot mount \
                     it ({error}): mount it on the node (`mount -t tracefs tracefs {at}`), or let agents do that \
                     (agent.privileges=SysAdmin in the chart)"
                );
                Err(Failure::new(NodeReason::TracefsMissing, message))
            }
            _ => Ok(()),
        }
    }
}
