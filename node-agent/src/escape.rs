//! Names as bpffs takes them: it refuses dots (kernel/bpf/inode.c, `bpf_lookup`), and `/` separates.

/// Longest file name that Linux takes, in bytes.
const MAX_NAME: usize = 255;

/// A name that is too long once written for bpffs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name {0:?} is too long for a file in bpffs; choose a shorter one")]
pub struct NameTooLong(String);

/// Writes any name reversibly: letters, digits, `-` and `_` stand for themselves, every other byte is
/// `~` and two hex digits. The empty name is `~`.
pub fn escape(name: &str) -> Result<String, NameTooLong> {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            other => out.push_str(&format!("~{other:02x}")),
        }
    }
    if out.is_empty() {
        out.push('~');
    }
    if out.len() > MAX_NAME {
        Err(NameTooLong(name.chars().take(64).collect()))
    } else {
        Ok(out)
    }
}

/// Reads back what [`escape`] wrote; none for a name that it never writes.
pub fn unescape(name: &str) -> Option<String> {
    if name == "~" {
        return Some(String::new());
    }
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'~' {
            let digits = [bytes.next()?, bytes.next()?];
            if !digits
                .iter()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            {
                return None;
            }
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    let text = String::from_utf8(out).ok()?;
    (escape(&text).as_deref() == Ok(name)).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_written_as_documented() {
        for (name, written) in [
            (".rodata", "~2erodata"),
            ("a_b-C9", "a_b-C9"),
            ("", "~"),
            ("~", "~7e"),
            ("ä", "~c3~a4"),
        ] {
            assert_eq!(escape(name).unwrap(), written);
        }
        assert!(escape(&"x".repeat(256)).is_err());
        assert_eq!(unescape("~2E"), None);
        assert_eq!(unescape("a.b"), None);
    }

    proptest! {
        #[test]
        fn every_name_reads_back(name in ".{0,40}") {
            if let Ok(written) = escape(&name) {
                prop_assert!(!written.contains(['.', '/']));
                prop_assert_eq!(unescape(&written), Some(name));
            }
        }
    }
}
