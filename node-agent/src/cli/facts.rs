//! `bpfleet-agent facts`.

use std::{error::Error, io::Write};

use bpfleet_crds::node::{Fact, NodeFacts};
use clap::ValueEnum;
use comfy_table::{Table, presets};

use crate::facts::{FactPaths, gather};

/// In what form.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// As in BpfNode.status.facts
    Json,
    /// As in BpfNode.status.facts
    Yaml,
}

/// Prints what is known of this machine.
pub fn print(paths: &FactPaths, format: Format) -> Result<(), Box<dyn Error>> {
    let facts = gather(paths);
    let mut out = anstream::stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&facts)?)?,
        Format::Yaml => write!(out, "{}", bpfleet_crds::manifests::to_yaml(&facts)?)?,
        Format::Table => writeln!(out, "{}", table(&facts))?,
    }
    Ok(())
}

fn table(facts: &NodeFacts) -> Table {
    let NodeFacts {
        kernel_release,
        kernel_version,
        architecture,
        os_image,
        os_id,
        os_version_id,
        btf,
        cgroup,
        bpffs,
        lockdown,
        ..
    } = facts;
    let unknown = || "unknown".to_owned();
    let os = match (os_image, os_id, os_version_id) {
        (Some(image), ..) => image.clone(),
        (None, Some(id), version) => format!("{id} {}", version.as_deref().unwrap_or_default()),
        _ => unknown(),
    };
    let btf = match (btf.kernel, btf.size_bytes, &btf.detail) {
        (Fact::Yes, Some(size), _) => format!("Yes ({size} bytes)"),
        (fact, _, Some(detail)) => format!("{fact:?} ({detail})"),
        (fact, ..) => format!("{fact:?}"),
    };
    let bpffs = match bpffs {
        Fact::Yes => "mounted".to_owned(),
        Fact::No => "not mounted".to_owned(),
        Fact::Unknown => unknown(),
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["FACT", "VALUE"]);
    for (name, value) in [
        ("kernel release", kernel_release.clone()),
        ("kernel version", kernel_version.clone()),
        ("architecture", architecture.clone()),
        ("operating system", os),
        ("kernel BTF", btf),
        ("cgroup", format!("{cgroup:?}")),
        ("BPF file system", bpffs),
        (
            "lockdown",
            lockdown
                .clone()
                .unwrap_or_else(|| "not in this kernel".to_owned()),
        ),
    ] {
        table.add_row([name, &value]);
    }
    table
}
