//! Settings of the system that eBPF programs meet.

use std::fs;

use bpfleet_fit::{
    feature::{Feature, ProgramType},
    question::{Answer, Question},
};
use serde::Serialize;

use super::Prober;

const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
const UNPRIVILEGED: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";
/// Number of `bpf_ktime_get_coarse_ns`, which came with 5.11 as accounting by cgroups did; of the accounting itself
/// nothing can be seen.
const KTIME_GET_COARSE_NS: u32 = 160;

/// What programs are compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Jit {
    /// They are interpreted, which is slow; or refused, where the kernel has no interpreter.
    Disabled,
    /// They are compiled to machine code.
    Enabled,
    /// The same, and the code is written to the kernel's log.
    EnabledWithLog,
    /// It is not shown, as in a network namespace other than the first.
    Unknown,
}

/// Who else may load programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unprivileged {
    /// Everybody.
    Allowed,
    /// Nobody without rights, until the next boot.
    Disabled,
    /// Nobody without rights, until an administrator allows it.
    DisabledForNow,
    /// It is not shown.
    Unknown,
}

/// What limits the memory of maps and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum MemoryLimit {
    /// The memory limit of the cgroup that makes them (5.11).
    Cgroup,
    /// RLIMIT_MEMLOCK, which the agent raises.
    Rlimit,
    /// It could not be found out.
    Unknown,
}

/// Settings of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// What programs are compiled with.
    pub jit: Jit,
    /// Who else may load programs.
    pub unprivileged: Unprivileged,
    /// What limits the memory of maps and programs.
    pub memory_limit: MemoryLimit,
}

impl System {
    /// Reads them.
    pub fn read(prober: &mut Prober) -> Self {
        let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
        Self {
            jit: jit(number(JIT)),
            unprivileged: unprivileged(number(UNPRIVILEGED)),
            memory_limit: match prober.answer(&Question::Feature(Feature::Helper {
                id: KTIME_GET_COARSE_NS,
                program: Some(ProgramType::SocketFilter),
            })) {
                Answer::Yes => MemoryLimit::Cgroup,
                Answer::No(_) => MemoryLimit::Rlimit,
                Answer::Unknown(_) => MemoryLimit::Unknown,
            },
        }
    }
}

/// Documentation/admin-guide/sysctl/net.rst.
fn jit(setting: Option<u32>) -> Jit {
    match setting {
        Some(0) => Jit::Disabled,
        Some(1) => Jit::Enabled,
        Some(2) => Jit::EnabledWithLog,
        _ => Jit::Unknown,
    }
}

/// Documentation/admin-guide/sysctl/kernel.rst.
fn unprivileged(setting: Option<u32>) -> Unprivileged {
    match setting {
        Some(0) => Unprivileged::Allowed,
        Some(1) => Unprivileged::Disabled,
        Some(2) => Unprivileged::DisabledForNow,
        _ => Unprivileged::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_the_kernels_documentation() {
        assert_eq!(
            [jit(Some(1)), jit(Some(7)), jit(None)],
            [Jit::Enabled, Jit::Unknown, Jit::Unknown]
        );
        assert_eq!(
            [unprivileged(Some(0)), unprivileged(Some(2)), unprivileged(None)],
            [
                Unprivileged::Allowed,
                Unprivileged::DisabledForNow,
                Unprivileged::Unknown
            ]
        );
    }
}
