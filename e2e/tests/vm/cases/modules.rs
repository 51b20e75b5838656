//! What a module has: its functions, and types that the kernel itself has not.

use bpfleet_e2e::vm::{MapEntry, VmNode};
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

/// Bytes of a block of null_blk's disk, which is not its default.
const BLOCK: u32 = 2048;
const BLOCKS: u64 = 12;

const PACKETS: [Alternative; 3] = [
    ("typed_fentry", "function nf_conntrack:__nf_ct_refresh_acct"),
    ("typed_kprobe", "function nf_conntrack:__nf_ct_refresh_acct"),
    ("untyped", "function __nf_ct_refresh_acct"),
];
const REQUESTS: [Alternative; 3] = [
    ("typed", "function null_blk:null_queue_rq"),
    ("untyped", "function null_blk:null_queue_rq"),
    ("untyped", "function null_queue_rq"),
];

/// What the kernel's command line has to say where the modules are built in.
pub const KERNEL_ARGS: [&str; 2] = ["nf_conntrack.enable_hooks=1", "null_blk.bs=2048"];

/// Loads the modules, where they are some: connections are tracked, and there is a disk.
pub fn load(node: &VmNode<'_>) -> Result<()> {
    node.sh(&format!(
        "grep -qx CONFIG_NF_CONNTRACK=y /boot/config-$(uname -r) || {{
           modprobe nf_conntrack enable_hooks=1
           modprobe null_blk bs={BLOCK}
         }}"
    ))?;
    Ok(())
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let at = |program: &str, function: &str| json!({"program": program, "target": {"function": function}});
    let packets = json!([
        {"name": "packets", "anyOf": [
            at("typed_fentry", IN_MODULE), at("typed_kprobe", IN_MODULE), at("untyped", FUNCTION)]},
        {"name": "module", "optional": true, "anyOf": [at("in_module", IN_MODULE)]},
    ]);
    let requests = json!([{"name": "requests", "anyOf": [
        at("typed", "null_blk:null_queue_rq"),
        at("untyped", "null_blk:null_queue_rq"),
        at("untyped", "null_queue_rq")]}]);
    vec![
        Case::new("conntrack", &spec("conntrack", &packets), conntrack),
        Case::new("null-blk", &spec("null_blk", &requests), null_blk),
    ]
}

/// Whether a function is one of a module, and whether that module has BTF.
fn in_module(guest: &Guest<'_>, module: &str, function: &str) -> Result<(bool, bool)> {
    let is = guest.holds(&format!(
        "grep -qE ' [tT] {function}.*\\[{module}\\]' /proc/kallsyms"
    ))?;
    Ok((
        is,
        is && guest.holds(&format!("bpftool btf show | grep -qw {module}"))?,
    ))
}

fn conntrack(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    let (module, module_btf) = in_module(guest, "nf_conntrack", FUNCTION)?;
    // The kernel itself has the type, whoever has the function.
    let typed = guest.btf_has_function("do_exit")?;
    let which = first(&[module_btf, module && typed, guest.has_function(FUNCTION)?]);
    let took = served(&row, "packets", &PACKETS, which)?;
    if !module {
        absent(&row, "module", "in_module")?;
    }
    let address = ADDRESS.map(|byte| byte.to_string()).join(".");
    guest.node.sh(&format!("ping -c {PINGS} {address}"))?;

    let entries = guest.map("packets")?;
    let counted = |slot: u8, typed: bool| {
        let mut key = [0; 12];
        if typed {
            key[..4].copy_from_slice(&ADDRESS);
            key[4] = ICMP;
        }
        key[8] = slot;
        let entry = entries.iter().find(|entry| entry.key == key);
        entry.map_or(0, MapEntry::sum)
    };
    // A request and a reply each; what has no type sees everything else too.
    let at_least = |slot: u8| {
        let found = counted(slot, false);
        ensure(found >= 2 * PINGS, || {
            format!("{found} packets by {slot}: {entries:?}")
        })
    };
    match which {
        0 => same("packets by fentry", &counted(0, true), &(2 * PINGS))?,
        1 => same("packets by kprobe", &counted(1, true), &(2 * PINGS))?,
        _ => at_least(2)?,
    }
    if module {
        at_least(3)?;
    }
    Ok(took)
}

/// The types are the module's: where modules have none, the program passes every check and the verifier refuses it.
fn null_blk(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    let (module, module_btf) = in_module(guest, "null_blk", "null_queue_rq")?;
    let which = first(&[module_btf, module, guest.has_function("null_queue_rq")?]);
    let took = served(&row, "requests", &REQUESTS, which)?;
    if which == 1 {
        let names_it = row
            .choices
            .iter()
            .any(|choice| choice.message.contains("nullb_queue"));
        ensure(names_it, || {
            format!("the missing type is not named: {:?}", row.choices)
        })?;
    }
    let size = if module_btf { BLOCK } else { 0 };
    let counted = || -> Result<u64> {
        let entries = guest.map("requests")?;
        let entry = entries.iter().find(|entry| entry.key == size.to_le_bytes());
        Ok(entry.map_or(0, MapEntry::sum))
    };
    let before = counted()?;
    guest.node.sh(&format!(
        "dd if=/dev/zero of=/dev/nullb0 bs=4k count={BLOCKS} oflag=direct"
    ))?;
    same("requests", &(counted()? - before), &BLOCKS)?;
    Ok(took)
}
