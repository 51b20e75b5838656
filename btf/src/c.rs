//! Types as C spells them.

use std::fmt::Write;

use crate::kind::Kind;
use crate::parse::Btf;
use crate::types::Type;

/// Longest spelling of a type's name, in bytes; what is longer ends in `…`.
const MAX: usize = 512;
/// Deepest nesting that is spelled.
const MAX_DEPTH: u32 = 16;
/// Most types that one name may be made of.
const MAX_TYPES: u32 = 256;
/// Longest definition, in bytes; of what is longer the rest is left out.
const MAX_DEFINITION: usize = 1 << 20;

impl Btf<'_> {
    /// A type as in a declaration: `struct task_struct *`, `const __u32[4]`; an anonymous struct as
    /// `struct {…}`.
    pub fn c_name(&self, id: u32) -> String {
        self.c_declaration(id, "").trim_end().to_owned()
    }

    /// The declaration of something of a type: `__u32 ports[4]`, `int (*compare)(const void *, const void *)`.
    pub fn c_declaration(&self, id: u32, name: &str) -> String {
        let mut spelled = declare(self, id, name.to_owned(), MAX_DEPTH, &mut { MAX_TYPES });
        if spelled.len() > MAX {
            let end = (0..=MAX)
                .rev()
                .find(|i| spelled.is_char_boundary(*i))
                .unwrap_or(0);
            spelled.truncate(end);
            spelled.push('…');
        }
        spelled
    }
}

/// Wraps `inner` (a name with what already binds closer to it) into the declaration of a type.
fn declare(btf: &Btf<'_>, id: u32, inner: String, depth: u32, left: &mut u32) -> String {
    let (Some(depth), Some(fewer)) = (depth.checked_sub(1), left.checked_sub(1)) else {
        return format!("… {inner}");
    };
    if inner.len() > 2 * MAX {
        return inner;
    }
    *left = fewer;
    let Some(t) = btf.get(id) else {
        return with("?", &inner);
    };
    match t.kind() {
        Kind::Ptr => {
            let target = t.size_or_type();
            // What a pointer points to binds closer than its star if it is an array or a function.
            let resolved = btf.get(target).and_then(Type::resolved);
            let direct = btf
                .get(target)
                .is_some_and(|t| matches!(t.kind(), Kind::Array | Kind::FuncProto));
            let star = if direct && resolved.is_some() {
                format!("(*{inner})")
            } else {
                format!("*{inner}")
            };
            declare(btf, target, star, depth, left)
        }
        Kind::Array => {
            let Some(array) = t.array() else {
                return inner;
            };
            let length = match array.length {
                0 => String::new(),
                n => n.to_string(),
            };
            declare(btf, array.element, format!("{inner}[{length}]"), depth, left)
        }
        Kind::FuncProto => {
            let parameters = parameters(btf, t, depth, left);
            declare(
                btf,
                t.size_or_type(),
                format!("{inner}({parameters})"),
                depth,
                left,
            )
        }
        Kind::Const | Kind::Volatile | Kind::Restrict => {
            let (words, under) = qualifiers(t);
            match under {
                // Of the pointer itself, and not of what it points to.
                Some(pointer) if pointer.kind() == Kind::Ptr => {
                    declare(btf, pointer.id(), with(&words, &inner), depth, left)
                }
                Some(t) => format!("{words} {}", declare(btf, t.id(), inner, depth, left)),
                None => with(&format!("{words} ?"), &inner),
            }
        }
        Kind::TypeTag | Kind::Var | Kind::Func | Kind::DeclTag => {
            declare(btf, t.size_or_type(), inner, depth, left)
        }
        _ => with(&base(&t), &inner),
    }
}

/// Qualifiers that stand together, each once, and the type under them; `None` if there is none.
fn qualifiers(t: Type<'_>) -> (String, Option<Type<'_>>) {
    let mut words: Vec<&str> = Vec::new();
    let mut t = t;
    for _ in 0..MAX_DEPTH {
        match t.kind() {
            Kind::Const | Kind::Volatile | Kind::Restrict => {
                if !words.contains(&t.kind().as_str()) {
                    words.push(t.kind().as_str());
                }
            }
            Kind::TypeTag => {}
            _ => return (words.join(" "), Some(t)),
        }
        match t.btf().get(t.size_or_type()) {
            Some(next) => t = next,
            None => break,
        }
    }
    (words.join(" "), None)
}

fn with(base: &str, inner: &str) -> String {
    match inner.bytes().next() {
        None => base.to_owned(),
        Some(b'[') => format!("{base}{inner}"),
        Some(_) => format!("{base} {inner}"),
    }
}

