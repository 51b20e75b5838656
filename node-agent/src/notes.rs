//! Why a node runs a revision in the way it does: which variants it passed over, and which hooks it serves otherwise
//! than by their first alternative.
//!
//! They lie in bpffs with what they speak of, and live exactly as long, as the texts of symbolic links: a file there
//! cannot hold text, but a link leads to whatever its text says (`bpf_symlink` of kernel/bpf/inode.c).

use std::{fs, io, os::unix::fs::symlink, path::Path};

use bpfleet_crds::{
    conditions::truncate,
    node::{HookChoice, MAX_CHOICES, MAX_EXPLANATION_BYTES, MAX_PASSED_OVER, PassedOverVariant},
};
use serde::{Deserialize, Serialize};

use crate::{layout::RevisionDir, pins::entries};

/// Longest name of a program, or description of a target, that is kept.
const MAX_NAME_BYTES: usize = 255;

/// What is worth saying of a revision that runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// The variants before the one that runs.
    pub passed_over: Vec<PassedOverVariant>,
    /// Hooks off their first alternative.
    pub choices: Vec<HookChoice>,
}

impl Notes {
    /// As much of it as a status has room for.
    pub fn bounded(mut self) -> Self {
        self.passed_over.truncate(MAX_PASSED_OVER);
        self.choices.truncate(MAX_CHOICES);
        let cut = |text: &mut String, max| text.truncate(truncate(text, max).len());
        for variant in &mut self.passed_over {
            cut(&mut variant.message, MAX_EXPLANATION_BYTES);
        }
        for choice in &mut self.choices {
            cut(&mut choice.message, MAX_EXPLANATION_BYTES);
            for text in [&mut choice.program, &mut choice.target].into_iter().flatten() {
                cut(text, MAX_NAME_BYTES);
            }
        }
        self
    }

    /// Writes them into a revision's directory.
    pub fn write(&self, revision: &RevisionDir) -> io::Result<()> {
        let dir = revision.notes();
        let note =
            |kind: &str, index: usize, text: String| symlink(text, dir.join(format!("{kind}-{index:03}")));
        if *self == Self::default() {
            return Ok(());
        }
        fs::create_dir(&dir)?;
        for (index, variant) in self.passed_over.iter().enumerate() {
            note("variant", index, serde_json::to_string(variant)?)?;
        }
        for (index, choice) in self.choices.iter().enumerate() {
            note("hook", index, serde_json::to_string(choice)?)?;
        }
        Ok(())
    }

    /// Reads them back. What cannot be read is left out: it explains, and nothing depends on it.
    pub fn read(revision: &RevisionDir) -> Self {
        let mut notes = Self::default();
        for path in entries(&revision.notes()).unwrap_or_default() {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            match name.split_once('-') {
                Some(("variant", _)) => notes.passed_over.extend(text(&path)),
                Some(("hook", _)) => notes.choices.extend(text(&path)),
                _ => {}
            }
        }
        notes.bounded()
    }
}

fn text<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_str(fs::read_link(path).ok()?.to_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_read_back_in_order_and_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let revision = RevisionDir::at(dir.path().to_owned());
        let choice = |n: usize| HookChoice {
            name: format!("hook-{n}"),
            program: (n > 0).then(|| "p/p".repeat(100)),
            target: None,
            message: "ä".repeat(300),
        };
        let variant = |n: usize| PassedOverVariant {
            name: format!("v{n}"),
            message: "lacks map/ringbuf".into(),
        };
        let notes = Notes {
            passed_over: (0..12).map(variant).collect(),
            choices: (0..40).map(choice).collect(),
        }
        .bounded();
        assert_eq!((notes.passed_over.len(), notes.choices.len()), (12, MAX_CHOICES));
        assert_eq!(notes.choices[0].message.len(), MAX_EXPLANATION_BYTES);
        notes.write(&revision).unwrap();
        assert_eq!(Notes::read(&revision), notes);
    }

    #[test]
    fn where_there_is_nothing_to_say_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let revision = RevisionDir::at(dir.path().to_owned());
        Notes::default().write(&revision).unwrap();
        assert!(!revision.notes().exists());
        assert_eq!(Notes::read(&revision), Notes::default());
    }
}
