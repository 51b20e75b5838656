//! A kernel without BTF, which no Debian suite has: built from Debian's source with a configuration of our own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::error::{During, Error, Result, make_dir, write_file};
use crate::process::{Launch, tail};

/// What is unpacked of the package.
pub(super) const GLOBS: &[&str] = &["./usr/src/*"];

const CONFIG: &str = include_str!("no-btf.config");

/// Name of the log of the build.
const LOG: &str = "build";
/// Longest time for a step of it: minutes on two processors.
const LONG: Duration = Duration::from_secs(3600);

/// Changes with the configuration.
pub(super) fn config_digest() -> String {
    Sha256::digest(CONFIG)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Builds the source of `package` that was unpacked in `dir`, of which only what is built stays. It is laid out as
/// in Debian's packages.
pub(super) fn build(dir: &Path, package: &str) -> Result<()> {
    let started = Instant::now();
    let archive = dir.join("usr/src").join(format!("{package}.tar.xz"));
    let source = dir.join("source");
    make_dir(&source)?;
    eprintln!(
        "vm: building a kernel without BTF (once, for minutes; its log is {}/{LOG}.log)",
        dir.display()
    );
    let (archive, into) = (archive.to_string_lossy(), source.to_string_lossy());
    let unpack = ["tar", "-x", "--strip-components=1", "-f", &archive, "-C", &into];
    run(dir, &unpack, &[])?;
    let wanted = source.join("wanted.config");
    write_file(&wanted, CONFIG)?;
    let all_config = wanted.to_string_lossy();
    let make = ["make", "-s", "-C", &into];
    run(
        dir,
        &[&make[..], &["allnoconfig"]].concat(),
        &[("KCONFIG_ALLCONFIG", &all_config)],
    )?;
    let got = source.join(".config");
    let got = fs::read_to_string(&got).during(|| format!("reading {}", got.display()))?;
    let lost = lost(CONFIG, &got);
    if !lost.is_empty() {
        return Err(Error::Other(format!(
            "e2e/src/vm/no-btf.config asks for what {package} does not have, or not without more: {}",
            lost.join(", ")
        )));
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = format!("-j{jobs}");
    run(dir, &[&make[..], &[&jobs, "bzImage"]].concat(), &[])?;
    let release = source.join("include/config/kernel.release");
    let release = fs::read_to_string(&release).during(|| format!("reading {}", release.display()))?;
    let release = release.trim();
    make_dir(&dir.join("boot"))?;
    make_dir(&dir.join("lib/modules").join(release))?;
    for (from, to) in [
        ("arch/x86/boot/bzImage", "vmlinuz"),
        (".config", "config"),
        ("System.map", "System.map"),
    ] {
        let to = dir.join(format!("boot/{to}-{release}"));
        fs::rename(source.join(from), &to).during(|| format!("moving {from} to {}", to.display()))?;
    }
    for gone in [&source, &dir.join("usr")] {
        fs::remove_dir_all(gone).during(|| format!("removing {}", gone.display()))?;
    }
    eprintln!(
        "vm: kernel {release} built in {:.0} s",
        started.elapsed().as_secs_f32()
    );
    Ok(())
}

/// The settings of one configuration that another does not have.
fn lost<'w>(wanted: &'w str, got: &str) -> Vec<&'w str> {
    wanted
        .lines()
        .filter(|line| line.starts_with("CONFIG_") && !got.lines().any(|other| other == *line))
        .collect()
}

/// Runs a command to its end. It ends with this process, which nobody but it keeps from beginning anew.
fn run(dir: &Path, command: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let (program, args) = command.split_first().unwrap_or((&"true", &[]));
    let mut launch = Launch::new(LOG, *program).args(args.iter().copied());
    // That of a make that runs the tests says what this one cannot know.
    for (name, value) in env.iter().chain(&[("MAKEFLAGS", ""), ("MFLAGS", "")]) {
        launch = launch.env(name, *value);
    }
    let process = launch.start(dir)?;
    let status = process.wait(LONG)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Command {
        command: command.join(" "),
        status,
        output: format!(
            "{}\n(scripts/setup.sh installs what building a kernel needs)",
            tail(process.log(), 30)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_did_not_last_is_told() {
        let wanted = "# why\nCONFIG_A=y\nCONFIG_B=y\n";
        assert_eq!(
            lost(wanted, "CONFIG_A=y\n# CONFIG_B is not set\n"),
            ["CONFIG_B=y"]
        );
        assert!(!CONFIG.contains("BTF=y"));
    }
}
