//! One test's place: a bpffs, files, and the agents that use them.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use bpfleet_e2e::{bpffs::Bpffs, objects, process::Launch, scratch::Scratch, tools};

use super::{kernel, running::Running};

/// One test's place. Dropping it unmounts its bpffs, and with it goes what only its pins held.
pub struct Bench {
    bpffs: Bpffs,
    scratch: Scratch,
    runs: Cell<u32>,
}

impl Bench {
    pub fn new() -> Self {
        let scratch = Scratch::new("agent").unwrap();
        let bpffs = Bpffs::mount(&scratch.path().join("bpffs")).unwrap();
        Self {
            bpffs,
            scratch,
            runs: Cell::new(0),
        }
    }

    /// The agents' pin root.
    pub fn root(&self) -> PathBuf {
        self.bpffs.path().join("root")
    }

    /// A file of this test.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.scratch.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A BpfProgram that runs `object`; `hooks` is YAML flow style, empty for none.
    pub fn program(&self, name: &str, object: &Path, hooks: &str) -> PathBuf {
        let hooks = if hooks.is_empty() {
            String::new()
        } else {
            format!("  hooks: {hooks}\n")
        };
        let yaml = format!(
            "apiVersion: bpfleet.io/v1alpha1\nkind: BpfProgram\nmetadata: {{name: {name}}}\nspec:\n  variants:\n  \
             - name: main\n    object: {{file: {}}}\n{hooks}",
            object.display()
        );
        self.file(&format!("{name}.yaml"), yaml)
    }

    /// The agent, about to run these files.
    pub fn launch(&self, files: &[&Path]) -> Launch {
        let run = self.runs.replace(self.runs.get() + 1);
        Launch::new(format!("agent-{run}"), env!("CARGO_BIN_EXE_bpfleet-agent"))
            .args(["run", "-o", "json", "--pin-root"])
            .arg(self.root())
            .args(files)
    }

    /// Runs one file.
    pub fn run(&self, file: &Path) -> Running {
        self.start(&self.launch(&[file]))
    }

    /// Starts what [`launch`](Self::launch) prepared.
    pub fn start(&self, launch: &Launch) -> Running {
        Running::new(launch.start(self.scratch.path()).unwrap())
    }

    /// Where a program's public map is pinned.
    pub fn map(&self, program: &str, map: &str) -> PathBuf {
        self.root().join(program).join("maps").join(map)
    }

    /// What a program's public map `counts` holds.
    pub fn counts(&self, program: &str) -> Vec<u64> {
        kernel::counts(&self.map(program, "counts"))
    }

    /// Fails if anything is pinned still.
    pub fn assert_nothing_pinned(&self) {
        let left = kernel::files(self.bpffs.path());
        assert!(left.is_empty(), "still in bpffs: {left:?}");
    }

    /// Where scratch files go.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }
}

/// A test program of e2e/programs, compiled.
pub fn object(name: &str) -> PathBuf {
    objects::compile(&format!("e2e/programs/{name}.bpf.c")).unwrap()
}

/// The same with further compiler flags.
pub fn object_with(name: &str, flags: &[&str]) -> PathBuf {
    let source = tools::repository().join(format!("e2e/programs/{name}.bpf.c"));
    objects::compile_with(&source, flags).unwrap()
}

/// Hooks for these programs, all at `target` (YAML flow style).
pub fn hooks(programs: &[&str], target: &str) -> String {
    let hook = |program: &&str| {
        format!(
            "{{name: {}, anyOf: [{{program: {program}, target: {target}}}]}}",
            program.replace('_', "-")
        )
    };
    format!("[{}]", programs.iter().map(hook).collect::<Vec<_>>().join(", "))
}
