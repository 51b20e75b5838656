//! Requirements of a variant, one each, against what the kernel itself says.

use bpfleet_e2e::vm::MapEntry;
use serde_json::{Value, json};

use super::case::{Case, Result, object};
use super::guest::{Guest, ensure, same};

/// By how much the object of the second variant counts; the first counts by one.
const OTHERWISE: u64 = 1000;

/// The cases. Each has kernels that meet it and kernels that do not.
pub fn cases() -> Vec<Case> {
    vec![
        case(
            "requires-config",
            &json!({"kernelConfig": "CONFIG_FUNCTION_ERROR_INJECTION=y"}),
            |guest| {
                let met = guest.configured("CONFIG_FUNCTION_ERROR_INJECTION=y")?;
                chosen(guest, met)
            },
        ),
        case(
            "requires-module",
            &json!({"kernelConfig": "CONFIG_NF_CONNTRACK=m"}),
            |guest| {
                let met = guest.configured("CONFIG_NF_CONNTRACK=m")?;
                chosen(guest, met)
            },
        ),
        case(
            "requires-field",
            &json!({"tracepoint": {"name": "block/block_rq_issue", "fields": ["bytes", "ioprio"]}}),
            |guest| {
                let format = "/sys/kernel/tracing/events/block/block_rq_issue/format";
                let met = guest.holds(&format!("grep -q ' ioprio;' {format}"))?;
                chosen(guest, met)
            },
        ),
        case(
            "requires-helper",
            &json!({"feature": "helper/bpf_loop"}),
            |guest| {
                let met = guest.has_function("bpf_loop")?;
                chosen(guest, met)
            },
        ),
        case("requires-fentry", &json!({"feature": "attach/fentry"}), |guest| {
            // Of two kernels of one version, one has BTF.
            let met = guest.btf_has_function("vfs_unlink")?;
            chosen(guest, met)
        }),
    ]
}

fn case(name: &str, requirement: &Value, check: fn(&Guest<'_>) -> Result<String>) -> Case {
    let spec = json!({"variants": [
        {"name": "met", "object": object("counter_v1"), "requires": [requirement]},
        {"name": "otherwise", "object": object("counter_v2")}]});
    Case::new(name, &spec, check)
}

/// The variant is the one that the truth asks for, in the status and by what it counts.
fn chosen(guest: &Guest<'_>, met: bool) -> Result<String> {
    let row = guest.running()?;
    let wanted = if met { "met" } else { "otherwise" };
    same("variant", &row.variant.as_deref(), &Some(wanted))?;
    let passed: Vec<_> = row.passed_over.iter().map(|variant| &*variant.name).collect();
    let before: &[&str] = if met { &[] } else { &["met"] };
    same("passed over", &passed.as_slice(), &before)?;
    guest.run(&["true"])?;
    let counted: u64 = guest.map("counts")?.iter().map(MapEntry::sum).sum();
    ensure(counted > 0 && (counted < OTHERWISE) == met, || {
        format!("{counted} counted by variant {wanted}")
    })?;
    let why = row.passed_over.first().map(|variant| variant.message.clone());
    Ok(why.unwrap_or_else(|| wanted.to_owned()))
}
