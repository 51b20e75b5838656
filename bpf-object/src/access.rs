//! Access strings of CO-RE relocations (`0:1:2`), spelled as people write them
//! (`task_struct.signal.nr_threads`).

use crate::btf::{Btf, Kind};
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
    let name = match btf.name(named) {
        "" => "(anonymous)".to_owned(),
        name => name.to_owned(),
    };
    let keyword = match named.kind {
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
    let (mut id, root) = btf.resolve(type_id)?;
    if kind.is_enumerator() {
        let enumerator = btf.enumerator(root, usize::try_from(first).ok()?)?;
        return Some(format!("{name}.{enumerator}"));
    }
    let mut path = name;
    if first != 0 {
        path.push_str(&format!("[{first}]"));
    }
    for step in steps {
        let step = step?;
        let (_, t) = btf.resolve(id)?;
        if let Some((element, _)) = btf.array(t) {
            path.push_str(&format!("[{step}]"));
            id = element;
        } else {
            let member = btf.member(t, usize::try_from(step).ok()?)?;
            if !member.name.is_empty() {
                path.push('.');
                path.push_str(member.name);
            }
            id = member.type_id;
        }
        if path.len() > MAX_PATH {
            return None;
        }
    }
    Some(path)
}
