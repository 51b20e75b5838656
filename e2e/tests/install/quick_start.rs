//! The commands of docs/install.md and docs/uninstall.md, in their order, as a newcomer would type them.

use std::process::Command;

use bpfleet_e2e::{
    real::{REGISTRY, RealCluster, RealOptions, diagnose},
    tools, wait,
};

use crate::support::*;

/// The commands of a chapter: lines of console blocks that begin with a prompt, and their continuations.
fn commands(document: &str, chapter: &str) -> Vec<String> {
    let path = tools::repository().join("docs").join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let heading = |line: &&str| line.starts_with('#') && line.trim_start_matches('#').trim() == chapter;
    let mut lines = text.lines();
    lines
        .by_ref()
        .find(heading)
        .unwrap_or_else(|| panic!("{document} has no chapter {chapter}"));
    let mut commands: Vec<String> = Vec::new();
    let (mut console, mut continued) = (false, false);
    // Up to the next heading of whatever level.
    for line in lines.take_while(|line| !line.starts_with('#')) {
        if line.starts_with("```") {
            console = line == "```console";
            continue;
        }
        let part = match line.strip_prefix("$ ") {
            Some(command) if console => {
                commands.push(String::new());
                command
            }
            _ if console && continued => line,
            _ => continue,
        };
        continued = part.ends_with('\\');
        let last = commands.last_mut().unwrap();
        last.push_str(part);
        last.push('\n');
    }
    assert!(!commands.is_empty(), "{document}: {chapter} has no commands");
    commands
}

/// A newcomer's shell, in the repository.
struct Shell<'c> {
    cluster: &'c RealCluster,
}

impl Shell<'_> {
    /// Types a command; what it says on the terminal.
    fn type_(&self, command: &str) -> String {
        let scratch = self.cluster.scratch().path().display();
        let pushed = format!("{}/team", self.cluster.registry().host());
        // What a reader replaces: the registry, which here speaks plain HTTP and has another name for the nodes. And what
        // is built goes elsewhere than into the source tree.
        let adapted = command
            .replace(
                "--push registry.example/team",
                &format!("--plain-http --push {pushed}"),
            )
            .replace("registry.example/team", &format!("{REGISTRY}/team"))
            .replace("build.sh out", &format!("build.sh {scratch}/out"))
            .replace("=out/", &format!("={scratch}/out/"));
        let directory = |path: &std::path::Path| path.parent().unwrap().display().to_string();
        let path = format!(
            "{}:{}:{}",
            directory(&self.cluster.tools().kubectl),
            directory(self.cluster.helm_program()),
            std::env::var("PATH").unwrap()
        );
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &adapted])
            .current_dir(tools::repository())
            .env("KUBECONFIG", self.cluster.admin_kubeconfig())
            .env("PATH", path)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "$ {adapted}{text}");
        text
    }

    fn type_all(&self, commands: &[String]) -> String {
        commands.iter().map(|command| self.type_(command)).collect()
    }
}

#[test]
fn a_newcomer_installs_runs_upgrades_and_uninstalls_by_the_documents() {
    let cluster = &RealCluster::start(&RealOptions::default()).unwrap();
    let _report = diagnose::on_failure(cluster).about(&["bpf"]);
    let shell = Shell { cluster };
    let said = shell.type_all(&commands("install.md", "On an existing cluster"));
    for part in ["resources", "operator", "artifacts", "agents"] {
        let row = said.lines().find(|line| line.trim_start().starts_with(part));
        assert!(
            row.is_some_and(|row| row.contains(" yes ")),
            "helm test says nothing good of {part}:\n{said}"
        );
    }

    let first = commands("install.md", "The first program");
    let (run, remove) = first.split_at(first.iter().position(|c| c.contains(" delete ")).unwrap());
    let said = shell.type_all(run);
    let row = said.lines().find(|line| line.contains("AllNodesReady"));
    assert!(
        row.is_some_and(|row| row.starts_with("bpfprogram.bpfleet.io/execcount ")),
        "{said}"
    );
    shell.type_all(remove);

    shell.type_all(&commands("upgrade.md", "Upgrading"));
    shell.type_all(&commands("upgrade.md", "Back"));
    shell.type_all(&commands("uninstall.md", "Uninstalling"));
    for node in cluster.nodes() {
        wait::until(format!("{} to be clean", node.name()), SOON, || {
            match leftovers(node) {
                left if left.is_empty() => Ok(()),
                left => Err(format!("{left:?}")),
            }
        })
        .unwrap();
    }
}
