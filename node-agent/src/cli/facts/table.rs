//! Facts for people.

use std::fmt::Write as _;

use bpfleet_crds::node::{Fact, NodeFacts};

use super::{
    everything::{Everything, Helpers, Interfaces, Place},
    questions::{Answered, Row},
};
use crate::facts::{Jit, MemoryLimit, Unprivileged};

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";
/// Lists are broken at this width.
const WIDTH: usize = 100;

/// Answers to single questions.
pub fn answered(answered: &Answered) -> String {
    let mut text = String::new();
    rows(&mut text, "", &answered.answers);
    text
}

/// Everything, by topic.
pub fn everything(everything: &Everything) -> String {
    let mut text = String::new();
    pairs(&mut text, "KERNEL", &kernel(everything));
    pairs(&mut text, "SYSTEM", &system(everything));
    for (title, prefix) in [
        ("TYPES OF PROGRAMS", "program/"),
        ("TYPES OF MAPS", "map/"),
        ("WAYS TO ATTACH", "attach/"),
    ] {
        let of_kind: Vec<&Row> = everything
            .features
            .iter()
            .filter(|row| row.name.starts_with(prefix))
            .collect();
        heading(&mut text, title);
        rows(&mut text, "  ", of_kind);
    }
    if let Some(helpers) = &everything.helpers {
        heading(&mut text, "HELPERS BY TYPE OF PROGRAM");
        helpers.iter().for_each(|of| list(&mut text, of));
        pairs(&mut text, "XDP BY INTERFACE", &interfaces(everything));
    } else {
        text.push_str("\nHelpers: --all, or --feature helper/NAME for one. Functions: --function NAME.\n");
    }
    text
}

fn kernel(everything: &Everything) -> Vec<(&'static str, String)> {
    let Everything {
        facts:
            NodeFacts {
                kernel_release,
                kernel_version,
                architecture,
                btf,
                ..
            },
        btf_source,
        btf_modules,
        tracefs,
        kernel_config,
        ..
    } = everything;
    let btf = match (btf.kernel, btf.size_bytes, btf_source, &btf.detail) {
        (Fact::Yes, Some(size), Some(source), _) => format!("Yes ({size} bytes, from {source})"),
        (fact, _, _, Some(detail)) => format!("{fact:?} ({detail})"),
        (fact, ..) => format!("{fact:?}"),
    };
    vec![
        ("kernel release", kernel_release.clone()),
        ("kernel version", kernel_version.clone()),
        ("architecture", architecture.clone()),
        ("kernel BTF", btf),
        (
            "BTF of modules",
            btf_modules
                .as_ref()
                .map_or_else(unknown, |modules| match modules.len() {
                    1 => "1 module".to_owned(),
                    count => format!("{count} modules"),
                }),
        ),
        ("configuration", place(kernel_config)),
        ("tracefs", place(tracefs)),
    ]
}

fn system(everything: &Everything) -> Vec<(&'static str, String)> {
    let Everything {
        facts:
            NodeFacts {
                os_image,
                os_id,
                os_version_id,
                cgroup,
                bpffs,
                lockdown,
                ..
            },
        security_modules,
        secure_boot,
        system,
        ..
    } = everything;
    let os = match (os_image, os_id, os_version_id) {
        (Some(image), ..) => image.clone(),
        (None, Some(id), version) => format!("{id} {}", version.as_deref().unwrap_or_default()),
        _ => unknown(),
    };
    let modules = match (&security_modules.active, &security_modules.why) {
        (Some(active), _) if active.is_empty() => "none".to_owned(),
        (Some(active), _) => active.join(", "),
        (None, why) => format!("Unknown ({})", why.as_deref().unwrap_or_default()),
    };
    vec![
        ("operating system", os),
        ("cgroup", format!("{cgroup:?}")),
        (
            "BPF file system",
            match bpffs {
                Fact::Yes => "mounted".to_owned(),
                Fact::No => "not mounted".to_owned(),
                Fact::Unknown => unknown(),
            },
        ),
        (
            "lockdown",
            lockdown
                .clone()
                .unwrap_or_else(|| "not in this kernel, or securityfs is not mounted".to_owned()),
        ),
        ("secure boot", format!("{secure_boot:?}")),
        ("security modules", modules),
        (
            "JIT",
            match system.jit {
                Jit::Disabled => "No: programs are interpreted (net.core.bpf_jit_enable)".to_owned(),
                Jit::Enabled => "Yes".to_owned(),
                Jit::EnabledWithLog => {
                    "Yes, with a dump to the kernel's log, which is slow (net.core.bpf_jit_enable)".to_owned()
                }
                Jit::Unknown => unknown(),
            },
        ),
        (
            "unprivileged eBPF",
            match system.unprivileged {
                Unprivileged::Allowed => "allowed".to_owned(),
                Unprivileged::Disabled => "disabled until the next boot".to_owned(),
                Unprivileged::DisabledForNow => "disabled".to_owned(),
                Unprivileged::Unknown => unknown(),
            },
        ),
        (
            "memory of maps",
            match system.memory_limit {
                MemoryLimit::Cgroup => "limited by the cgroup".to_owned(),
                MemoryLimit::Rlimit => "limited by RLIMIT_MEMLOCK".to_owned(),
                MemoryLimit::Unknown => unknown(),
            },
        ),
    ]
}

