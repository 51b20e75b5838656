//! Which global variables an object has.

use btf::{Btf, Kind};

use super::MAX_DEPTH;
use super::c_type::c_type;
use super::error::GlobalError;

/// Most variables of one object.
pub const MAX_GLOBALS: usize = 16_384;
/// Longest name of a variable that is listed, in bytes; the API takes shorter ones only.
const MAX_NAME: usize = 512;

/// Where the ELF symbol table says a variable is: by section and name, its offset in the section and its
/// size, in bytes.
pub type Symbols<'f> = dyn Fn(&str, &str) -> Option<(u64, u64)> + 'f;

/// A global variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// Its name. A static variable of a function is called `function.variable` by clang.
    pub name: String,
    /// The section that it is in: `.rodata`, `.data`, `.bss` or one whose name goes on after these and a dot.
    pub section: String,
    /// Where it begins in its section, in bytes; `None` if the object does not say.
    pub offset: Option<u64>,
    /// Its size in bytes.
    pub size: u64,
    /// Id of its type in the object's BTF.
    pub type_id: u32,
    /// Its type as C writes it: `const volatile __u32[4]`.
    pub c_type: String,
    /// Whether it is in a section of constants, which are set before load and never change.
    pub constant: bool,
    /// Whether it is declared `const` and not `volatile`, so that its value is compiled into the code.
    /// Neither is there in objects that are not from C, whose constants are read as volatile ones.
    pub folded: bool,
}

impl Global {
    /// Whether [`set`](super::set) takes values for it, as far as its declaration goes.
    pub fn is_settable(&self) -> bool {
        self.constant && !self.folded
    }
}

/// Global variables of an object, by section, offset and name.
///
/// Offsets come from the symbol table, for clang leaves those of most variables in BTF as 0 (libbpf.c,
/// `btf_fixup_datasec`). Where it gives nothing, BTF is believed if it says the size of the section, as
/// linkers write it.
///
/// Variables without a name, or whose name is no text of at most 512 bytes, are left out.
///
/// # Errors
/// [`GlobalError::TooManyGlobals`].
pub fn globals(btf: &Btf<'_>, symbol: &Symbols<'_>) -> Result<Vec<Global>, GlobalError> {
    let mut found = Vec::new();
    let sections = || {
        btf.types()
            .filter(|t| t.kind() == Kind::Datasec && is_data(t.name()))
    };
    let count = sections().map(|t| t.count() as usize).sum();
    if count > MAX_GLOBALS {
        return Err(GlobalError::TooManyGlobals {
            count,
            limit: MAX_GLOBALS,
        });
    }
    for section in sections() {
        let placed = section.own_size().is_some_and(|size| size != 0);
        for entry in section.variables() {
            let Some(t) = btf.get(entry.type_id).filter(|t| t.kind() == Kind::Var) else {
                continue;
            };
            let (name, Some(type_id)) = (t.name(), t.target()) else {
                continue;
            };
            if name.is_empty() || name.len() > MAX_NAME {
                continue;
            }
            let symbol = symbol(section.name(), name);
            let (is_const, is_volatile) = qualifiers(btf, type_id);
            let said = symbol.map_or(0, |(_, size)| size);
            found.push(Global {
                name: name.into(),
                section: section.name().into(),
                offset: symbol
                    .map(|(offset, _)| offset)
                    .or(placed.then_some(entry.offset.into())),
                size: if said == 0 { entry.size.into() } else { said },
                type_id,
                c_type: c_type(btf, type_id),
                constant: is(section.name(), ".rodata"),
                folded: is_const && !is_volatile,
            });
        }
    }
    found.sort_by(|a, b| (&a.section, a.offset, &a.name).cmp(&(&b.section, b.offset, &b.name)));
    Ok(found)
}

fn is_data(section: &str) -> bool {
    section.len() <= MAX_NAME && [".rodata", ".data", ".bss"].iter().any(|base| is(section, base))
}

/// Whether a section is `base` or `base.…`, as libbpf tells data sections.
fn is(section: &str, base: &str) -> bool {
    section
        .strip_prefix(base)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a variable of this type is const, and whether it is volatile; of an array, its elements.
fn qualifiers(btf: &Btf<'_>, id: u32) -> (bool, bool) {
    let (mut is_const, mut is_volatile, mut id) = (false, false, id);
    for _ in 0..MAX_DEPTH {
        let Some(t) = btf.get(id) else { break };
        id = match (t.kind(), t.target(), t.array()) {
            (Kind::Array, _, Some(array)) => array.element,
            (kind, Some(target), _) if kind.is_modifier() => {
                is_const |= kind == Kind::Const;
                is_volatile |= kind == Kind::Volatile;
                target
            }
            _ => break,
        };
    }
    (is_const, is_volatile)
}
