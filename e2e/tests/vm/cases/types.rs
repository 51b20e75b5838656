//! What programs read of the kernel's own structures, by its BTF.

use std::collections::BTreeMap;

use bpfleet_e2e::vm::Ended;
use nix::sys::signal::Signal;
use serde_json::json;

use super::case::{Case, Result, object};
use super::guest::{Guest, eventually, same};

/// The cases: an example that needs BTF, and one with a variant that does not.
pub fn cases() -> Vec<Case> {
    let both = json!({
        "hooks": [{"name": "switch", "anyOf": [{"program": "on_switch"}]}],
        "variants": [
            {"name": "core", "object": object("taskstates"), "requires": [{"btf": "Any"}]},
            {"name": "record", "object": object("task_state_record")}]});
    vec![
        Case::example("taskstates", core_only),
        Case::new("taskstates-anywhere", &both, anywhere),
    ]
}

fn core_only(guest: &Guest<'_>) -> Result<String> {
    if has_btf(guest)? {
        guest.running()?;
        return states_are_true(guest);
    }
    let row = guest.row()?;
    same("reason", &row.reason.as_deref(), &Some("BtfMissing"))?;
    same("revision", &row.revision, &None)?;
    Ok(row.message.unwrap_or_default())
}

fn anywhere(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    let wanted = if has_btf(guest)? { "core" } else { "record" };
    same("variant", &row.variant.as_deref(), &Some(wanted))?;
    let said = states_are_true(guest)?;
    Ok(format!("{wanted}: {said}"))
}

fn has_btf(guest: &Guest<'_>) -> Result<bool> {
    guest.btf_has_function("do_exit")
}

/// A process that sleeps, is stopped and goes on: what the program saw last is what /proc says.
fn states_are_true(guest: &Guest<'_>) -> Result<String> {
    let machine = guest.node.machine();
    let pid = machine.spawn(&["sleep", "1000"], &[], "/dev/null")?;
    let agree = |wanted: &str| {
        eventually(&format!("state {wanted}"), || {
            let stat = machine.sh(&format!("cut -d ' ' -f 3 /proc/{pid}/stat"))?;
            same("/proc", &stat.trim(), &wanted)?;
            let states: BTreeMap<u32, String> = letters(guest)?;
            same("the map", &states.get(&pid).map(String::as_str), &Some(wanted))
        })
    };
    agree("S")?;
    machine.signal(pid, Signal::SIGSTOP)?;
    agree("T")?;
    machine.signal(pid, Signal::SIGCONT)?;
    agree("S")?;
    machine.signal(pid, Signal::SIGKILL)?;
    eventually("its end", || {
        same("status", &machine.status(pid)?, &Some(Ended::Signal(9)))
    })?;
    Ok("S, T, S".into())
}

fn letters(guest: &Guest<'_>) -> Result<BTreeMap<u32, String>> {
    let entry = |entry: bpfleet_e2e::vm::MapEntry| {
        let tid = u32::from_le_bytes(entry.key.as_slice().try_into()?);
        let letter = entry.values.first().and_then(|value| value.get(16));
        Ok((
            tid,
            letter
                .map(|byte| char::from(*byte).to_string())
                .unwrap_or_default(),
        ))
    };
    guest.map("states")?.into_iter().map(entry).collect()
}
