//! Public paths: the maps and iterators of the revision that runs, where consumers find them again.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use super::{entries, link, name};
use crate::layout::{ProgramDir, RevisionDir};

/// Makes the public paths of a program those of this revision: each changes by a rename, so that a consumer
/// that opens it finds the old or the new one and never none. Writes nothing when nothing changed.
pub fn publish(program: &ProgramDir, revision: &RevisionDir) -> io::Result<()> {
    let maps: Vec<_> = entries(&revision.maps())?
        .into_iter()
        .filter_map(|path| Some((name(&path)?.to_owned(), path)))
        .collect();
    let mut iters = Vec::new();
    for hook in entries(&revision.hooks())? {
        for instance in entries(&hook)? {
            let is_link = name(&instance).is_some_and(|name| name.starts_with("link-"));
            if is_link && link(&instance)?.iter {
                iters.extend(name(&hook).map(|name| (name.to_owned(), instance)));
                break;
            }
        }
    }
    mirror(&program.maps(), &maps)?;
    mirror(&program.iters(), &iters)
}

/// Makes a directory hold exactly these pins, as further names of them.
fn mirror(directory: &Path, pins: &[(String, std::path::PathBuf)]) -> io::Result<()> {
    if !pins.is_empty() {
        create(directory)?;
    }
    for (name, pin) in pins {
        let public = directory.join(name);
        if fs::symlink_metadata(&public)
            .is_ok_and(|old| fs::metadata(pin).is_ok_and(|new| old.ino() == new.ino()))
        {
            continue;
        }
        // Escaped names never end in `~`.
        let fresh = directory.join(format!("{name}~"));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::hard_link(pin, &fresh)?;
        fs::rename(&fresh, &public)?;
    }
    for path in entries(directory)? {
        if !pins.iter().any(|(known, _)| name(&path) == Some(known)) {
            fs::remove_file(&path)?;
        }
    }
    if pins.is_empty() {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn create(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_mirrors_its_pins_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let pin = |name: &str| {
            let path = root.path().join(name);
            fs::write(&path, name).unwrap();
            (name.to_owned(), path)
        };
        let public = root.path().join("public");
        mirror(&public, &[pin("a"), pin("b")]).unwrap();
        fs::write(public.join("a~"), "left by a crash").unwrap();
        let replaced = (String::from("a"), pin("c").1);
        mirror(&public, &[replaced]).unwrap();
        let names: Vec<_> = entries(&public)
            .unwrap()
            .iter()
            .filter_map(|p| name(p).map(str::to_owned))
            .collect();
        assert_eq!(names, ["a"]);
        assert_eq!(fs::read_to_string(public.join("a")).unwrap(), "c");
        mirror(&public, &[]).unwrap();
        assert!(!public.exists());
    }
}
