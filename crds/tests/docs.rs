//! The documents say what the code says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use bpfleet_crds::{BpfProgramSpec, NodeReason, ProgramReason, names, program::BpfProgram, strict};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document, with its path from the root.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in [
        ".",
        "docs",
        "docs/decisions",
        "charts/bpfleet",
        "examples/execcount",
        "examples/runqlat",
        "examples/tcx-bytes",
    ] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((Path::new(folder).join(path.file_name().unwrap()), text));
            }
        }
    }
    assert!(found.len() >= 10, "documents are missing: {found:?}");
    found
}

/// The contents of fenced blocks in this language.
fn fenced(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(found) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if found == language {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

/// The part of a document under a heading of the second level.
fn chapter<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text
        .find(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no chapter {heading}"));
    let body = &text[start + 1..];
    body.find("\n## ").map_or(body, |end| &body[..end])
}

#[test]
fn every_reason_has_a_section_in_troubleshooting_and_no_other_word_has() {
    let text = read("docs/troubleshooting.md");
    let program: Vec<(&str, &str)> = ProgramReason::ALL
        .iter()
        .map(|r| (r.as_str(), r.meaning()))
        .collect();
    let node: Vec<(&str, &str)> = NodeReason::ALL
        .iter()
        .map(|r| (r.as_str(), r.meaning()))
        .collect();
    for (heading, reasons) in [
        ("Reasons of a BpfProgram", program),
        ("Reasons of a BpfNode", node),
    ] {
        let sections: Vec<&str> = chapter(&text, heading).split("\n### ").skip(1).collect();
        let words: Vec<&str> = sections
            .iter()
            .map(|section| section.lines().next().unwrap())
            .collect();
        let expected: Vec<&str> = reasons.iter().map(|(word, _)| *word).collect();
        assert_eq!(
            words, expected,
            "under {heading:?}: one section for each reason, in the order of crds/src/reason.rs"
        );
        for (section, (word, meaning)) in sections.iter().zip(reasons) {
            let said = section.lines().skip(1).find(|line| !line.is_empty()).unwrap();
            assert_eq!(
                said, meaning,
                "{word}: the first sentence is that of crds/src/reason.rs"
            );
            for part in ["\n- Look: ", "\n- Do: "] {
                assert_eq!(
                    section.matches(part).count(),
                    1,
                    "{word}: it needs one line{part:?}"
                );
            }
        }
    }
}

#[test]
fn every_bpfprogram_in_a_document_is_one_that_the_api_takes() {
    let mut seen = 0;
    for (path, text) in documents() {
        for block in fenced(&text, "yaml") {
            let value: Value =
                serde_norway::from_str(&block).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            if value["kind"] != "BpfProgram" {
                continue;
            }
            seen += 1;
            assert_eq!(
                value["apiVersion"],
                format!("{}/{}", names::GROUP, names::VERSION)
            );
            let _: BpfProgram = serde_json::from_value(value.clone()).unwrap();
            let spec = strict::from_value::<BpfProgramSpec>(&value["spec"]);
            assert!(spec.is_ok(), "{}: {}", path.display(), spec.unwrap_err());
        }
    }
    assert!(seen > 0, "README.md shows a BpfProgram");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for (path, text) in documents() {
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link)
        {
            if link.contains("://") {
                continue;
            }
            let file = link.split('#').next().unwrap();
            let target = root().join(path.parent().unwrap()).join(file);
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
        }
    }
}

#[test]
fn files_named_in_the_map_exist() {
    let text = read("ARCHITECTURE.md");
    let bases = [
        "",
        "crds/src",
        "operator/src",
        "operator/src/program",
        "node-agent/src",
        "node-agent/src/load",
        "node-agent/src/engine",
    ];
    let mut seen = 0;
    for name in text.split('`').skip(1).step_by(2) {
        let top = name.split('/').next().unwrap_or_default();
        let of_the_tree = name.contains('/') && !top.is_empty() && root().join(top).exists();
        if !name.contains(' ') && (name.ends_with(".rs") || of_the_tree) {
            seen += 1;
            assert!(
                bases.iter().any(|base| root().join(base).join(name).exists()),
                "ARCHITECTURE.md names {name}"
            );
        }
    }
    assert!(seen > 30, "only {seen} were recognised");
}

#[test]
fn make_targets_named_in_documents_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.contains("## "))
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .collect();
    let mut seen = BTreeSet::new();
    for (path, text) in documents() {
        let shown = fenced(&text, "console").into_iter().flat_map(|block| {
            block
                .lines()
                .filter_map(|line| line.strip_prefix("$ make "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        let inline = text
            .split("`make ")
            .skip(1)
            .filter_map(|rest| rest.split_once('`'))
            .map(|(it, _)| it.to_owned());
        for command in shown.chain(inline) {
            let target = command.split_whitespace().next().unwrap();
            assert!(
                targets.contains(target),
                "{}: make {target} is not in the Makefile",
                path.display()
            );
            seen.insert(target.to_owned());
        }
    }
    assert!(seen.contains("demo") && seen.contains("test"), "{seen:?}");
}

#[test]
fn the_metrics_in_operations_are_those_of_the_code() {
    let text = read("docs/operations.md");
    let documented: BTreeSet<&str> = chapter(&text, "Metrics")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let mut registered = BTreeSet::new();
    for source in ["operator/src/metrics.rs", "node-agent/src/serve/metrics.rs"] {
        let code = read(source);
        // The first string after a call is its name.
        let strings = |call: &str| -> Vec<String> {
            code.split(call)
                .skip(1)
                .filter_map(|rest| rest.split('"').nth(1))
                .map(str::to_owned)
                .collect()
        };
        let prefix = strings("with_prefix(").remove(0);
        registered.extend(
            strings(".register(")
                .iter()
                .map(|name| format!("{prefix}_{name}")),
        );
    }
    assert_eq!(documented, registered.iter().map(String::as_str).collect());
}

#[test]
fn the_names_in_operations_are_those_of_the_code() {
    let text = read("docs/operations.md");
    for name in [
        names::DEFAULT_NAMESPACE,
        names::OPERATOR_LEASE,
        names::ARTIFACT_CONFIG_MAP,
        names::ARTIFACT_TLS_SECRET,
        names::ARTIFACT_AUDIENCE,
        names::ARTIFACT_OBJECTS_PATH,
        names::OBJECT_CONFIG_MAP_PREFIX,
    ] {
        assert!(text.contains(name), "docs/operations.md does not name {name}");
    }
}
