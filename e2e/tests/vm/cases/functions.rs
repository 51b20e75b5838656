//! Hooks that go to the first function that a kernel has, or to the best place that it has.

use bpfleet_e2e::vm::MapEntry;
use serde_json::{Value, json};

use super::case::{Case, Result, object, spec};
use super::guest::{Alternative, Guest, ensure, first, same, served};

const REMOVED: u32 = 25;
const BLOCKS: u32 = 20;

const UNLINK: [Alternative; 2] = [
    ("count_unlink", "function do_unlinkat"),
    ("count_unlink", "function filename_unlinkat"),
];

const BLOCK_IO: [Alternative; 5] = [
    ("by_fentry", "function blk_account_io_start"),
    ("by_kprobe", "function blk_account_io_start"),
    ("by_kprobe", "function __blk_account_io_start"),
    ("by_tracepoint", "tracepoint block/block_io_start"),
    ("by_tracepoint", "tracepoint block/block_rq_issue"),
];

/// What nothing can serve.
pub fn impossible_cases() -> Vec<Case> {
    let nowhere = json!({"name": "nowhere", "anyOf": [
        {"program": "count_unlink", "target": {"function": "bpfleet_no_such_function"}}]});
    let two = json!({"hooks": [nowhere.clone()], "variants": [
        {"name": "better", "object": object("unlinks"),
            "requires": [{"function": {"name": "bpfleet_no_such_function", "attach": "Kprobe"}}]},
        {"name": "other", "object": object("unlinks")}]});
    vec![
        Case::new("impossible", &spec("unlinks", &json!([nowhere])), impossible),
        Case::new("impossible-variants", &two, impossible_variants),
    ]
}

/// What every kernel serves.
pub fn cases() -> Vec<Case> {
    vec![
        Case::example("unlinks", unlinks),
        Case::new("block-io", &spec("block_io", &block_io_hooks()), block_io),
    ]
}

fn unlinks(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    let which = first(&[
        guest.has_function("do_unlinkat")?,
        guest.has_function("filename_unlinkat")?,
    ]);
    let took = served(&row, "unlink", &UNLINK, which)?;
    guest.node.machine().unlink(REMOVED)?;
    let entries = guest.map("counts")?;
    let of_rm = entries.iter().filter(|entry| entry.text() == "rm");
    same(
        "removed files",
        &of_rm.map(MapEntry::sum).sum(),
        &u64::from(REMOVED),
    )?;
    Ok(took)
}

fn impossible(guest: &Guest<'_>) -> Result<String> {
    let row = guest.row()?;
    same("reason", &row.reason.as_deref(), &Some("TargetNotFound"))?;
    same("revision", &row.revision, &None)?;
    let message = row.message.unwrap_or_default();
    ensure(message.contains("bpfleet_no_such_function"), || message.clone())?;
    not_ready(guest)?;
    Ok(message)
}

fn impossible_variants(guest: &Guest<'_>) -> Result<String> {
    let row = guest.row()?;
    same("reason", &row.reason.as_deref(), &Some("NoVariantFits"))?;
    same("revision", &row.revision, &None)?;
    let message = row.message.unwrap_or_default();
    ensure(
        message.contains("better (") && message.contains("other ("),
        || message.clone(),
    )?;
    not_ready(guest)?;
    Ok(message)
}

/// The BpfProgram does not say that it runs.
fn not_ready(guest: &Guest<'_>) -> Result<()> {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    let ready = guest
        .kubectl
        .run(&["get", "bpfprogram", guest.program, "-o", path])?;
    ensure(ready != "True", || "it is Ready".into())
}

fn block_io_hooks() -> Value {
    let function = |program: &str, name: &str| json!({"program": program, "target": {"function": name}});
    let tracepoint = |name: &str| json!({"program": "by_tracepoint", "target": {"tracepoint": name}});
    json!([{"name": "io", "anyOf": [
        function("by_fentry", "blk_account_io_start"),
        function("by_kprobe", "blk_account_io_start"),
        function("by_kprobe", "__blk_account_io_start"),
        tracepoint("block/block_io_start"),
        tracepoint("block/block_rq_issue"),
    ]}])
}

fn block_io(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    let tracepoint = |name: &str| guest.holds(&format!("test -e /sys/kernel/tracing/events/{name}/format"));
    // Newer kernels have it and keep tracing out of it.
    let function = guest.can_trace("blk_account_io_start")?;
    let which = first(&[
        function && guest.btf_has_function("blk_account_io_start")?,
        function,
        guest.can_trace("__blk_account_io_start")?,
        tracepoint("block/block_io_start")?,
        tracepoint("block/block_rq_issue")?,
    ]);
    let took = served(&row, "io", &BLOCK_IO, which)?;
    // A request may be issued by a thread of the kernel.
    let slot = [0, 1, 1, 2, 2][which];
    let before = guest.counted_in_all(slot)?;
    guest.node.machine().block_io(BLOCKS)?;
    same(
        "requests",
        &(guest.counted_in_all(slot)? - before),
        &u64::from(BLOCKS),
    )?;
    Ok(took)
}
