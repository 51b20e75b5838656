//! Reads a kernel's configuration file.

use std::ops::Range;

/// Largest configuration that is read, in bytes; those of distributions have some 300 KB.
pub const MAX_CONFIG: usize = 8 << 20;
/// Longest line that a message shows, in characters.
const MAX_SHOWN: usize = 80;

/// A kernel's configuration: `/boot/config-…` or an unpacked `/proc/config.gz`.
#[derive(Debug, Clone, Default)]
pub struct Kconfig {
    text: Vec<u8>,
    /// Names with their values, where they are in the text; by name, each once.
    entries: Vec<(Range<usize>, Range<usize>)>,
    bad_line: Option<BadLine>,
}

/// A line that begins with `CONFIG_` and gives no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number; the first line is 1.
    pub number: usize,
    /// Its text, cut at 80 characters.
    pub text: String,
    /// Whether it was cut off by [`MAX_CONFIG`].
    pub cut_off: bool,
}

impl Kconfig {
    /// Reads a configuration. Lines that do not begin with `CONFIG_` say nothing, and so does
    /// `# CONFIG_X is not set`; of two lines for one option the first counts, as for libbpf.
    ///
    /// A line with no value does not stop the reading; [`Kconfig::bad_line`] has the first, and
    /// [`resolve_kconfig`](super::resolve_kconfig) refuses the configuration as libbpf does, for a file
    /// that is damaged in one place can lack lines in another.
    pub fn parse(text: &[u8]) -> Self {
        let cut_off = text.len() > MAX_CONFIG;
        let text = text.get(..text.len().min(MAX_CONFIG)).unwrap_or(text);
        let mut config = Kconfig {
            text: text.to_vec(),
            ..Kconfig::default()
        };
        let mut start = 0;
        let mut lines = 0;
        for line in text.split(|b| *b == b'\n') {
            lines += 1;
            config.line(lines, start, line);
            start += line.len() + 1;
        }
        if cut_off {
            config.bad_line = Some(BadLine {
                number: lines,
                text: shown(text.rsplit(|b| *b == b'\n').next().unwrap_or_default()),
                cut_off,
            });
        }
        let text = &config.text;
        let name = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
        // Stable: the first of equal names stays the first.
        config.entries.sort_by(|a, b| name(&a.0).cmp(name(&b.0)));
        config.entries.dedup_by(|b, a| name(&a.0) == name(&b.0));
        config
    }

    fn line(&mut self, number: usize, start: usize, line: &[u8]) {
        if !line.starts_with(b"CONFIG_") {
            return;
        }
        // libbpf reads lines as C strings.
        let line = line.split(|b| *b == 0).next().unwrap_or_default();
        match line.iter().position(|b| *b == b'=') {
            Some(sep) if sep + 1 < line.len() => {
                let value = start + sep + 1..start + line.len();
                self.entries.push((start..start + sep, value));
            }
            _ if self.bad_line.is_none() => {
                self.bad_line = Some(BadLine {
                    number,
                    text: shown(line),
                    cut_off: false,
                });
            }
            _ => {}
        }
    }

    /// The value of an option as the file has it: `y`, `m`, `100`, `"text"` with its quotes. `None` if it
    /// is not set, or its value is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.raw(name.as_bytes())?).ok()
    }

    /// The same as bytes.
    pub(super) fn raw(&self, name: &[u8]) -> Option<&[u8]> {
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        let found = self
            .entries
            .binary_search_by(|entry| text(&entry.0).cmp(name))
            .ok()?;
        self.entries.get(found).map(|entry| text(&entry.1))
    }

    /// How many options have a value.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no option has a value.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first line that gives no value; where the configuration is larger than [`MAX_CONFIG`], the one
    /// that was cut off.
    pub fn bad_line(&self) -> Option<&BadLine> {
        self.bad_line.as_ref()
    }
}

/// The begin of a line or value, for a message.
pub(super) fn shown(line: &[u8]) -> String {
    let head = line.get(..line.len().min(MAX_SHOWN * 4)).unwrap_or(line);
    String::from_utf8_lossy(head).chars().take(MAX_SHOWN).collect()
}
