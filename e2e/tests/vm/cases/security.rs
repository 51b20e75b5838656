//! Security hooks, where the kernel has BTF and the BPF LSM, and what serves otherwise.

use serde_json::json;

use super::case::{Case, Result, spec};
use super::guest::{Alternative, Guest, first, same, served};

const OPENED: u64 = 10;
const OPEN: [Alternative; 2] = [
    ("by_lsm", "security hook file_open"),
    ("by_kprobe", "function security_file_open"),
];

/// The case.
pub fn cases() -> Vec<Case> {
    let hooks = json!([{"name": "open", "anyOf": [
        {"program": "by_lsm", "target": {"lsmHook": "file_open"}}, {"program": "by_kprobe"}]}]);
    vec![Case::new("file-open", &spec("file_open", &hooks), file_open)]
}

fn file_open(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    let active = guest.holds("grep -qw bpf /sys/kernel/security/lsm")?;
    let lsm = active && guest.btf_has_function("bpf_lsm_file_open")?;
    let took = served(
        &row,
        "open",
        &OPEN,
        first(&[lsm, guest.has_function("security_file_open")?]),
    )?;
    let slot = if lsm { 0 } else { 1 };
    // What the command opens for itself is in both.
    let open = |files: u64| -> Result<u64> {
        let before = guest.counted("cat", slot)?;
        guest
            .node
            .sh(&format!("cat $(yes /etc/passwd | head -n {files}) >/dev/null"))?;
        Ok(guest.counted("cat", slot)? - before)
    };
    same("opened files", &(open(1 + OPENED)? - open(1)?), &OPENED)?;
    Ok(took)
}
