//! Types as C writes them.

use btf::Btf;

/// Longest name that is shown, in characters.
const MAX_NAME: usize = 128;

/// A type as C declares it, without a name: `const volatile __u32[4]`, `struct config`, `char *const`.
pub fn c_type(btf: &Btf<'_>, id: u32) -> String {
    btf.c_name(id)
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
