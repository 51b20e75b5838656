//! One kernel and one case: the status there, what the kernel counted, and what the kernel says of itself.

use std::fmt::Debug;
use std::time::Duration;

use bpfleet_crds::node::{HookChoice, ProgramStatus};
use bpfleet_e2e::vm::{MapEntry, VmNode};
use bpfleet_e2e::{Kubectl, wait};

use super::case::Result;

/// For an emulated machine among others, with all cases to load.
pub const SOON: Duration = Duration::from_secs(180);
/// Where the functions that BTF describes are listed in a guest.
const BTF_FUNCTIONS: &str = "/tmp/btf-functions";

/// One kernel and one case.
pub struct Guest<'a> {
    /// The kernel.
    pub node: &'a VmNode<'a>,
    /// The BpfProgram.
    pub program: &'a str,
    /// As the administrator.
    pub kubectl: Kubectl,
}

impl Guest<'_> {
    /// The row, once it is decided whether it runs.
    pub fn row(&self) -> Result<ProgramStatus> {
        let decided = |row: &ProgramStatus| match row.reason.as_deref() {
            None => row.revision.is_some(),
            Some(reason) => reason != "Pending",
        };
        Ok(self.node.wait_row(self.program, SOON, decided)?)
    }

    /// The row, which has to be healthy.
    pub fn running(&self) -> Result<ProgramStatus> {
        let row = self.row()?;
        ensure(row.reason.is_none(), || format!("it does not run: {row:?}"))?;
        same("hooks", &row.hooks_attached, &row.hooks_wanted)?;
        Ok(row)
    }

    /// The entries of a map.
    pub fn map(&self, name: &str) -> Result<Vec<MapEntry>> {
        Ok(self.node.map(self.program, name)?)
    }

    /// How often a program of `by_command.h` ran for a command: `slot` is its number.
    pub fn counted(&self, command: &str, slot: u8) -> Result<u64> {
        let entries = self.map("counts")?;
        let ours = |entry: &&MapEntry| entry.text() == command && entry.key.get(16) == Some(&slot);
        Ok(entries.iter().filter(ours).map(MapEntry::sum).sum())
    }

    /// How often a program of `by_command.h` ran for whatever command.
    pub fn counted_in_all(&self, slot: u8) -> Result<u64> {
        let entries = self.map("counts")?;
        let ours = |entry: &&MapEntry| entry.key.get(16) == Some(&slot);
        Ok(entries.iter().filter(ours).map(MapEntry::sum).sum())
    }

    /// Runs a command that has to succeed: itself and not by a shell, which would be another command to the kernel.
    pub fn run(&self, argv: &[&str]) -> Result<()> {
        let output = self.node.run(argv)?;
        ensure(output.success(), || {
            format!("{argv:?} ended with {:?}", output.ended)
        })
    }

    /// Whether a shell's script succeeds in the guest.
    pub fn holds(&self, script: &str) -> Result<bool> {
        Ok(self.node.run(&["sh", "-c", script])?.success())
    }

    /// Whether the kernel itself, not a module of it, has a function.
    pub fn has_function(&self, name: &str) -> Result<bool> {
        self.holds(&format!("grep -qE ' [tT] {name}$' /proc/kallsyms"))
    }

    /// Whether the kernel lets a function of its own be traced.
    pub fn can_trace(&self, name: &str) -> Result<bool> {
        self.holds(&format!(
            "grep -qx {name} /sys/kernel/tracing/available_filter_functions"
        ))
    }

    /// Whether the kernel's BTF describes a function.
    pub fn btf_has_function(&self, name: &str) -> Result<bool> {
        // From a file where there is one, else by id, which is how a kernel whose file is hidden still has it.
        self.holds(&format!(
            "test -e {BTF_FUNCTIONS} || {{
               if [ -e /sys/kernel/btf/vmlinux ]; then from='file /sys/kernel/btf/vmlinux'; else from='id 1'; fi
               bpftool btf dump $from | grep \" FUNC '\" >{BTF_FUNCTIONS}
             }}
             grep -q \" FUNC '{name}' \" {BTF_FUNCTIONS}"
        ))
    }

    /// Whether a line is in the kernel's configuration.
    pub fn configured(&self, line: &str) -> Result<bool> {
        self.holds(&format!("grep -qx {line} /boot/config-$(uname -r)"))
    }
}

/// An alternative of a hook: the program, and what the status says of its place.
pub type Alternative = (&'static str, &'static str);

/// That a hook is served by one of its alternatives, and by which, stands in the status: only where it is not the
/// first, with a word on each before it.
pub fn served(row: &ProgramStatus, hook: &str, alternatives: &[Alternative], which: usize) -> Result<String> {
    let found = row.choices.iter().find(|choice| choice.name == hook);
    let (program, target) = *alternatives.get(which).ok_or("no alternative is expected")?;
    if which == 0 {
        same("a choice of the first alternative", &found, &None)?;
    } else {
        let found = found.ok_or_else(|| format!("no choice for {hook}, wanted {program}: {row:?}"))?;
        same("program", &found.program.as_deref(), &Some(program))?;
        same("target", &found.target.as_deref(), &Some(target))?;
        explains(found, alternatives[0].0)?;
    }
    Ok(format!("{program} at {target}"))
}

/// That an optional hook is served by nothing, and why, stands in the status.
pub fn absent<'r>(row: &'r ProgramStatus, hook: &str, program: &str) -> Result<&'r HookChoice> {
    let found = row.choices.iter().find(|choice| choice.name == hook);
    let found = found.ok_or_else(|| format!("{hook} is served: {row:?}"))?;
    same("program", &found.program, &None)?;
    explains(found, program)?;
    Ok(found)
}

fn explains(choice: &HookChoice, program: &str) -> Result<()> {
    let begins = choice.message.starts_with(&format!("program {program}: "));
    ensure(begins, || format!("{choice:?} does not speak of {program}"))
}

/// The place of the first that is true.
pub fn first(truths: &[bool]) -> usize {
    truths.iter().position(|truth| *truth).unwrap_or(truths.len())
}

/// Fails with what is said unless it is so.
pub fn ensure(so: bool, said: impl FnOnce() -> String) -> Result<()> {
    if so { Ok(()) } else { Err(said().into()) }
}

/// Fails unless both are the same.
pub fn same<T: PartialEq + Debug>(what: &str, found: &T, wanted: &T) -> Result<()> {
    ensure(found == wanted, || {
        format!("{what}: found {found:?}, wanted {wanted:?}")
    })
}

/// Waits until a look succeeds.
pub fn eventually(what: &str, mut look: impl FnMut() -> Result<()>) -> Result<()> {
    Ok(wait::until(what, SOON, || {
        look().map_err(|error| error.to_string())
    })?)
}
