//! kubectl, as a user runs it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::error::{During, Error, Result};

/// kubectl with a kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// Runs `program` with `kubeconfig`.
    pub fn new(program: &Path, kubeconfig: &Path) -> Kubectl {
        Kubectl {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
        }
    }

    /// The same kubectl as another user.
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Kubectl {
        Kubectl {
            program: self.program.clone(),
            kubeconfig: kubeconfig.to_owned(),
        }
    }

    /// Runs it and returns its standard output.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        self.run_with_input(args, "")
    }

    /// Runs it with a standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let command = format!("kubectl {}", args.join(" "));
        let mut child = Command::new(&self.program)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .during(|| format!("starting `{command}`"))?;
        let mut stdin = child.stdin.take();
        let output = std::thread::scope(|scope| {
            // A kubectl that refuses its arguments ends without reading: its own message tells more than
            // the broken pipe.
            scope.spawn(move || drop(stdin.as_mut().map(|pipe| pipe.write_all(input.as_bytes()))));
            child.wait_with_output()
        })
        .during(|| format!("running `{command}`"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let output_text = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::Command {
            command,
            status: output.status,
            output: output_text,
        })
    }

    /// `kubectl apply -f -` of one or more YAML documents.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.run_with_input(&["apply", "-f", "-"], yaml)
    }

    /// `kubectl apply -f` of a file or directory.
    pub fn apply_file(&self, path: &Path) -> Result<String> {
        self.run(&["apply", "-f", &path.to_string_lossy()])
    }

    /// `kubectl apply --server-side` of a file: what is too large for client-side apply.
    pub fn apply_file_server_side(&self, path: &Path) -> Result<String> {
        self.run(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            &path.to_string_lossy(),
        ])
    }

    /// `kubectl wait --for=…`: `wait_for("bpfprogram/x", "condition=Ready", …)`.
    pub fn wait_for(&self, object: &str, condition: &str, timeout: Duration) -> Result<()> {
        let (condition, timeout) = (
            format!("--for={condition}"),
            format!("--timeout={}s", timeout.as_secs().max(1)),
        );
        self.run(&["wait", object, &condition, &timeout]).map(drop)
    }

    /// `kubectl get … -o json`.
    pub fn get_json(&self, args: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get"], args, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).map_err(|error| {
            Error::Other(format!(
                "kubectl get {} did not print JSON: {error}",
                args.join(" ")
            ))
        })
    }

    /// Deletes an object and waits until it is gone; nothing happens if there is none.
    pub fn delete(&self, object: &str, timeout: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", timeout.as_secs().max(1));
        self.run(&["delete", object, "--ignore-not-found", "--wait", &timeout])
            .map(drop)
    }
}
