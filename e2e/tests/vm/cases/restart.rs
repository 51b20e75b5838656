//! An agent that is started anew says what the one before said, of the same links.

use std::collections::BTreeSet;

use bpfleet_crds::node::ProgramStatus;
use bpfleet_e2e::vm::VmNode;
use serde_json::Value;

use super::case::Result;
use super::guest::{SOON, ensure, eventually, same};

/// Restarts the agent of a node.
pub fn check(node: &VmNode<'_>) -> Result<String> {
    let (rows, before) = (rows(node)?, links(node)?);
    node.restart_agent()?;
    node.wait_ready(SOON)?;
    eventually("the rows of before", || rows_are(node, &rows))?;
    let after = links(node)?;
    // Before 5.15 what hangs on perf events ends with the agent; all other links go on.
    ensure(before.is_subset(&after), || {
        format!("links {before:?} became {after:?}")
    })?;
    Ok(format!("{} rows, {} links", rows.len(), after.len()))
}

fn rows(node: &VmNode<'_>) -> Result<Vec<ProgramStatus>> {
    Ok(node.bpf_node()?.status.unwrap_or_default().programs)
}

fn rows_are(node: &VmNode<'_>, wanted: &[ProgramStatus]) -> Result<()> {
    let found = rows(node)?;
    same("rows", &found.len(), &wanted.len())?;
    for (found, wanted) in found.iter().zip(wanted) {
        same("row", found, wanted)?;
    }
    Ok(())
}

/// Ids of all links of the kernel.
fn links(node: &VmNode<'_>) -> Result<BTreeSet<u64>> {
    let shown: Vec<Value> = serde_json::from_str(&node.sh("bpftool -j link show")?)?;
    Ok(shown.iter().filter_map(|link| link["id"].as_u64()).collect())
}
