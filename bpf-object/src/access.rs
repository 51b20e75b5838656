//! Access strings of CO-RE relocations (`0:1:2`), spelled as people write them
//! (`task_struct.signal.nr_threads`).

use btf::{Btf, Kind, Type};

use crate::core_relo::CoreKind;

/// Longest spelling that is kept, in bytes.
const MAX_PATH: usize = 512;
/// Deepest access that is spelled; libbpf's own bound is 64.
const MAX_STEPS: usize = 64;

/// The keyword of a type (`struct`) and its name.
pub(crate) fn type_of(btf: &Btf<'_>, id: u32) -> (&'static str, String) {
    let Some(named) = btf.get(id) else {
        return ("type", format!("#{id}"));
    };
    let name = match named.name() {
        "" => "(anonymous)".to_owned(),
        name => name.to_owned(),
    };
    let keyword = match named.kind() {
        Kind::Struct => "struct",
        Kind::Union => "union",
        Kind::Enum | Kind::Enum64 => "enum",
        Kind::Typedef => "typedef",
        _ => "type",
    };
    (keyword, name)
}

/// Spells the access of a relocation; `None` if it does not fit the type, which only damage explains.
pub(crate) fn spell(btf: &Btf<'_>, type_id: u32, access: &str, kind: CoreKind) -> Option<String> {
    let (_, name) = type_of(btf, type_id);
    let mut steps = access.split(':').take(MAX_STEPS).map(|s| s.parse::<u32>().ok());
    let first = steps.next().flatten()?;
    if kind.is_type() {
        return Some(name);
    }
    let root = btf.get(type_id)?.resolved()?;
    if kind.is_enumerator() {
        let enumerator = root.enumerator(first)?;
        return Some(format!("{name}.{}", enumerator.name()));
    }
    let mut path = name;
    if first != 0 {
        path.push_str(&format!("[{first}]"));
    }
    let mut t: Type<'_> = root;
    for step in steps {
        let step = step?;
        let id = if let Some(array) = t.array() {
            path.push_str(&format!("[{step}]"));
            array.element
        } else {
            let member = t.member(step)?;
            if !member.name().is_empty() {
                path.push('.');
                path.push_str(member.name());
            }
            member.type_id
        };
        if path.len() > MAX_PATH {
            return None;
        }
        t = btf.get(id)?.resolved()?;
    }
    Some(path)
}
