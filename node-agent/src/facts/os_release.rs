//! os-release(5).

use std::{collections::BTreeMap, fs, io::Read, path::Path};

/// Most of the file that is read, in bytes; real ones have some hundred.
const MAX_BYTES: u64 = 64 << 10;

/// The host's os-release; none if it cannot be read, which must not hurt a node whose kernel has what it needs.
pub fn read(root: &Path) -> Option<BTreeMap<String, String>> {
    ["etc/os-release", "usr/lib/os-release"].iter().find_map(|path| {
        let mut text = String::new();
        fs::File::open(root.join(path))
            .ok()?
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .ok()?;
        Some(parse(&text))
    })
}

/// Reads the assignments; malformed lines are passed over.
fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), unquote(value.trim())))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// A value as a shell would read it: quotes taken off, backslashes resolved.
fn unquote(value: &str) -> String {
    let inner = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value);
    if value.starts_with('\'') {
        return inner.to_owned();
    }
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.extend(characters.next()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_odd_lines_are_read_as_a_shell_does() {
        let os = parse(
            "# c\nID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='A \"B\" C'\nNAME=\"x \\\"y\\\"\"\nnonsense\nEMPTY=\n",
        );
        let expected = [
            ("ID", "debian"),
            ("VERSION_ID", "12"),
            ("PRETTY_NAME", "A \"B\" C"),
            ("NAME", "x \"y\""),
        ];
        assert_eq!(os, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}
