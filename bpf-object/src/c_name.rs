//! Names of types as C spells them, short: `struct event_key`, `__u64[3]`, `char *`.

use btf::{Kind, Type};

/// Deepest type that is spelled.
const MAX_DEPTH: usize = 32;

/// Spells a type as C does. A struct, union or enum without a name gives its keyword alone.
pub(crate) fn c_name(t: Type<'_>) -> String {
    let mut t = t;
    let mut qualifiers = String::new();
    let mut suffix = String::new();
    for _ in 0..MAX_DEPTH {
        let next = match t.kind() {
            Kind::Const => {
                qualifiers.push_str("const ");
                t.size_or_type()
            }
            Kind::Volatile => {
                qualifiers.push_str("volatile ");
                t.size_or_type()
            }
            Kind::Restrict | Kind::TypeTag => t.size_or_type(),
            Kind::Ptr => {
                suffix.insert(0, '*');
                t.size_or_type()
            }
            Kind::Array => {
                let Some(array) = t.array() else { break };
                suffix.push_str(&format!("[{}]", array.length));
                array.element
            }
            kind => {
                let name = t.name();
                let base = match kind {
                    Kind::Void => "void".to_owned(),
                    Kind::Fwd if t.flag() => format!("union {name}"),
                    Kind::Fwd => format!("struct {name}"),
                    Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 if name.is_empty() => {
                        kind.as_str().to_owned()
                    }
                    Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => format!("{kind} {name}"),
                    Kind::FuncProto => "function".to_owned(),
                    _ => name.to_owned(),
                };
                let space = if suffix.starts_with('*') { " " } else { "" };
                return format!("{qualifiers}{base}{space}{suffix}");
            }
        };
        match t.btf().get(next) {
            Some(found) => t = found,
            None => break,
        }
    }
    "type".to_owned()
}
