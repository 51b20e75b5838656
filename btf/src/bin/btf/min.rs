//! `btf min`.

use std::io::Write;
use std::path::{Path, PathBuf};

use btf::co_re::Targets;
use btf::{Source, minimize};

use crate::file;

#[derive(clap::Args)]
#[command(
    after_help = "What is left answers every CO-RE relocation of the objects as the whole does. Use it where a kernel \
                  carries no BTF of its own (libbpf: btf_custom_path); never where it does, for type ids are given \
                  anew."
)]
pub struct Args {
    /// eBPF objects, as clang wrote them
    #[arg(required = true, value_name = "OBJECT")]
    objects: Vec<PathBuf>,
    /// BTF of the kernel: a file of BTF, or an ELF file with a .BTF section
    #[arg(long, value_name = "FILE")]
    btf: PathBuf,
    /// BTF of a module of that kernel, searched for types that the kernel itself has not; may be repeated
    #[arg(long = "module", value_name = "FILE")]
    modules: Vec<PathBuf>,
    /// Where to write what is left; - for standard output
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Say how many relocations found nothing
    #[arg(short, long)]
    verbose: bool,
}

pub fn run(args: &Args) -> Result<(), String> {
    let kernel_bytes = file::contents(&args.btf)?;
    let kernel = file::open(&args.btf, &kernel_bytes)?;
    let module_bytes = args
        .modules
        .iter()
        .map(|path| Ok((path.clone(), file::contents(path)?)))
        .collect::<Result<Vec<_>, String>>()?;
    let modules = file::open_modules(&kernel_bytes, &args.btf, &module_bytes)?;
    let object_bytes = args
        .objects
        .iter()
        .map(|path| file::contents(path))
        .collect::<Result<Vec<_>, String>>()?;
    let objects = args
        .objects
        .iter()
        .zip(&object_bytes)
        .map(|(path, bytes)| file::object(path, bytes))
        .collect::<Result<Vec<_>, String>>()?;
    let sources: Vec<Source<'_>> = objects
        .iter()
        .map(|(btf, relocations)| Source { btf, relocations })
        .collect();
    let targets = Targets {
        kernel: &kernel,
        modules: &modules,
    };
    let left =
        minimize(&sources, targets).map_err(|e| format!("{} cannot be cut down: {e}", args.btf.display()))?;
    if args.verbose {
        anstream::eprintln!(
            "btf: {} bytes; {} relocations found what they ask for, {} did not",
            left.bytes.len(),
            left.found,
            left.missing
        );
    }
    write(&args.output, &left.bytes)
}

/// Writes the whole or nothing: who reads the file meanwhile sees the one before.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let cannot = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    if path == Path::new("-") {
        return std::io::stdout().write_all(bytes).map_err(cannot);
    }
    // A device or a pipe cannot be replaced.
    if path.symlink_metadata().is_ok_and(|m| !m.is_file()) {
        return std::fs::write(path, bytes).map_err(cannot);
    }
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.tempfile_in(directory).map_err(cannot)?;
    file.write_all(bytes).map_err(cannot)?;
    file.persist(path).map(drop).map_err(|e| cannot(e.error))
}
