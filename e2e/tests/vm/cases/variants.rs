//! Examples that take another object, or another path, on another kernel.

use bpfleet_e2e::vm::MapEntry;

use super::case::{Case, Result};
use super::guest::{Guest, ensure, same};

const BLOCKS: u32 = 15;
/// Blocks of 4 KiB.
const SLOT: u8 = 12;
/// linux/time.h.
const CLOCK_BOOTTIME: u32 = 7;
const CLOCK_TAI: u32 = 11;
/// Between a command and the next, on a machine that emulates several.
const LATE: u64 = 60;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::example("blocksizes", blocksizes),
        Case::example("lastexec", lastexec),
    ]
}

fn blocksizes(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    let typed = guest.btf_has_function("blk_mq_start_request")?;
    let wanted = if typed { "core" } else { "record" };
    same("variant", &row.variant.as_deref(), &Some(wanted))?;
    let counted = || -> Result<u64> {
        let entries = guest.map("sizes")?;
        let of_size = entries.iter().filter(|entry| entry.key == [SLOT, 0, 0, 0]);
        Ok(of_size.map(MapEntry::sum).sum())
    };
    let before = counted()?;
    guest.node.machine().block_io(BLOCKS)?;
    same("requests of 4 KiB", &(counted()? - before), &u64::from(BLOCKS))?;
    Ok(wanted.into())
}

fn lastexec(guest: &Guest<'_>) -> Result<String> {
    guest.running()?;
    guest.run(&["sha1sum", "/etc/passwd"])?;
    let entries = guest.map("last")?;
    let entry = entries.iter().find(|entry| entry.text() == "sha1sum");
    let entry = entry.ok_or_else(|| format!("no sha1sum: {entries:?}"))?;
    let clock = entry.values.first().and_then(|value| value.get(8..12));
    let clock = u32::from_le_bytes(clock.ok_or("no clock")?.try_into()?);
    // The clock came with the version that the program asks for.
    let (wanted, now) = if guest.has_function("bpf_ktime_get_tai_ns")? {
        (CLOCK_TAI, "date +%s")
    } else {
        (CLOCK_BOOTTIME, "cut -d . -f 1 /proc/uptime")
    };
    same("clock", &clock, &wanted)?;
    let now: u64 = guest.node.sh(now)?.trim().parse()?;
    let then = entry.sum() / 1_000_000_000;
    ensure(then.abs_diff(now) <= LATE, || {
        format!("{then} s, and now it is {now}")
    })?;
    Ok(format!("clock {clock}"))
}
