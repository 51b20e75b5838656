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
        "examples/blocksizes",
        "examples/execcount",
        "examples/lastexec",
        "examples/runqlat",
        "examples/taskstates",
        "examples/tcx-bytes",
        "examples/unlinks",
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

/// The commands of a document's console blocks: what follows a prompt, with the lines that it goes on in.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in fenced(text, "console") {
        let joined = block.replace("\\\n", " ");
        found.extend(
            joined
                .lines()
                .filter_map(|line| line.strip_prefix("$ "))
                .map(str::to_owned),
        );
    }
    found
}

/// What stands in backquotes in a document's sentences and tables.
fn quoted(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    let words = prose.split('`').skip(1).step_by(2);
    words.map(|word| word.replace('\n', " ")).collect()
}

/// The text of all files below a folder whose names end so.
fn texts(folder: &str, ending: &str) -> String {
    let mut text = String::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
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
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&path),
                file => root().join(path.parent().unwrap()).join(file),
            };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&target).unwrap());
                assert!(
                    anchors.iter().any(|known| known == anchor),
                    "{}: {link}: there is no such heading, only {anchors:?}",
                    path.display()
                );
            }
        }
    }
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let Some((_, heading)) = line.split_once("# ").filter(|_| !fenced && line.starts_with('#')) else {
            continue;
        };
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        found.push(kept.collect::<String>().to_lowercase().replace(' ', "-"));
    }
    found
}

#[test]
fn values_of_the_chart_named_in_documents_exist_and_take_what_is_written() {
    let values: Value = serde_norway::from_str(&read("charts/bpfleet/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("charts/bpfleet/values.schema.json")).unwrap();
    let top: BTreeSet<&str> = values.as_object().unwrap().keys().map(String::as_str).collect();
    let is_path = |word: &str| {
        word.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
            && word.split_once('.').is_some_and(|(first, _)| top.contains(first))
    };
    // Fields of a BpfProgram, and names, that look like values.
    let others = ["image.file", "image.reference", names::ARTIFACT_AUDIENCE];
    let mut seen = BTreeSet::new();
    for (path, text) in documents() {
        let commands = commands(&text);
        let sets = commands.iter().flat_map(|command| {
            let words: Vec<&str> = command.split_whitespace().collect();
            let pairs = words.windows(2).filter(|pair| pair[0] == "--set");
            pairs.map(|pair| pair[1].to_owned()).collect::<Vec<_>>()
        });
        // A sentence may name a value, or give it.
        let named = quoted(&text).into_iter().filter(|word| {
            let name = word.split('=').next().unwrap();
            is_path(name) && !others.contains(&name)
        });
        for given in sets.chain(named) {
            let (name, value) = given.split_once('=').unwrap_or((&given, ""));
            let (mut found, mut allowed) = (&values, &schema);
            for part in name.split('.') {
                found = found.get(part).unwrap_or_else(|| {
                    panic!("{}: {given}: the chart has no {name}", path.display());
                });
                allowed = allowed
                    .pointer(&format!("/properties/{part}"))
                    .unwrap_or(&Value::Null);
                if let Some(reference) = allowed["$ref"].as_str() {
                    allowed = schema.pointer(reference.trim_start_matches('#')).unwrap();
                }
            }
            if let Some(words) = allowed["enum"].as_array().filter(|_| !value.is_empty()) {
                assert!(
                    words.iter().any(|word| word == value),
                    "{}: {given}: {name} takes {words:?}",
                    path.display()
                );
            }
            seen.insert(name.to_owned());
        }
    }
    for name in [
        "image.registry",
        "agent.bpffs.mount",
        "agent.privileges",
        "uninstall.timeoutSeconds",
    ] {
        assert!(seen.contains(name), "no document names {name}: {seen:?}");
    }
}

#[test]
fn scripts_shown_in_documents_exist_and_take_the_flags() {
    let mut seen = BTreeSet::new();
    for (path, text) in documents() {
        for command in commands(&text).into_iter().chain(quoted(&text)) {
            let mut words = command.split_whitespace();
            let Some(script) = words
                .next()
                .filter(|word| word.ends_with(".sh") && word.contains('/'))
            else {
                continue;
            };
            let usage = fs::read_to_string(root().join(script))
                .unwrap_or_else(|error| panic!("{}: {command}: {error}", path.display()));
            for flag in words.filter(|word| word.starts_with("--")) {
                let mut known = usage.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                assert!(
                    known.any(|word| word == flag),
                    "{}: {command}: {script} has no {flag}",
                    path.display()
                );
            }
            seen.insert(script.to_owned());
        }
    }
    assert!(
        seen.contains("scripts/images.sh") && seen.contains("examples/build.sh"),
        "{seen:?}"
    );
}

#[test]
fn words_of_the_api_and_names_of_objects_in_documents_are_those_of_code_and_chart() {
    let reasons: BTreeSet<&str> = ProgramReason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .chain(NodeReason::ALL.iter().map(|reason| reason.as_str()))
        .collect();
    let sources = [
        texts("charts/bpfleet", ".yaml"),
        texts("charts/bpfleet", ".tpl"),
        texts("crds/src", ".rs"),
        read("Cargo.toml"),
        read("images/Cargo.toml"),
    ]
    .join("\n");
    // A word of Argo CD.
    let others = ["PreDelete"];
    let humps = |word: &str| {
        let mut previous = ' ';
        let count = word.chars().filter(|c| {
            let hump = c.is_ascii_uppercase() && !previous.is_ascii_uppercase();
            previous = *c;
            hump
        });
        let count = count.count();
        count > 1
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphabetic())
    };
    let mut seen = 0;
    for (path, text) in documents() {
        for word in quoted(&text) {
            let ours = word.starts_with("bpfleet-") && !word.contains([' ', '/', '.']);
            if !(ours || humps(&word)) || others.contains(&word.as_str()) {
                continue;
            }
            seen += 1;
            let name = word.split('<').next().unwrap();
            assert!(
                reasons.contains(name) || sources.contains(name),
                "{}: {word} is neither a reason nor anything in the chart or the API",
                path.display()
            );
        }
    }
    assert!(seen > 30, "only {seen} were recognised");
}

#[test]
fn files_and_tests_named_in_documents_exist() {
    let bases = ["", "crds/tests/chart", "crds/tests"];
    let tests = [texts("crds/tests", ".rs"), texts("e2e/tests", ".rs")].join("\n");
    let mut seen = (0, 0);
    for page in ["install", "upgrade", "uninstall", "security-model", "hosts"] {
        for name in quoted(&read(&format!("docs/{page}.md"))) {
            let top = name.split('/').next().unwrap_or_default();
            let of_the_tree = name.contains('/') && !top.is_empty() && root().join(top).exists();
            if !name.contains(' ') && (name.ends_with(".rs") || of_the_tree) {
                seen.0 += 1;
                assert!(
                    bases.iter().any(|base| root().join(base).join(&name).exists()),
                    "docs/{page}.md names {name}"
                );
            }
            // A name as only tests have it: a sentence.
            let sentence = name.matches('_').count() > 3
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if sentence {
                seen.1 += 1;
                assert!(
                    tests.contains(&format!("fn {name}(")),
                    "docs/{page}.md names test {name}"
                );
            }
        }
    }
    assert!(seen.0 > 10 && seen.1 > 5, "only {seen:?} were recognised");
}

#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() < 170);
}

#[test]
fn files_named_in_the_map_exist() {
    let text = read("ARCHITECTURE.md");
    let bases = [
        "",
        "btf/src",
        "btf/src/co_re",
        "bpf-object/src",
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
