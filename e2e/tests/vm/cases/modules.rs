//! What a module has: its functions, and types that the kernel itself has not.

use bpfleet_e2e::vm::VmNode;
use serde_json::json;

use super::case::{Case, Result, spec};
use super::guest::{Alternative, Guest, absent, ensure, first, same, served};

/// Called for each packet of a tracked connection.
const FUNCTION: &str = "__nf_ct_refresh_acct";
const IN_MODULE: &str = "nf_conntrack:__nf_ct_refresh_acct";
/// An address that nothing else on a node has to do with.
const ADDRESS: [u8; 4] = [127, 9, 8, 7];
const ICMP: u8 = 1;
const PINGS: u64 = 3;

const PACKETS: [Alternative; 3] = [
    ("typed_fentry", "function nf_conntrack:__nf_ct_refresh_acct"),
    ("untyped", "function nf_conntrack:__nf_ct_refresh_acct"),
    ("untyped", "function __nf_ct_refresh_acct"),
];

/// Loads the module, where it is one, and has it track connections.
pub fn load(node: &VmNode<'_>) -> Result<()> {
    node.sh(
        "modprobe nf_conntrack enable_hooks=1 || grep -qx CONFIG_NF_CONNTRACK=y /boot/config-$(uname -r)",
    )?;
    Ok(())
}

/// The case.
pub fn cases() -> Vec<Case> {
    let at = |program: &str, function: &str| json!({"program": program, "target": {"function": function}});
    let hooks = json!([
        {"name": "packets", "anyOf": [
            at("typed_fentry", IN_MODULE), at("untyped", IN_MODULE), at("untyped", FUNCTION)]},
        {"name": "typed", "optional": true, "anyOf": [at("typed_kprobe", IN_MODULE)]},
        {"name": "module", "optional": true, "anyOf": [at("in_module", IN_MODULE)]},
    ]);
    vec![Case::new("conntrack", &spec("conntrack", &hooks), conntrack)]
}

fn conntrack(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    let module = guest.holds(&format!(
        "grep -qE ' [tT] {FUNCTION}.*\\[nf_conntrack\\]' /proc/kallsyms"
    ))?;
    let typed = module && guest.holds("bpftool btf show | grep -qw nf_conntrack")?;
    let took = served(
        &row,
        "packets",
        &PACKETS,
        first(&[typed, module, guest.has_function(FUNCTION)?]),
    )?;
    if !module {
        absent(&row, "module", "in_module")?;
    }
    if !typed {
        let choice = absent(&row, "typed", "typed_kprobe")?;
        if module {
            ensure(choice.message.contains("nf_conn"), || {
                format!("{choice:?} does not name the type")
            })?;
        }
    }
    guest.node.sh(&format!(
        "ping -c {PINGS} {}",
        ADDRESS.map(|byte| byte.to_string()).join(".")
    ))?;

    let entries = guest.map("packets")?;
    let counted = |slot: u8, typed: bool| {
        let mut key = [0; 12];
        if typed {
            key[..4].copy_from_slice(&ADDRESS);
            key[4] = ICMP;
        }
        key[8] = slot;
        let entry = entries.iter().find(|entry| entry.key == key);
        entry.map_or(0, |entry| entry.sum())
    };
    // A request and a reply each.
    if typed {
        same("packets by fentry", &counted(0, true), &(2 * PINGS))?;
        same("packets by kprobe", &counted(1, true), &(2 * PINGS))?;
    } else {
        let found = counted(2, false);
        ensure(found >= 2 * PINGS, || format!("{found} packets: {entries:?}"))?;
    }
    if module {
        let found = counted(3, false);
        ensure(found >= 2 * PINGS, || {
            format!("{found} packets in the module: {entries:?}")
        })?;
    }
    Ok(took)
}
