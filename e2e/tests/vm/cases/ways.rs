//! Ways to attach that newer kernels have, and what serves where they are not there or fail.

use std::process::Command;
use std::sync::OnceLock;

use bpfleet_e2e::vm::VmNode;
use serde_json::json;

use super::case::{Case, Result, spec};
use super::guest::{Alternative, Guest, absent, ensure, same, served};

const REMOVED: u64 = 7;
const RUNS: u64 = 4;
/// Where the program of the test's own is in a guest.
const BINARY: &str = "/bin/called";
/// One function is called once, the other twice.
const SOURCE: &str = "
__attribute__((noinline)) void called_once(void) { __asm__ volatile(\"\"); }
__attribute__((noinline)) void called_twice(void) { __asm__ volatile(\"\"); }
int main(void) { called_once(); called_twice(); called_twice(); return 0; }
";

const FUNCTIONS: [Alternative; 2] = [
    ("functions", "functions vfs_unlin*, vfs_rmdi*"),
    ("function", "function vfs_unlink"),
];
const SYMBOLS: [Alternative; 2] = [
    ("symbols", "/bin/called:called_*"),
    ("symbol", "/bin/called:called_once"),
];
const LOOPS: [Alternative; 2] = [
    ("with_helper", "tracepoint sched/sched_process_exec"),
    ("without_helper", "tracepoint sched/sched_process_exec"),
];

/// Puts the program into a guest whose functions are attached to.
pub fn install(node: &VmNode<'_>) -> Result<()> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (source, binary) = (dir.path().join("called.c"), dir.path().join("called"));
        std::fs::write(&source, SOURCE).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-static", "-o"]).arg(&binary).arg(&source);
        assert!(cc.status().unwrap().success(), "{cc:?}");
        std::fs::read(&binary).unwrap()
    });
    Ok(node.machine().write_file(BINARY, 0o755, bytes)?)
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let functions = json!({"functions": ["vfs_unlin*", "vfs_rmdi*"]});
    let symbol = |name: &str| json!({"binary": {"path": BINARY, "symbol": name}});
    let many = json!([
        {"name": "functions", "anyOf": [
            {"program": "functions", "target": functions.clone()},
            {"program": "function", "target": {"function": "vfs_unlink"}}]},
        {"name": "call", "anyOf": [{"program": "system_call", "target": {"syscall": "unlink"}}]},
        {"name": "symbols", "anyOf": [
            {"program": "symbols", "target": symbol("called_*")},
            {"program": "symbol", "target": symbol("called_once")}]},
        {"name": "extra", "optional": true, "anyOf": [
            {"program": "if_it_can_be", "target": functions}]},
    ]);
    let loops = json!([{"name": "sum", "anyOf": [
        {"program": "with_helper"}, {"program": "without_helper"}]}]);
    vec![
        Case::new("many-ways", &spec("many_ways", &many), many_ways),
        Case::new("loops", &spec("loops", &loops), with_loops),
    ]
}

fn many_ways(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    // kprobe.multi stands on fprobes, which a kernel that is new enough may be built without.
    let multi = guest.has_function("register_fprobe_ips")?;
    let uprobe_multi = guest.has_function("bpf_uprobe_multi_link_attach")?;
    let functions = served(&row, "functions", &FUNCTIONS, usize::from(!multi))?;
    let symbols = served(&row, "symbols", &SYMBOLS, usize::from(!uprobe_multi))?;
    same("hooks", &row.hooks_wanted, &if multi { 4 } else { 3 })?;
    if !multi {
        absent(&row, "extra", "if_it_can_be")?;
    }

    // A directory too: only the pattern sees that.
    guest.node.sh(&format!(
        "mkdir /tmp/ways; cd /tmp/ways; touch $(seq {REMOVED}); cd /; rm -r /tmp/ways"
    ))?;
    guest
        .node
        .sh(&format!("for run in $(seq {RUNS}); do {BINARY}; done"))?;
    let counts = |command: &str, slots: std::ops::Range<u8>| -> Result<Vec<u64>> {
        slots.map(|slot| guest.counted(command, slot)).collect()
    };
    let (many, one) = if multi { (REMOVED + 1, 0) } else { (0, REMOVED) };
    let found = [counts("rm", 0..3)?, counts("rm", 5..6)?].concat();
    same("removed", &found, &vec![many, one, REMOVED, many])?;
    let wanted = if uprobe_multi { [3 * RUNS, 0] } else { [0, RUNS] };
    same("calls", &counts("called", 3..5)?, &wanted.to_vec())?;
    Ok(format!("{functions}; {symbols}"))
}

fn with_loops(guest: &Guest<'_>) -> Result<String> {
    let row = guest.running()?;
    let helper = guest.has_function("bpf_loop")?;
    let took = served(&row, "sum", &LOOPS, usize::from(!helper))?;
    if let Some(choice) = row.choices.first() {
        ensure(choice.message.contains("verifier"), || format!("{choice:?}"))?;
    }
    guest.run(&["md5sum", "/etc/passwd"])?;
    let wanted = if helper { [10, 0] } else { [0, 10] };
    let found = [guest.counted("md5sum", 0)?, guest.counted("md5sum", 1)?];
    same("sums", &found, &wanted)?;
    Ok(took)
}
