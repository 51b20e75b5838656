//! The commands in the documents are those that the binaries take.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use bpfleet_e2e::binaries;
use serde::Deserialize as _;
use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// What a command says of itself; an unknown one fails.
fn help(binary: &str, subcommand: &str) -> String {
    let path = binaries::find(binary).unwrap();
    let run = Command::new(path).args([subcommand, "--help"]).output().unwrap();
    assert!(
        run.status.success() && !run.stdout.is_empty(),
        "{binary} {subcommand} --help: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    String::from_utf8(run.stdout).unwrap()
}

/// The long flags in a help text, other than --help.
fn flags(help: &str) -> BTreeSet<String> {
    help.lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'))
        .flat_map(|line| line.split([' ', ',', '=']))
        .filter(|word| word.starts_with("--") && *word != "--help")
        .map(str::to_owned)
        .collect()
}

/// The part of docs/operations.md under a heading of the second level.
fn chapter(heading: &str) -> String {
    let text = read("docs/operations.md");
    let start = text.find(&format!("\n## {heading}\n")).unwrap();
    let body = &text[start + 1..];
    body.find("\n## ").map_or(body, |end| &body[..end]).to_owned()
}

/// Everything in backquotes that is a long flag.
fn documented(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("--"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn operations_lists_the_flags_of_the_operator() {
    assert_eq!(
        documented(&chapter("bpfleet-operator")),
        ["serve", "uninstall", "verify"]
            .iter()
            .flat_map(|command| flags(&help("bpfleet-operator", command)))
            .collect()
    );
}

#[test]
fn operations_lists_the_flags_of_the_agent() {
    let taken: BTreeSet<String> = ["serve", "run", "facts", "cleanup", "mount-bpffs"]
        .iter()
        .flat_map(|command| flags(&help("bpfleet-agent", command)))
        .collect();
    assert_eq!(documented(&chapter("bpfleet-agent")), taken);
}

#[test]
fn defaults_in_operations_are_those_of_the_command_line() {
    let rows = |binary: &str, subcommand: &str| {
        let help = help(binary, subcommand);
        for row in chapter(binary).lines().filter(|line| line.starts_with("| `--")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let flag = cells[1].trim_matches('`');
            let Some(start) = help.lines().position(|line| line.trim_start().starts_with(flag)) else {
                continue;
            };
            let own = help
                .lines()
                .skip(start + 1)
                .take_while(|line| !line.trim_start().starts_with("--"));
            let default = own
                .filter_map(|line| line.trim().strip_prefix("[default: ")?.strip_suffix(']'))
                .next();
            if let Some(default) = default {
                assert!(
                    cells[3].contains(&format!("`{default}`")),
                    "{flag}: the default is {default}; {row}"
                );
            }
        }
    };
    rows("bpfleet-operator", "serve");
    rows("bpfleet-agent", "serve");
}

/// Every document for users.
const DOCUMENTS: [&str; 11] = [
    "README.md",
    "charts/bpfleet/README.md",
    "docs/install.md",
    "docs/upgrade.md",
    "docs/uninstall.md",
    "docs/hosts.md",
    "docs/security-model.md",
    "docs/operations.md",
    "docs/facts.md",
    "docs/troubleshooting.md",
    "ARCHITECTURE.md",
];

/// Where a command of ours begins among the words, and which: run as it is, or by another one (`kubectl debug … --`,
/// `cargo run -p … --`).
fn ours(words: &[&str]) -> Option<(&'static str, usize)> {
    words.iter().enumerate().find_map(|(at, word)| {
        let name = word.rsplit('/').next()?;
        let binary = ["bpfleet-agent", "bpfleet-operator"]
            .into_iter()
            .find(|binary| *binary == name)?;
        let next = at + 1 + usize::from(words.get(at + 1) == Some(&"--"));
        let begins = match at.checked_sub(1).map(|before| words[before]) {
            None | Some("--") => true,
            Some(before) => before == "-p" && next > at + 1,
        };
        let subcommand = words.get(next).filter(|word| !word.starts_with('-'))?;
        (begins && *subcommand != "load-worker").then_some((binary, next))
    })
}

#[test]
fn commands_shown_in_documents_are_taken() {
    let mut seen = BTreeSet::new();
    for path in DOCUMENTS {
        // Lines that go on in the next one are one command.
        let text = read(path).replace("\\\n", " ");
        // As shown with a prompt, and as quoted in a sentence; a block is also something between backquotes.
        let shown = text.lines().filter_map(|line| line.strip_prefix("$ "));
        let quoted = text.split('`').skip(1).step_by(2);
        for command in shown.chain(quoted.filter(|text| !text.contains("\n$ "))) {
            let words: Vec<&str> = command.split_whitespace().collect();
            let Some((binary, at)) = ours(&words) else {
                continue;
            };
            let subcommand = words[at];
            let taken = flags(&help(binary, subcommand));
            for flag in words[at..].iter().filter(|word| word.starts_with("--")) {
                assert!(
                    taken.contains(*flag),
                    "{path}: {command}: {binary} {subcommand} has no {flag}"
                );
            }
            seen.insert(format!("{binary} {subcommand} in {path}"));
        }
    }
    for command in [
        "bpfleet-agent run in README.md",
        "bpfleet-agent facts in README.md",
        "bpfleet-agent serve in docs/operations.md",
        "bpfleet-agent cleanup in docs/uninstall.md",
        "bpfleet-operator serve in docs/operations.md",
        "bpfleet-operator uninstall in docs/uninstall.md",
    ] {
        assert!(seen.contains(command), "{command} is not shown: {seen:?}");
    }
}

#[test]
fn flags_in_the_chart_are_those_that_the_commands_take() {
    let helm = bpfleet_e2e::tools::NodeTools::find().unwrap().helm;
    let everything =
        "agent.metrics.enabled=true,agent.bpffs.mount=true,operator.insecureRegistries={r.test:5000}";
    let run = Command::new(helm)
        .args([
            "template",
            "bpfleet",
            "charts/bpfleet",
            "--kube-version",
            "1.33.0",
            "--set",
            everything,
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut seen = BTreeSet::new();
    for document in serde_norway::Deserializer::from_slice(&run.stdout) {
        let document = Value::deserialize(document).unwrap();
        let spec = [
            "/spec/template/spec",
            // A Pod's.
            "/spec",
        ]
        .iter()
        .find_map(|path| {
            document
                .pointer(path)
                .filter(|spec| spec["containers"].is_array())
        });
        let Some(spec) = spec else { continue };
        let containers = ["initContainers", "containers"]
            .iter()
            .filter_map(|key| spec[key].as_array());
        for container in containers.flatten() {
            let image = container["image"].as_str().unwrap();
            let binary = if image.contains("bpfleet-operator") {
                "bpfleet-operator"
            } else {
                "bpfleet-agent"
            };
            let arguments: Vec<&str> = container["args"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let taken = flags(&help(binary, arguments[0]));
            for argument in arguments.iter().filter(|argument| argument.starts_with("--")) {
                let flag = argument.split('=').next().unwrap();
                assert!(taken.contains(flag), "{binary} {} has no {flag}", arguments[0]);
            }
            seen.insert(format!("{binary} {}", arguments[0]));
        }
    }
    let expected = [
        "bpfleet-agent mount-bpffs",
        "bpfleet-agent serve",
        "bpfleet-operator serve",
        "bpfleet-operator uninstall",
        "bpfleet-operator verify",
    ];
    assert_eq!(seen, expected.map(str::to_owned).into());
}
