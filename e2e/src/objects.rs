//! eBPF objects, compiled from C when a test needs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::error::{During, Error, Result, make_dir};
use crate::{binaries, tools};

const FLAGS: [&str; 5] = ["-O2", "-g", "-Wall", "-target", "bpf"];

/// Compiles a C source, given relative to the repository (`examples/x/x.bpf.c`), and returns the object.
///
/// The result is kept in the target directory under a hash of the preprocessed source and the flags.
pub fn compile(source: &str) -> Result<PathBuf> {
    compile_with(&tools::repository().join(source), &[])
}

/// Like [`compile`] for any path, with further compiler flags: `-DNAME=VALUE`, or `-target`, `bpfeb` for the
/// byte order that this machine does not have.
pub fn compile_with(source: &Path, flags: &[&str]) -> Result<PathBuf> {
    if !source.exists() {
        return Err(Error::Missing {
            path: source.to_owned(),
            hint: "no such C source in the repository".into(),
        });
    }
    let preprocessed = clang(source, flags, &["-E", "-o", "-"])?;
    let mut hash = Sha256::new();
    hash.update(FLAGS.join(" "));
    hash.update(flags.join(" "));
    hash.update(&preprocessed);
    let hash: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".bpf.c").unwrap_or(&name);
    let dir = binaries::dir()?.join("bpf-objects").join(hash);
    let object = dir.join(format!("{name}.bpf.o"));
    if !object.exists() {
        make_dir(&dir)?;
        let making =
            tempfile::tempdir_in(&dir).during(|| format!("making a directory in {}", dir.display()))?;
        let new = making.path().join("object");
        clang(source, flags, &["-c", "-o", &new.to_string_lossy()])?;
        std::fs::rename(&new, &object).during(|| format!("renaming to {}", object.display()))?;
    }
    Ok(object)
}

/// The bytes of a compiled source.
pub fn bytes(source: &str) -> Result<Vec<u8>> {
    let object = compile(source)?;
    std::fs::read(&object).during(|| format!("reading {}", object.display()))
}

fn clang(source: &Path, flags: &[&str], mode: &[&str]) -> Result<Vec<u8>> {
    // Debian keeps <asm/types.h> in a directory that only native targets search.
    let headers = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new("clang");
    command
        .args(FLAGS)
        .arg(headers)
        .args(flags)
        .args(mode)
        .arg(source);
    let output = command
        .output()
        .during(|| "running clang; install it with scripts/setup.sh")?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::Command {
        command: format!("clang {} {}", mode.join(" "), source.display()),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_compiled_once_per_content() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("t.bpf.c");
        std::fs::write(&source, "#include <linux/types.h>\n__u32 zero = N;").unwrap();
        let one = compile_with(&source, &["-DN=1"]).unwrap();
        assert_eq!(
            std::fs::read(&one).unwrap().get(18),
            Some(&247),
            "e_machine is BPF"
        );
        assert_eq!(compile_with(&source, &["-DN=1"]).unwrap(), one);
        assert_ne!(compile_with(&source, &["-DN=2"]).unwrap(), one);
    }

    #[test]
    fn a_further_target_replaces_the_usual_one() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("t.bpf.c");
        std::fs::write(&source, "int zero;").unwrap();
        let object = std::fs::read(compile_with(&source, &["-target", "bpfeb"]).unwrap()).unwrap();
        assert_eq!(object.get(5), Some(&2), "EI_DATA is big-endian");
    }

    #[test]
    fn every_program_of_the_tests_and_examples_compiles() {
        let repository = tools::repository();
        let examples = std::fs::read_dir(repository.join("examples"))
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let dirs = examples
            .filter(|path| path.is_dir())
            .chain([repository.join("e2e/programs")]);
        let files = dirs.flat_map(|dir| std::fs::read_dir(dir).unwrap().flatten());
        let sources = files
            .map(|file| file.path())
            .filter(|path| path.to_string_lossy().ends_with(".bpf.c"));
        for source in sources {
            compile_with(&source, &[]).unwrap();
        }
    }

    #[test]
    fn a_compiler_error_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("t.bpf.c");
        std::fs::write(&source, "this is no C").unwrap();
        assert!(
            compile_with(&source, &[])
                .unwrap_err()
                .to_string()
                .contains("error: ")
        );
    }
}
