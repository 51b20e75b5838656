//! Sets variables in the bytes of their sections.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use btf::Btf;
use serde_json::Value;

use super::budget::Budget;
use super::error::{Alternatives, GlobalError, Target};
use super::list::Global;
use super::suggest::closest;
use super::write::{Spot, Step, Writer};

/// Most refusals that [`set_all`] lists; one more says how many there are.
pub const MAX_ERRORS: usize = 64;
/// Most variables that a message lists.
const LISTED: usize = 8;

/// Writes a value into a variable: `bytes` are those of its section.
///
/// # Errors
/// The first thing that does not fit; the bytes are as they were then.
pub fn set(btf: &Btf<'_>, bytes: &mut [u8], global: &Global, value: &Value) -> Result<(), GlobalError> {
    set_within(btf, bytes, global, value, &mut Budget::new())
}

/// Writes values by the names of variables. `sections` are the bytes of each section by its name; sections
/// without bytes in the object (`.bss`) are not among them.
///
/// # Errors
/// Everything that does not fit, by name, at most [`MAX_ERRORS`] and then [`GlobalError::More`]; all bytes
/// are as they were then.
pub fn set_all(
    btf: &Btf<'_>,
    sections: &mut BTreeMap<String, Vec<u8>>,
    globals: &[Global],
    values: &BTreeMap<String, Value>,
) -> Result<(), Vec<GlobalError>> {
    let mut budget = Budget::new();
    let mut by_name: BTreeMap<&str, Vec<&Global>> = BTreeMap::new();
    for global in globals {
        by_name.entry(&global.name).or_default().push(global);
    }
    let settable: BTreeSet<&str> = globals
        .iter()
        .filter(|g| g.is_settable())
        .map(|g| g.name.as_str())
        .collect();
    let mut written: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let (mut errors, mut more) = (Vec::new(), 0);
    for (name, value) in values {
        let set = match by_name.get(name.as_str()).map(Vec::as_slice) {
            // Nobody reads what could be meant by it.
            None if errors.len() >= MAX_ERRORS => {
                more += 1;
                continue;
            }
            None => Err(unknown(name, &settable, &mut budget)),
            Some([global]) => {
                let bytes = match written.entry(&global.section) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        entry.insert(sections.get(&global.section).cloned().unwrap_or_default())
                    }
                };
                set_within(btf, bytes, global, value, &mut budget)
            }
            Some(several) => Err(ambiguous(name, several)),
        };
        match set {
            Ok(()) => {}
            Err(error) if errors.len() < MAX_ERRORS => errors.push(error),
            Err(_) => more += 1,
        }
    }
    if more > 0 {
        errors.push(GlobalError::More(more));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    for (section, bytes) in written {
        sections.insert(section.into(), bytes);
    }
    Ok(())
}

fn set_within(
    btf: &Btf<'_>,
    bytes: &mut [u8],
    global: &Global,
    value: &Value,
    budget: &mut Budget,
) -> Result<(), GlobalError> {
    let at = || Target {
        variable: global.name.clone(),
        c_type: global.c_type.clone(),
    };
    if !global.constant {
        return Err(GlobalError::NotConst {
            at: at(),
            section: global.section.clone(),
        });
    }
    if global.folded {
        return Err(GlobalError::NotVolatile { at: at() });
    }
    let place = bytes_of(btf, bytes, global).map_err(|detail| GlobalError::NoPlace { at: at(), detail })?;
    let Some(own) = bytes.get_mut(place) else {
        return Ok(());
    };
    if budget.look(own.len()).is_err() {
        let what = "all values together take too many steps";
        return Err(GlobalError::TooComplex { at: at(), what });
    }
    // Written apart, so that an error leaves nothing behind.
    let mut copy = own.to_vec();
    let mut writer = Writer {
        btf,
        bytes: &mut copy,
        path: vec![Step::Name(&global.name)],
        budget,
    };
    let spot = Spot {
        type_id: global.type_id,
        start: 0,
        field: 0,
    };
    writer.value(spot, value)?;
    own.copy_from_slice(&copy);
    Ok(())
}

/// Where a variable's bytes are in its section.
pub(super) fn bytes_of(
    btf: &Btf<'_>,
    bytes: &[u8],
    global: &Global,
) -> Result<std::ops::Range<usize>, String> {
    let Some(offset) = global.offset else {
        return Err("its symbol table does not have it".into());
    };
    // Pointers and what is no data have a size or none; the writer says what is wrong with them.
    let size = btf.size(global.type_id).map_or(global.size, u64::from);
    if size > global.size {
        return Err(format!("its type has {size} bytes, the variable {}", global.size));
    }
    let end = offset.saturating_add(size);
    if end > bytes.len() as u64 {
        return Err(format!(
            "it ends at byte {end} of {}, which has {}",
            global.section,
            bytes.len()
        ));
    }
    match (usize::try_from(offset), usize::try_from(end)) {
        (Ok(offset), Ok(end)) => Ok(offset..end),
        _ => Err("it is beyond what this machine can address".into()),
    }
}

fn unknown(name: &str, names: &BTreeSet<&str>, budget: &mut Budget) -> GlobalError {
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| (*name).into()).collect();
    GlobalError::Unknown {
        name: name.chars().take(LISTED * 16).collect(),
        instead: Box::new(Alternatives {
            closest: closest(name, names.iter().copied(), budget),
            more: names.len().saturating_sub(listed.len()),
            names: listed,
        }),
    }
}

fn ambiguous(name: &str, several: &[&Global]) -> GlobalError {
    let sections: BTreeSet<&str> = several.iter().map(|g| g.section.as_str()).collect();
    GlobalError::Ambiguous {
        name: name.into(),
        count: several.len(),
        sections: sections.into_iter().take(LISTED).map(Into::into).collect(),
    }
}
