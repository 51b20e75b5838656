//! Where each `__kconfig` value stands in the data section that takes their place.

use std::collections::BTreeMap;

use btf::Btf;

use crate::elf::Elf;
use crate::error::InspectError;
use crate::externs::{self, ExternKind};
use crate::kconfig::{KconfigData, KconfigEntry, MAX_KCONFIG};

/// The section of configuration values.
#[derive(Default)]
pub(crate) struct Layout {
    pub(crate) bytes: Vec<u8>,
    /// Offsets of values by name.
    pub(crate) places: BTreeMap<String, u32>,
    /// Variables that have neither a value nor leave to be without: names.
    pub(crate) missing: Vec<String>,
    /// Offsets and sizes for BTF, of every variable that the object declares.
    pub(crate) variables: BTreeMap<String, (u32, u32)>,
}

impl Layout {
    /// Lays out what the object declares: values as given, zeros for weak variables without one.
    pub(crate) fn new(
        elf: &Elf<'_>,
        btf: Option<&Btf<'_>>,
        given: Option<&KconfigData>,
    ) -> Result<Self, InspectError> {
        let mut layout = Layout::default();
        let declared: Vec<_> = btf
            .iter()
            .flat_map(|btf| externs::declared(btf))
            .filter(|(kind, _)| *kind == ExternKind::Kconfig)
            .map(|(_, t)| t)
            .collect();
        if declared.is_empty() {
            return Ok(layout);
        }
        let weak = externs::weak(elf);
        let entries: BTreeMap<&str, &KconfigEntry> = given
            .iter()
            .flat_map(|data| &data.entries)
            .map(|entry| (entry.name.as_str(), entry))
            .collect();
        layout.bytes = given.map_or_else(Vec::new, |data| data.bytes.clone());
        for variable in declared {
            let name = variable.name();
            let bad = |detail: &str| InspectError::malformed(format!("extern {name:?}"), detail);
            let size = variable
                .btf()
                .size(variable.id())
                .ok_or_else(|| bad("its type has no size"))?;
            let symbol = weak.get(name).copied();
            let value = entries.get(name);
            let place = match value {
                Some(place) => {
                    let end = place.offset.checked_add(place.size.max(size));
                    if end.is_none_or(|end| end as usize > layout.bytes.len()) {
                        return Err(bad("its value is outside of those that were given"));
                    }
                    place.offset
                }
                None => {
                    let start = layout.bytes.len().next_multiple_of(8);
                    let place = u32::try_from(start).unwrap_or(u32::MAX);
                    let end = place.saturating_add(size);
                    if end > MAX_KCONFIG {
                        return Err(bad("configuration values take more than a megabyte"));
                    }
                    layout.bytes.resize(end as usize, 0);
                    place
                }
            };
            layout.variables.insert(name.into(), (place, size));
            if value.is_some_and(|v| v.is_set) || symbol == Some(true) {
                layout.places.insert(name.into(), place);
            } else if symbol.is_some() {
                layout.missing.push(name.into());
            }
        }
        Ok(layout)
    }
}
