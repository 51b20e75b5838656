//! All that is known of this machine.

use bpfleet_crds::node::{Fact, NodeFacts};
use bpfleet_fit::{
    feature::{Feature, ProgramType},
    question::{Answer, Question},
};
use serde::Serialize;

use super::questions::Row;
use crate::facts::{FactPaths, Interface, KernelBtf, Prober, System, btf_modules, interfaces, secure_boot};

/// The facts of the status, and more that only a person on the node wants. docs/facts.md describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Everything {
    /// As in BpfNode.status.facts.
    #[serde(flatten)]
    pub facts: NodeFacts,
    /// Where the kernel's BTF is read from: a file, or `bpf(2)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btf_source: Option<String>,
    /// Modules whose BTF the kernel has; absent if they cannot be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btf_modules: Option<Vec<String>>,
    /// Where tracefs is mounted.
    pub tracefs: Place,
    /// The kernel's configuration.
    pub kernel_config: Place,
    /// Active security modules, in order.
    pub security_modules: SecurityModules,
    /// Whether the machine booted with secure boot.
    pub secure_boot: Fact,
    /// Settings of the system.
    #[serde(flatten)]
    pub system: System,
    /// Everything that is tried, by kind and number.
    pub features: Vec<Row>,
    /// With `--all`: the helpers that programs can call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helpers: Option<Vec<Helpers>>,
    /// With `--all`: what drivers of this network namespace's interfaces can do with XDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Interfaces>,
}

/// Interfaces, or why the kernel does not tell.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interfaces {
    /// Each with what its driver can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Vec<Interface>>,
    /// Why they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Something that has a path, or a reason why not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Options that are set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<usize>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Active security modules.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityModules {
    /// Their names, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Vec<String>>,
    /// Why they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What programs of one type can call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Helpers {
    /// Type of the programs.
    pub program: &'static str,
    /// Helpers that they can call.
    pub callable: Vec<String>,
    /// How many could not be found out.
    pub unknown: usize,
    /// Why they cannot be found out, or there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Everything {
    /// Looks and tries. Nothing fails: what cannot be told says so.
    pub fn find(prober: &mut Prober, paths: &FactPaths, all: bool) -> Self {
        let facts = prober.node_facts();
        let (path, options, why) = match prober.kconfig() {
            Ok(found) => (
                Some(found.path.display().to_string()),
                Some(found.config.len()),
                found
                    .config
                    .bad_line()
                    .map(|bad| format!("line {} is damaged: {}", bad.number, bad.text)),
            ),
            Err(why) => (None, None, Some(why)),
        };
        let kernel_config = Place { path, options, why };
        let (path, why) = match prober.tracefs() {
            Ok(tracefs) => (Some(tracefs.root().display().to_string()), None),
            Err(why) => (None, Some(why)),
        };
        let tracefs = Place {
            path,
            options: None,
            why,
        };
        let (active, why) = match prober.security_modules() {
            Ok(active) => (Some(active), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            facts,
            btf_source: match prober.kernel_btf() {
                KernelBtf::File { path, .. } => Some(path.display().to_string()),
                KernelBtf::Id { .. } => Some("bpf(2)".to_owned()),
                KernelBtf::None | KernelBtf::Unknown(_) => None,
            },
            btf_modules: btf_modules().ok(),
            tracefs,
            kernel_config,
            security_modules: SecurityModules { active, why },
            secure_boot: secure_boot(&paths.host_root),
            system: System::read(prober),
            features: Feature::base()
                .map(|feature| Row::new(feature.to_string(), prober.answer(&Question::Feature(feature))))
                .collect(),
            helpers: all.then(|| {
                ProgramType::ALL
                    .iter()
                    .map(|program| helpers(prober, *program))
                    .collect()
            }),
            interfaces: all.then(|| match interfaces() {
                Ok(found) => Interfaces {
                    found: Some(found),
                    why: None,
                },
                Err(why) => Interfaces {
                    found: None,
                    why: Some(why),
                },
            }),
        }
    }
}

fn helpers(prober: &mut Prober, program: ProgramType) -> Helpers {
    let mut callable = Vec::new();
    let mut unknown = 0;
    let mut why = None;
    let answers = prober.answers(Feature::helpers(program).map(Question::Feature));
    for (question, answer) in answers {
        match (question, answer) {
            (Question::Feature(Feature::Helper { id, .. }), Answer::Yes) => {
                callable.push(Feature::Helper { id, program: None }.to_string());
            }
            (_, Answer::Unknown(reason)) => {
                unknown += 1;
                why = why.or(Some(reason));
            }
            (_, Answer::No(reason)) if callable.is_empty() && unknown == 0 => {
                why = why.or(Some(reason));
            }
            _ => {}
        }
    }
    if !callable.is_empty() && unknown == 0 {
        why = None;
    }
    Helpers {
        program: program.as_str(),
        callable: callable
            .into_iter()
            .map(|name| name.trim_start_matches("helper/").to_owned())
            .collect(),
        unknown,
        why,
    }
}
