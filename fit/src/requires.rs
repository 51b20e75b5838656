//! What variants require of a node.

use bpfleet_crds::requirement::{BtfRequirement, Requirement};

use crate::{
    kernel::{KernelRange, KernelVersion},
    question::{Answer, Answers, Question, answer},
};

/// What needs no probing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// In Kubernetes' words.
    pub architecture: String,
    /// The kernel's version; none if it cannot be read.
    pub kernel: Option<KernelVersion>,
}

/// A requirement, read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    Asks(Question),
    Architecture(String),
    Kernel(String, KernelRange),
}

fn read(requirement: &Requirement) -> Result<Need, String> {
    let Requirement {
        btf,
        feature,
        function,
        tracepoint,
        kernel_config,
        architecture,
        kernel,
    } = requirement;
    let mut needs = Vec::new();
    if let Some(btf) = btf {
        // BTF from elsewhere comes with a later version.
        needs.push(match btf {
            BtfRequirement::Kernel | BtfRequirement::Any => Need::Asks(Question::KernelBtf),
        });
    }
    if let Some(name) = feature {
        let feature = name
            .parse()
            .map_err(|e: crate::feature::UnknownFeature| e.to_string())?;
        needs.push(Need::Asks(Question::Feature(feature)));
    }
    if let Some(function) = function {
        let name: crate::function::KernelFunction = function.name.parse()?;
        if name.offset > 0 {
            return Err(format!("function.name {:?}: leave out the offset", function.name));
        }
        needs.push(Need::Asks(Question::Function {
            function: name,
            attach: function.attach,
        }));
    }
    if let Some(tracepoint) = tracepoint {
        let (category, name) = tracepoint
            .name
            .split_once('/')
            .ok_or_else(|| format!("tracepoint.name {:?} is not category/name", tracepoint.name))?;
        needs.push(Need::Asks(Question::Tracepoint {
            category: category.to_owned(),
            name: name.to_owned(),
            fields: tracepoint.fields.clone().unwrap_or_default(),
        }));
    }
    if let Some(config) = kernel_config {
        let (option, value) = match config.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (config.as_str(), None),
        };
        if !option.starts_with("CONFIG_") {
            return Err(format!("kernelConfig {config:?} does not begin with CONFIG_"));
        }
        needs.push(Need::Asks(Question::KernelConfig {
            option: option.to_owned(),
            value,
        }));
    }
    if let Some(architecture) = architecture {
        needs.push(Need::Architecture(architecture.clone()));
    }
    if let Some(range) = kernel {
        needs.push(Need::Kernel(range.clone(), range.parse()?));
    }
    let count = needs.len();
    match needs.pop() {
        Some(need) if count == 1 => Ok(need),
        _ => Err(
            "set exactly one of btf, feature, function, tracepoint, kernelConfig, architecture and kernel"
                .to_owned(),
        ),
    }
}

/// What is wrong with requirements, whatever the node; the place in the list is part of the message.
pub fn requirement_problems(requires: &[Requirement]) -> Vec<String> {
    requires
        .iter()
        .enumerate()
        .filter_map(|(index, requirement)| Some(format!("requires[{index}]: {}", read(requirement).err()?)))
        .collect()
}

/// What requirements ask of a node.
pub fn requirement_questions(requires: &[Requirement]) -> Vec<Question> {
    requires
        .iter()
        .filter_map(|requirement| match read(requirement) {
            Ok(Need::Asks(question)) => Some(question),
            _ => None,
        })
        .collect()
}

/// A requirement that a node does not meet, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The requirement and why it is not met.
    pub message: String,
    /// False if the node could not tell.
    pub certain: bool,
}

/// What of these requirements a node does not meet; nothing if it meets them all. What a node cannot tell counts as
/// missing: a variant is never used on a guess.
pub fn unmet(requires: &[Requirement], machine: &Machine, answers: &Answers) -> Vec<Unmet> {
    let certain = |message| {
        Some(Unmet {
            message,
            certain: true,
        })
    };
    let one = |requirement: &Requirement| match read(requirement) {
        Err(why) => certain(why),
        Ok(Need::Asks(question)) => {
            let answer = answer(answers, &question);
            let why = answer.why_not()?;
            Some(Unmet {
                message: format!("{question}: {why}"),
                certain: matches!(answer, Answer::No(_)),
            })
        }
        Ok(Need::Architecture(wanted)) if wanted == machine.architecture => None,
        Ok(Need::Architecture(wanted)) => certain(format!(
            "architecture {wanted}: this node is {}",
            machine.architecture
        )),
        Ok(Need::Kernel(text, range)) => match machine.kernel {
            Some(version) if range.has(version) => None,
            Some(version) => certain(format!("kernel {text}: this one is {version}")),
            None => Some(Unmet {
                message: format!("kernel {text}: not known: this kernel's version cannot be read"),
                certain: false,
            }),
        },
    };
    requires.iter().filter_map(one).collect()
}
