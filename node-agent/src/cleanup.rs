//! `bpfleet-agent cleanup`: takes everything of bpfleet off this node, with no cluster to ask. For nodes that were
//! away while bpfleet was uninstalled, or whose agent could not start any more.

use std::{error::Error, io::Write, path::Path};

use crate::{
    cache::Cache,
    layout::ProgramDir,
    pin_root::{PinRoot, PinRootError},
    pins,
};

/// Removes all programs below the pin root with their attachments, then the pin root and the cache, and says so on
/// `out`. False: something is left, and `out` says what. What is not bpfleet's stays.
///
/// # Errors
/// An agent runs here, the pin root cannot be read, or `out` cannot be written.
pub fn run(
    pin_root: &Path,
    cache_dir: &Path,
    dry_run: bool,
    out: &mut impl Write,
) -> Result<bool, Box<dyn Error>> {
    let word = if dry_run { "would remove" } else { "removed" };
    let (mut found, mut clean) = (false, true);
    // An agent would put back what is removed: it has to be gone, which its lock tells.
    let there = |path: &Path| {
        path.try_exists()
            .map_err(|error| format!("cannot look at {}: {error}; run as root", path.display()))
    };
    let held = if there(pin_root)? {
        match PinRoot::take(pin_root, false) {
            Ok(held) => Some(held),
            // A directory somewhere else holds no pins.
            Err(PinRootError::NoBpffs { .. }) => None,
            Err(error) => return Err(error.into()),
        }
    } else {
        None
    };
    if let Some(held) = held {
        for program in pins::scan(pin_root)? {
            found = true;
            if !dry_run && let Err(error) = pins::remove_program(&ProgramDir::new(pin_root, &program.name)?) {
                clean = false;
                writeln!(out, "could not remove program {}: {error}", program.name)?;
                continue;
            }
            let revisions = program.revisions.join(", ");
            let of = if revisions.is_empty() { "none" } else { &revisions };
            writeln!(out, "{word} program {}, attached revisions: {of}", program.name)?;
        }
        if !dry_run {
            held.give_back();
            if pin_root.exists() {
                clean = false;
                writeln!(
                    out,
                    "{} stays: it holds what is not bpfleet's, or is in use",
                    pin_root.display()
                )?;
            }
        }
    }
    if there(cache_dir)? {
        found = true;
        if dry_run {
            writeln!(out, "{word} the cache {}", cache_dir.display())?;
        } else {
            match Cache::at(cache_dir).remove() {
                Ok(()) if cache_dir.exists() => {
                    writeln!(
                        out,
                        "emptied the cache {}; the directory itself stays",
                        cache_dir.display()
                    )?;
                }
                Ok(()) => writeln!(out, "{word} the cache {}", cache_dir.display())?,
                Err(error) => {
                    clean = false;
                    writeln!(out, "could not remove the cache: {error}")?;
                }
            }
        }
    }
    match (found, clean) {
        (false, true) => writeln!(
            out,
            "there is nothing of bpfleet at {} and {}",
            pin_root.display(),
            cache_dir.display()
        )?,
        (true, true) if !dry_run => writeln!(out, "nothing of bpfleet is left")?,
        _ => {}
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_bpfleet_is_clean_already() {
        let dir = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        let (pins, cache) = (dir.path().join("pins"), dir.path().join("cache"));
        assert!(run(&pins, &cache, false, &mut out).unwrap());
        assert!(
            String::from_utf8(out)
                .unwrap()
                .starts_with("there is nothing of bpfleet")
        );
        assert!(!pins.exists() && !cache.exists());
    }

    #[test]
    fn a_dry_run_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        cache.put_wanted(&1).unwrap();
        let mut out = Vec::new();
        assert!(run(&dir.path().join("pins"), dir.path(), true, &mut out).unwrap());
        assert!(String::from_utf8(out).unwrap().contains("would remove the cache"));
        assert_eq!(cache.wanted::<u32>(), Some(1));
    }
}
