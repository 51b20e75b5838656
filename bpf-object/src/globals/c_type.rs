//! Types as C writes them.

use btf::{Btf, Kind, Type};

use super::MAX_DEPTH;

/// Longest name that is shown, in characters.
const MAX_NAME: usize = 128;

/// A type as C declares it, without a name: `const volatile __u32[4]`, `struct config`, `char *const`.
/// Typedefs keep their names; what leads nowhere is `?`.
pub fn c_type(btf: &Btf<'_>, id: u32) -> String {
    let mut declarator = String::new();
    let mut qualifiers: Vec<&'static str> = Vec::new();
    let mut id = id;
    for _ in 0..MAX_DEPTH {
        let Some(t) = btf.get(id) else {
            break;
        };
        let target = t.target();
        match (t.kind(), target) {
            (Kind::Const | Kind::Volatile | Kind::Restrict, Some(target)) => {
                let word = t.kind().as_str();
                if !qualifiers.contains(&word) {
                    qualifiers.push(word);
                }
                id = target;
            }
            (Kind::TypeTag | Kind::Var | Kind::Func | Kind::DeclTag, Some(target)) => id = target,
            (Kind::Ptr, Some(target)) => {
                let own = std::mem::take(&mut qualifiers).join(" ");
                let space = if own.is_empty() || declarator.is_empty() {
                    ""
                } else {
                    " "
                };
                declarator = format!("*{own}{space}{declarator}");
                id = target;
            }
            (Kind::FuncProto, Some(target)) => {
                declarator = format!("{}(…)", grouped(declarator));
                qualifiers.clear();
                id = target;
            }
            (Kind::Array, _) => {
                let Some(array) = t.array() else { break };
                let length = match array.length {
                    0 => String::new(),
                    n => n.to_string(),
                };
                declarator = format!("{}[{length}]", grouped(declarator));
                id = array.element;
            }
            _ => return joined(&qualifiers, &base(&t), &declarator),
        }
    }
    joined(&qualifiers, "?", &declarator)
}

/// What the declarator is put after: a name, with the keyword that C wants.
fn base(t: &Type<'_>) -> String {
    let name = shortened(t.name_bytes());
    let keyword = match t.kind() {
        Kind::Struct => "struct",
        Kind::Union => "union",
        Kind::Enum | Kind::Enum64 => "enum",
        Kind::Fwd if t.flag() => "union",
        Kind::Fwd => "struct",
        Kind::Void => return "void".into(),
        _ if name.is_empty() => return "?".into(),
        _ => return name,
    };
    match name.as_str() {
        "" => format!("{keyword} {{…}}"),
        name => format!("{keyword} {name}"),
    }
}

/// A pointer's declarator in parentheses, so that `[]` or `()` after it is of what it points to.
fn grouped(declarator: String) -> String {
    if declarator.starts_with('*') {
        format!("({declarator})")
    } else {
        declarator
    }
}

fn joined(qualifiers: &[&str], base: &str, declarator: &str) -> String {
    let mut out = String::new();
    for qualifier in qualifiers {
        out.push_str(qualifier);
        out.push(' ');
    }
    out.push_str(base);
    if declarator.starts_with(['*', '(']) {
        out.push(' ');
    }
    out.push_str(declarator);
    out
}

/// A name as text, cut at a bound.
pub(super) fn shortened(name: &[u8]) -> String {
    let head = name.get(..name.len().min(MAX_NAME * 4)).unwrap_or(name);
    let text = String::from_utf8_lossy(head);
    match text.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}