fn interfaces(everything: &Everything) -> Vec<(&str, String)> {
    let Some(Interfaces { found, why }) = &everything.interfaces else {
        return Vec::new();
    };
    match found {
        Some(found) => found
            .iter()
            .map(|interface| {
                let xdp = match interface.xdp.as_slice() {
                    [] => "generic only".to_owned(),
                    actions => actions.join(", "),
                };
                (interface.name.as_str(), xdp)
            })
            .collect(),
        None => vec![(
            "all interfaces",
            format!("Unknown ({})", why.as_deref().unwrap_or_default()),
        )],
    }
}

fn unknown() -> String {
    "Unknown".to_owned()
}

fn place(place: &Place) -> String {
    match (&place.path, place.options, &place.why) {
        (Some(path), Some(options), Some(why)) => format!("{path} ({options} options; {why})"),
        (Some(path), Some(options), None) => format!("{path} ({options} options)"),
        (Some(path), None, _) => path.clone(),
        (None, _, why) => format!("Unknown ({})", why.as_deref().unwrap_or_default()),
    }
}

fn heading(text: &mut String, title: &str) {
    let before = if text.is_empty() { "" } else { "\n" };
    let _ = writeln!(text, "{before}{BOLD}{title}{PLAIN}");
}

fn pairs(text: &mut String, title: &str, pairs: &[(&str, String)]) {
    heading(text, title);
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs {
        let _ = writeln!(text, "  {name:width$}  {value}");
    }
}

/// Name, answer and why, in columns.
fn rows<'a>(text: &mut String, indent: &str, rows: impl IntoIterator<Item = &'a Row> + Clone) {
    let width = rows
        .clone()
        .into_iter()
        .map(|row| row.name.len())
        .max()
        .unwrap_or(0);
    for row in rows {
        let colour = match row.answer {
            "Yes" => GREEN,
            "No" => RED,
            _ => YELLOW,
        };
        let _ = match &row.why {
            Some(why) => writeln!(
                text,
                "{indent}{:width$}  {colour}{:7}{PLAIN}  {why}",
                row.name, row.answer
            ),
            None => writeln!(text, "{indent}{:width$}  {colour}{}{PLAIN}", row.name, row.answer),
        };
    }
}

fn list(text: &mut String, helpers: &Helpers) {
    let Helpers {
        program,
        callable,
        unknown,
        why,
    } = helpers;
    let _ = write!(text, "  {BOLD}{program}{PLAIN}: {}", callable.len());
    if *unknown > 0 {
        let _ = write!(text, ", {unknown} not known");
    }
    if let Some(why) = why {
        let _ = write!(text, " ({why})");
    }
    text.push('\n');
    let mut line = String::new();
    for name in callable {
        if line.len() + name.len() > WIDTH {
            let _ = writeln!(text, "   {line}");
            line.clear();
        }
        line.push(' ');
        line.push_str(name);
    }
    if !line.is_empty() {
        let _ = writeln!(text, "   {line}");
    }
}
