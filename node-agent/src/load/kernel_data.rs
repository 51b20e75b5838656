//! What resolving needs of the running kernel, each read when it is asked for the first time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufRead, BufReader},
};

use bpf_object::kconfig::{Facts, Kconfig};
use bpfleet_crds::NodeReason;
use bpfleet_fit::{
    feature::{AttachKind, Feature},
    question::{Answer, Answers, Question},
};

use super::request::{Failure, NodePaths};
use crate::{
    facts::{self, FactPaths, Prober},
    kallsyms::{self, Line},
    kernel::{probe::buffer::Buffer, program::kernel_version},
};

/// The running kernel.
pub struct KernelData {
    kernel_btf: std::path::PathBuf,
    perf_links: bool,
    prober: Prober,
    btf: Option<Option<Buffer>>,
    modules: Option<Vec<(String, Buffer)>>,
}

impl KernelData {
    /// Nothing read yet.
    pub fn new(node: &NodePaths) -> Self {
        let paths = FactPaths {
            host_root: node.host_root.clone(),
            kernel_btf: node.kernel_btf.clone(),
            pin_root: node.pin_root.clone(),
            cgroup_root: node.cgroup_root.clone(),
        };
        Self {
            kernel_btf: node.kernel_btf.clone(),
            perf_links: node.perf_links,
            prober: Prober::new(&paths),
            btf: None,
            modules: None,
        }
    }

    /// What this node answers.
    pub fn answers(&mut self, questions: &BTreeSet<Question>) -> Answers {
        self.prober.answers(questions.iter().cloned())
    }

    /// Reads the kernel's own BTF, for [`KernelData::btf`].
    pub fn read_btf(&mut self) -> Result<(), Failure> {
        if self.btf.is_none() {
            self.btf = Some(self.prober.kernel_btf().bytes().map_err(|error| {
                let message = format!(
                    "the kernel's BTF cannot be read from {}: {error}",
                    self.kernel_btf.display()
                );
                Failure::new(NodeReason::BtfMissing, message)
            })?);
        }
        Ok(())
    }

    /// The kernel's own BTF, if it has been read and there is one.
    pub fn btf(&self) -> Option<&[u8]> {
        self.btf.as_ref().and_then(|btf| btf.as_deref())
    }

    /// Reads the BTF of the modules that are loaded, for [`KernelData::modules`]. One that cannot be read is left out:
    /// what is looked for in it is then not found.
    pub fn read_modules(&mut self) {
        if self.modules.is_none() {
            self.modules = Some(module_btf().unwrap_or_default());
        }
    }

    /// Name and BTF of modules, if they have been read.
    pub fn modules(&self) -> &[(String, Buffer)] {
        self.modules.as_deref().unwrap_or_default()
    }

    /// The kernel's configuration; none if no place has it.
    pub fn kconfig(&mut self) -> Option<Kconfig> {
        self.prober.kconfig().ok().map(|found| found.config)
    }

    /// What `__kconfig` externs ask that is not in the configuration.
    pub fn extern_facts(&mut self) -> Facts {
        Facts {
            kernel_version: kernel_version(),
            has_syscall_wrapper: self.syscall_prefix().map(|prefix| prefix != "sys_"),
            has_bpf_cookie: Some(self.has_cookies()),
        }
    }

    /// Whether what is attached to functions of binaries takes cookies: only links do (5.15).
    pub fn has_cookies(&mut self) -> bool {
        let cookie = Question::Feature(Feature::Attach(AttachKind::BpfCookie));
        let answers = self.answers(&BTreeSet::from([cookie]));
        self.perf_links && answers.values().any(Answer::is_yes)
    }

    /// What names of system calls' functions begin with.
    pub fn syscall_prefix(&mut self) -> Option<&'static str> {
        self.prober.syscall_prefix()
    }
}

fn module_btf() -> io::Result<Vec<(String, Buffer)>> {
    let mut found = Vec::new();
    for module in facts::btf_modules()? {
        // It may be gone since.
        if let Ok(Some(bytes)) = facts::module_btf(&module) {
            found.push((module, bytes));
        }
    }
    Ok(found)
}

/// Addresses of these symbols of the kernel. A name that several places have is left out: none of them is meant for
/// certain.
pub fn addresses(names: &BTreeSet<&str>) -> io::Result<BTreeMap<String, u64>> {
    let mut found: BTreeMap<String, Option<u64>> = BTreeMap::new();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    for line in BufReader::new(fs::File::open(kallsyms::PATH)?).lines() {
        let line = line?;
        let Some(Line {
            address: Some(address),
            name,
            ..
        }) = Line::parse(&line)
        else {
            continue;
        };
        if names.contains(name) {
            found
                .entry(name.to_owned())
                .and_modify(|known| *known = known.filter(|known| *known == address))
                .or_insert(Some(address));
        }
    }
    Ok(found
        .into_iter()
        .filter_map(|(name, address)| Some((name, address?)))
        .collect())
}
