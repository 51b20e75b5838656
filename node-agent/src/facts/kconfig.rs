//! The configuration that the running kernel was built with.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use bpf_object::kconfig::{Kconfig, MAX_CONFIG};
use bpfleet_fit::question::Answer;
use flate2::read::MultiGzDecoder;

use super::refusal;

/// A configuration, and where it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub config: Kconfig,
}

/// Where a kernel's configuration may stand, in the order in which it is looked for: what the kernel itself shows,
/// then files of the host by the kernel's release.
pub fn places(host_root: &Path, release: &str) -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("/proc/config.gz")];
    // A release is a file name here.
    if release.is_empty() || release.contains('/') {
        return places;
    }
    places.extend(
        [
            // Most distributions.
            format!("boot/config-{release}"),
            // Debian from 7.x on, Fedora CoreOS.
            format!("usr/lib/modules/{release}/config"),
            format!("lib/modules/{release}/config"),
            // OSTree.
            format!("usr/lib/ostree-boot/config-{release}"),
        ]
        .map(|place| host_root.join(place)),
    );
    places
}

/// Reads the first that there is. Why none was found names the places.
pub fn read(places: &[PathBuf]) -> Result<Found, String> {
    let mut denied = Vec::new();
    for path in places {
        match read_file(path) {
            Ok(text) => {
                return Ok(Found {
                    path: path.clone(),
                    config: Kconfig::parse(&text),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => denied.push(refusal::unreadable(path, &error)),
        }
    }
    let names: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
    let mut why = format!("the kernel's configuration is in none of {}", names.join(", "));
    for error in denied {
        why.push_str("; ");
        why.push_str(&error);
    }
    Err(why)
}

/// At most one byte more than a configuration may have, packed or not: [`Kconfig::parse`] tells that it was cut off.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let limit = MAX_CONFIG as u64 + 1;
    let file = File::open(path)?.take(limit);
    let mut text = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(file).take(limit).read_to_end(&mut text)?;
    } else {
        let mut file = file;
        file.read_to_end(&mut text)?;
    }
    Ok(text)
}

/// Whether an option has this value; none: `y` or `m`.
pub fn option(found: &Found, option: &str, value: Option<&str>) -> Answer {
    let Found { path, config } = found;
    let is = config.get(option);
    let fits = match (is, value) {
        (Some("y" | "m"), None) => true,
        // `# CONFIG_X is not set` is how `n` is written.
        (None | Some("n"), Some("n")) => true,
        (Some(is), Some(wanted)) => is == wanted,
        _ => false,
    };
    // A file that is damaged in one place can lack lines in another.
    if let (None, Some(bad)) = (is, config.bad_line()) {
        return Answer::Unknown(format!(
            "{} is damaged in line {}: {}",
            path.display(),
            bad.number,
            bad.text
        ));
    }
    if fits {
        return Answer::Yes;
    }
    Answer::No(match is {
        Some(is) => format!("{} has {option}={is}", path.display()),
        None => format!("{} has it not set", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn found(text: &str) -> Found {
        Found {
            path: "/config".into(),
            config: Kconfig::parse(text.as_bytes()),
        }
    }

    #[test]
    fn options_are_answered_as_the_file_has_them() {
        let text =
            "CONFIG_A=y\nCONFIG_M=m\n# CONFIG_N is not set\nCONFIG_HZ=250\nCONFIG_S=\"a b\"\nCONFIG_E=n\n";
        for (name, value, expected) in [
            ("CONFIG_A", None, true),
            ("CONFIG_M", None, true),
            ("CONFIG_N", None, false),
            ("CONFIG_E", None, false),
            ("CONFIG_HZ", None, false),
            ("CONFIG_A", Some("y"), true),
            ("CONFIG_M", Some("y"), false),
            ("CONFIG_N", Some("n"), true),
            ("CONFIG_E", Some("n"), true),
            ("CONFIG_GONE", Some("n"), true),
            ("CONFIG_A", Some("n"), false),
            ("CONFIG_HZ", Some("250"), true),
            ("CONFIG_HZ", Some("1000"), false),
            ("CONFIG_S", Some("\"a b\""), true),
        ] {
            let answer = option(&found(text), name, value);
            assert_eq!(answer.is_yes(), expected, "{name} {value:?} {answer:?}");
            assert!(!matches!(answer, Answer::Unknown(_)), "{answer:?}");
        }
        assert_eq!(
            option(&found(text), "CONFIG_M", Some("y")),
            Answer::No("/config has CONFIG_M=m".to_owned())
        );
    }

    #[test]
    fn what_a_damaged_file_lacks_is_unknown() {
        let damaged = found("CONFIG_A=y\nCONFIG_B\n");
        assert_eq!(option(&damaged, "CONFIG_A", None), Answer::Yes);
        assert!(matches!(
            option(&damaged, "CONFIG_C", Some("n")),
            Answer::Unknown(_)
        ));
    }

    #[test]
    fn a_file_of_the_host_is_found_by_the_release_and_none_names_the_places() {
        let root = tempfile::tempdir().unwrap();
        let host = &places(root.path(), "6.1.0")[1..];
        let why = read(host).unwrap_err();
        for place in [
            "boot/config-6.1.0",
            "lib/modules/6.1.0/config",
            "ostree-boot/config-6.1.0",
        ] {
            assert!(why.contains(place), "{why}");
        }
        let directory = root.path().join("usr/lib/modules/6.1.0");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config"), "CONFIG_A=y\n").unwrap();
        let found = read(host).unwrap();
        assert_eq!(found.path, directory.join("config"));
        assert_eq!(found.config.get("CONFIG_A"), Some("y"));
        assert_eq!(places(root.path(), "../../x").len(), 1);
    }

    #[test]
    fn what_unpacks_to_more_than_a_configuration_is_cut_off_and_said_to_be() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.gz");
        let mut packed = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::fast());
        let line = b"CONFIG_A=y\n".repeat(1 << 12);
        for _ in 0..2 * MAX_CONFIG / line.len() {
            packed.write_all(&line).unwrap();
        }
        packed.finish().unwrap();
        let found = read(&[path]).unwrap();
        assert!(found.config.bad_line().is_some_and(|bad| bad.cut_off));
        assert!(matches!(
            option(&found, "CONFIG_B", Some("n")),
            Answer::Unknown(_)
        ));
    }
}
