//! Security modules, lockdown, secure boot, rights of this process.

use std::{fs, io, path::Path};

use bpf_object::kconfig::Kconfig;
use bpfleet_crds::node::Fact;
use bpfleet_fit::question::Answer;

use crate::kernel::probe;

const LSM_FILE: &str = "/sys/kernel/security/lsm";
/// Names of security modules by number, from 100 on (include/uapi/linux/lsm.h).
const MODULES: [&str; 14] = [
    "capability",
    "selinux",
    "smack",
    "tomoyo",
    "apparmor",
    "yama",
    "loadpin",
    "safesetid",
    "lockdown",
    "bpf",
    "landlock",
    "ima",
    "evm",
    "ipe",
];

/// The active security modules, in order; why they are not known.
pub fn active_modules(kconfig: impl FnOnce() -> Result<Kconfig, String>) -> Result<Vec<String>, String> {
    if let Ok(text) = fs::read_to_string(LSM_FILE) {
        return Ok(list(&text));
    }
    // securityfs is not mounted; from 6.8 on the kernel can be asked.
    if let Ok(ids) = probe::security::active_modules() {
        return Ok(ids.into_iter().map(module_name).collect());
    }
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let config = kconfig().map_err(|why| {
        format!("the active security modules are not known: {LSM_FILE} cannot be read (mount securityfs), and {why}")
    })?;
    configured_modules(&command_line, config.get("CONFIG_LSM")).ok_or_else(|| {
        format!("the active security modules are not known: {LSM_FILE} cannot be read (mount securityfs)")
    })
}

fn list(text: &str) -> Vec<String> {
    text.trim()
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn module_name(id: u64) -> String {
    id.checked_sub(100)
        .and_then(|index| MODULES.get(usize::try_from(index).ok()?))
        .map_or_else(|| format!("lsm-{id}"), |name| (*name).to_owned())
}

/// What the kernel was told to activate: `lsm=` on its command line, or else its configuration. A kernel before 5.1,
/// which knows neither, has no eBPF there.
fn configured_modules(command_line: &str, config: Option<&str>) -> Option<Vec<String>> {
    let given = command_line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("lsm="))
        .next_back();
    given
        .map(list)
        .or_else(|| config.map(|value| list(value.trim_matches('"'))))
}

/// Whether eBPF programs can be security hooks.
pub fn bpf_is_active(active: &Result<Vec<String>, String>) -> Answer {
    match active {
        Ok(modules) if modules.iter().any(|name| name == "bpf") => Answer::Yes,
        Ok(modules) => Answer::No(format!(
            "`bpf` is not among the active security modules ({}): boot the node with lsm={}",
            modules.join(","),
            modules
                .iter()
                .map(String::as_str)
                .filter(|name| *name != "capability")
                .chain(["bpf"])
                .collect::<Vec<_>>()
                .join(",")
        )),
        Err(why) => Answer::Unknown(why.clone()),
    }
}

/// Whether the machine booted with secure boot.
pub fn secure_boot(root: &Path) -> Fact {
    const VARIABLE: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let mut any = Fact::Unknown;
    for base in [Path::new("/"), root] {
        match fs::read(base.join(VARIABLE)) {
            Ok(bytes) => return secure_boot_of(&bytes),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && base.join("sys/firmware").is_dir()
                    && !base.join("sys/firmware/efi").exists() =>
            {
                any = Fact::No;
            }
            Err(_) => {}
        }
    }
    any
}

/// Four bytes of attributes, then the value.
fn secure_boot_of(bytes: &[u8]) -> Fact {
    match bytes {
        [_, _, _, _, 0] => Fact::No,
        [_, _, _, _, 1] => Fact::Yes,
        _ => Fact::Unknown,
    }
}

/// Whether this process may ask the kernel everything: the bits of CAP_SYS_ADMIN, or of CAP_BPF and CAP_PERFMON
/// (5.8). Without them the verifier hides helpers, which would look like a No.
pub fn may_ask() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| may_ask_with(&status))
}

fn may_ask_with(status: &str) -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    const PERFMON_AND_BPF: u64 = 1 << 38 | 1 << 39;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    effective & SYS_ADMIN != 0 || effective & PERFMON_AND_BPF == PERFMON_AND_BPF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_from_the_command_line_before_the_configuration() {
        let modules = |line: &str, config: Option<&str>| {
            configured_modules(line, config).map(|modules| modules.join("+"))
        };
        assert_eq!(
            modules("quiet lsm=lockdown,bpf", Some("\"yama\"")).as_deref(),
            Some("lockdown+bpf")
        );
        assert_eq!(
            modules("quiet", Some("\"yama,bpf\"")).as_deref(),
            Some("yama+bpf")
        );
        assert_eq!(modules("lsm=a lsm=b", None).as_deref(), Some("b"));
        assert_eq!(modules("quiet", None), None);
        assert_eq!(modules("lsm=", Some("\"bpf\"")).as_deref(), Some(""));
    }

    #[test]
    fn without_bpf_among_them_the_answer_says_how_to_boot() {
        let active = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(bpf_is_active(&active(&["yama", "bpf"])), Answer::Yes);
        let Answer::No(why) = bpf_is_active(&active(&["capability", "yama"])) else {
            panic!("it is not No")
        };
        assert!(why.ends_with("boot the node with lsm=yama,bpf"), "{why}");
        assert!(matches!(
            bpf_is_active(&Err("why".to_owned())),
            Answer::Unknown(_)
        ));
        assert_eq!([module_name(109), module_name(7)], ["bpf", "lsm-7"]);
    }

    #[test]
    fn secure_boot_is_the_fifth_byte() {
        for (bytes, expected) in [
            (&[6, 0, 0, 0, 1][..], Fact::Yes),
            (&[6, 0, 0, 0, 0], Fact::No),
            (&[6, 0, 0, 0, 2], Fact::Unknown),
            (&[], Fact::Unknown),
        ] {
            assert_eq!(secure_boot_of(bytes), expected);
        }
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/firmware/efi/efivars")).unwrap();
        let variable = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
        fs::write(root.path().join(variable), [6, 0, 0, 0, 1]).unwrap();
        if !Path::new("/sys/firmware/efi").exists() {
            assert_eq!(secure_boot(root.path()), Fact::Yes);
        }
    }

    #[test]
    fn rights_are_those_that_show_every_helper() {
        for (bits, expected) in [
            ("000001fffeffffff", true),
            ("0000000000200000", true),
            ("000000c000000000", true),
            ("0000008000000000", false),
            ("0000000000000000", false),
            ("nonsense", false),
        ] {
            assert_eq!(
                may_ask_with(&format!("Name:\tx\nCapEff:\t{bits}\n")),
                expected,
                "{bits}"
            );
        }
        assert!(!may_ask_with(""));
    }
}
