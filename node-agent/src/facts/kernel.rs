//! Release, version, architecture, lockdown.

use std::{fs, path::Path};

use aya::util::KernelVersion;
use nix::sys::utsname::uname;

/// What uname(2) tells.
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// The version as LINUX_VERSION_CODE has it.
    pub version: String,
    /// In Kubernetes' words.
    pub architecture: String,
}

/// Reads it.
pub fn read() -> Kernel {
    let (release, machine) = uname().map_or_else(
        |_| Default::default(),
        |names| {
            (
                names.release().to_string_lossy().into_owned(),
                names.machine().to_string_lossy().into_owned(),
            )
        },
    );
    // Debian and Ubuntu keep the upstream version elsewhere than in the release; aya knows where.
    let version = KernelVersion::current().map_or_else(
        |_| release.clone(),
        |version| {
            let code = version.code();
            format!("{}.{}.{}", code >> 16, (code >> 8) & 0xff, code & 0xff)
        },
    );
    Kernel {
        release,
        version,
        architecture: architecture(&machine).to_owned(),
    }
}

/// A machine of `uname -m` in Kubernetes' words.
pub fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i386" | "i686" => "386",
        other => other,
    }
}

/// The mode in brackets of `none [integrity] confidentiality`; absent when the kernel has no lockdown.
pub fn lockdown(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_kubernetes_names() {
        for (machine, expected) in [("x86_64", "amd64"), ("aarch64", "arm64"), ("s390x", "s390x")] {
            assert_eq!(architecture(machine), expected);
        }
    }

    #[test]
    fn the_lockdown_mode_is_the_one_in_brackets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "none [integrity] confidentiality\n").unwrap();
        assert_eq!(lockdown(file.path()).as_deref(), Some("integrity"));
        assert_eq!(lockdown(Path::new("/no/such/file")), None);
    }

    #[test]
    fn this_kernel_has_a_version_of_three_numbers() {
        let kernel = read();
        assert_eq!(kernel.version.split('.').count(), 3, "{}", kernel.version);
        assert!(!kernel.release.is_empty());
    }
}
