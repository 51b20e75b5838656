//! Features of a kernel's eBPF: their names, and nothing of how they are found out.

mod attach;
mod helper;
mod program_type;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use attach::AttachKind;
pub use program_type::ProgramType;

use crate::problem::closest;

/// Newest map type that is known: `BPF_MAP_TYPE_INSN_ARRAY` (Linux 6.19).
const MAX_MAP_TYPE: u32 = 34;

/// Something that a kernel's eBPF has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Programs of this type can be loaded.
    Program(ProgramType),
    /// Maps of this type can be made: `enum bpf_map_type`.
    Map(u32),
    /// Programs can be attached in this way.
    Attach(AttachKind),
    /// Programs of this type, or of any where none is named, can call this helper: `enum bpf_func_id`.
    Helper {
        /// Number of the helper.
        id: u32,
        /// Type of the program.
        program: Option<ProgramType>,
    },
}

impl Feature {
    /// Everything but helpers: what can be found out in a few milliseconds, by kind and then by number.
    pub fn base() -> impl Iterator<Item = Self> {
        let programs = ProgramType::ALL.iter().copied().map(Self::Program);
        let maps = (1..=MAX_MAP_TYPE).map(Self::Map);
        programs
            .chain(maps)
            .chain(AttachKind::ALL.iter().copied().map(Self::Attach))
    }

    /// Every helper in programs of this type.
    pub fn helpers(program: ProgramType) -> impl Iterator<Item = Self> {
        (1..helper::HELPERS.len()).map(move |id| Self::Helper {
            id: u32::try_from(id).unwrap_or(u32::MAX),
            program: Some(program),
        })
    }
}

/// Name of a map type as bpftool prints it.
fn map_name(map_type: u32) -> Option<&'static str> {
    (map_type > 0)
        .then(|| bpf_object::map_type_name(map_type))
        .flatten()
}

/// Name of a helper, with `bpf_`; its number for one that came after this was written.
fn helper_name(id: u32) -> String {
    usize::try_from(id)
        .ok()
        .and_then(|id| helper::HELPERS.get(id))
        .map_or_else(|| format!("bpf_helper_{id}"), |name| format!("bpf_{name}"))
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(program) => write!(f, "program/{program}"),
            Self::Map(map_type) => match map_name(*map_type) {
                Some(name) => write!(f, "map/{name}"),
                None => write!(f, "map/{map_type}"),
            },
            Self::Attach(kind) => write!(f, "attach/{kind}"),
            Self::Helper { id, program: None } => write!(f, "helper/{}", helper_name(*id)),
            Self::Helper {
                id,
                program: Some(program),
            } => write!(f, "helper/{}@{program}", helper_name(*id)),
        }
    }
}

/// A name that is no feature's; the message says which come close.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no feature {name:?}; {hint}")]
pub struct UnknownFeature {
    name: String,
    hint: String,
}

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(name: &str) -> Result<Self, UnknownFeature> {
        parse(name).map_err(|hint| UnknownFeature {
            name: name.to_owned(),
            hint,
        })
    }
}

fn parse(text: &str) -> Result<Feature, String> {
    const FORM: &str = "features are program/TYPE, map/TYPE, attach/KIND, helper/NAME and helper/NAME@TYPE";
    let (family, name) = text.split_once('/').ok_or_else(|| FORM.to_owned())?;
    match family {
        "program" => program(name, "program/").map(Feature::Program),
        "attach" => AttachKind::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == name)
            .map(Feature::Attach)
            .ok_or_else(|| suggest("attach/", name, AttachKind::ALL.iter().map(|kind| kind.as_str()))),
        "map" => (1..=MAX_MAP_TYPE)
            .find(|map_type| map_name(*map_type) == Some(name))
            .map(Feature::Map)
            .ok_or_else(|| suggest("map/", name, (1..=MAX_MAP_TYPE).filter_map(map_name))),
        "helper" => {
            let (name, program_name) = match name.split_once('@') {
                Some((name, program)) => (name, Some(program)),
                None => (name, None),
            };
            let short = name.strip_prefix("bpf_").unwrap_or(name);
            let id = helper::HELPERS
                .iter()
                .skip(1)
                .position(|helper| *helper == short)
                .and_then(|place| u32::try_from(place + 1).ok())
                .ok_or_else(|| {
                    let hint = suggest("helper/bpf_", short, helper::HELPERS.iter().skip(1).copied());
                    format!(
                        "{hint}; functions newer than Linux 6.2 are kfuncs, which a __weak extern asks for"
                    )
                })?;
            let program = program_name.map(|name| program(name, "@")).transpose()?;
            Ok(Feature::Helper { id, program })
        }
        _ => Err(FORM.to_owned()),
    }
}

fn program(name: &str, prefix: &str) -> Result<ProgramType, String> {
    ProgramType::ALL
        .iter()
        .copied()
        .find(|program| program.as_str() == name)
        .ok_or_else(|| suggest(prefix, name, ProgramType::ALL.iter().map(|p| p.as_str())))
}

/// The names that come close; the first ones where none does.
fn suggest<'a>(prefix: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let near = closest(name, known.clone());
    let list = |names: Vec<&str>, between: &str| {
        let names: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
        names.join(between)
    };
    if near.is_empty() {
        format!("some are {}", list(known.take(8).collect(), ", "))
    } else {
        format!("did you mean {}?", list(near, " or "))
    }
}

impl Serialize for Feature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Feature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for feature in Feature::base().chain(Feature::helpers(ProgramType::Xdp)) {
            assert_eq!(feature.to_string().parse(), Ok(feature));
        }
        assert_eq!(
            "helper/bpf_ringbuf_output".parse(),
            "helper/ringbuf_output".parse::<Feature>()
        );
    }

    #[test]
    fn a_wrong_name_is_answered_with_what_comes_close() {
        for (name, hint) in [
            ("map/ringbuff", "did you mean map/ringbuf?"),
            ("helper/bpf_ktime_get_tai", "helper/bpf_ktime_get_tai_ns"),
            ("helper/bpf_d_path@lms", "did you mean @lsm"),
            ("attach/kprobe_multi", "did you mean attach/kprobe.multi"),
            ("program/nonsense_of_all_kinds", "some are program/socket_filter"),
            ("ringbuf", "features are program/TYPE"),
            ("map/unspec", "some are"),
        ] {
            let error = name.parse::<Feature>().unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