fn parameters(btf: &Btf<'_>, t: Type<'_>, depth: u32, left: &mut u32) -> String {
    let mut all = String::new();
    for parameter in t.parameters() {
        if !all.is_empty() {
            all.push_str(", ");
        }
        if all.len() > MAX {
            all.push('…');
            break;
        }
        match parameter.type_id {
            0 => all.push_str("..."),
            id => all.push_str(&declare(btf, id, parameter.name().to_owned(), depth, left)),
        }
    }
    if all.is_empty() { "void".into() } else { all }
}

/// A type that is named by one word or two.
fn base(t: &Type<'_>) -> String {
    let keyword = match t.kind() {
        Kind::Struct => "struct",
        Kind::Union => "union",
        Kind::Enum | Kind::Enum64 => "enum",
        Kind::Fwd if t.flag() => "union",
        Kind::Fwd => "struct",
        Kind::Void => return "void".into(),
        _ if t.name().is_empty() => return "?".into(),
        _ => return t.name().to_owned(),
    };
    match t.name() {
        "" => format!("{keyword} {{…}}"),
        name => format!("{keyword} {name}"),
    }
}

impl Type<'_> {
    /// The type's definition in C, a member a line with its offset: for messages and for people. Nested
    /// anonymous structs are spelled out to a depth.
    pub fn to_c(&self) -> String {
        let mut out = String::new();
        self.define(&mut out, 0);
        out
    }

    fn define(&self, out: &mut String, level: usize) {
        let btf = self.btf();
        // Writing to a string cannot fail.
        let _ = match self.kind() {
            Kind::Struct | Kind::Union => {
                let _ = writeln!(out, "{} {{", head(self));
                for member in self.members() {
                    if out.len() > MAX_DEFINITION {
                        out.push_str("…\n");
                        break;
                    }
                    self.member_line(out, &member, level + 1);
                }
                write!(
                    out,
                    "{:indent$}}} /* {} bytes */",
                    "",
                    self.size_or_type(),
                    indent = level * 4
                )
            }
            Kind::Enum | Kind::Enum64 => {
                let _ = writeln!(out, "{} {{", head(self));
                for value in self.enumerators() {
                    if out.len() > MAX_DEFINITION {
                        out.push_str("…\n");
                        break;
                    }
                    let number = if self.flag() || self.kind() == Kind::Enum {
                        value.value.to_string()
                    } else {
                        value.value.cast_unsigned().to_string()
                    };
                    let _ = writeln!(
                        out,
                        "{:indent$}{} = {number},",
                        "",
                        value.name(),
                        indent = (level + 1) * 4
                    );
                }
                write!(out, "{:indent$}}}", "", indent = level * 4)
            }
            Kind::Typedef => write!(
                out,
                "typedef {}",
                btf.c_declaration(self.size_or_type(), self.name())
            ),
            Kind::Func => write!(out, "{}", btf.c_declaration(self.size_or_type(), self.name())),
            Kind::Var => write!(out, "{}", btf.c_declaration(self.size_or_type(), self.name())),
            Kind::Datasec => {
                let _ = writeln!(out, "section {:?} {{", self.name());
                for variable in self.variables() {
                    if out.len() > MAX_DEFINITION {
                        out.push_str("…\n");
                        break;
                    }
                    let name = btf.get(variable.type_id).map_or("", |t| t.name());
                    let _ = writeln!(
                        out,
                        "    {}; /* {} at {} */",
                        btf.c_declaration(variable.type_id, name),
                        variable.size,
                        variable.offset
                    );
                }
                write!(out, "}}")
            }
            Kind::DeclTag => write!(
                out,
                "btf_decl_tag({:?}) of type {}",
                self.name(),
                self.size_or_type()
            ),
            Kind::TypeTag => write!(
                out,
                "btf_type_tag({:?}) {}",
                self.name(),
                btf.c_name(self.size_or_type())
            ),
            _ => write!(out, "{}", btf.c_name(self.id())),
        };
    }

    fn member_line(&self, out: &mut String, member: &crate::types::Member<'_>, level: usize) {
        let indent = level * 4;
        let nested = self
            .btf()
            .get(member.type_id)
            .filter(|t| t.kind().is_composite() && t.name().is_empty() && level < 8);
        let _ = write!(out, "{:indent$}", "");
        match nested {
            Some(t) => {
                t.define(out, level);
                let _ = match member.name() {
                    "" => write!(out, ";"),
                    name => write!(out, " {name};"),
                };
            }
            None => {
                let _ = write!(out, "{}", self.btf().c_declaration(member.type_id, member.name()));
                let _ = match member.bit_size {
                    0 => write!(out, ";"),
                    bits => write!(out, " : {bits};"),
                };
            }
        }
        let _ = match member.bit_offset % 8 {
            0 => writeln!(out, " /* {} */", member.bit_offset / 8),
            bits => writeln!(out, " /* {}.{bits} */", member.bit_offset / 8),
        };
    }
}

fn head(t: &Type<'_>) -> String {
    let keyword = t.kind().as_str();
    match t.name() {
        "" => keyword.to_owned(),
        name => format!("{keyword} {name}"),
    }
}
