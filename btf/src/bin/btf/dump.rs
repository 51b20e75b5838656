//! `btf dump`.

use std::path::PathBuf;

use crate::file;

#[derive(clap::Args)]
#[command(after_help = "Without a name every type is listed with its id.")]
pub struct Args {
    /// A file of BTF, or an ELF file with a .BTF section
    file: PathBuf,
    /// Name of a type, with or without its flavour: all that are called so are shown
    name: Option<String>,
    /// Read FILE as BTF of a module, on top of its kernel's
    #[arg(short = 'B', long, value_name = "FILE")]
    base_btf: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<(), String> {
    use std::io::Write;
    let base_bytes = args.base_btf.as_deref().map(file::contents).transpose()?;
    let bytes = file::contents(&args.file)?;
    let part = file::btf_part(&args.file, &bytes)?;
    let bad = |e| format!("{} cannot be read as BTF: {e}", args.file.display());
    let btf = match (&args.base_btf, &base_bytes) {
        (Some(path), Some(base)) => {
            let base = std::sync::Arc::new(file::open(path, base)?);
            btf::Btf::parse_split(part, base).map_err(bad)?
        }
        _ => btf::Btf::parse(part).map_err(bad)?,
    };
    let ids: Vec<u32> = match &args.name {
        None => (btf.first_id()..btf.len()).collect(),
        Some(name) => {
            let name = btf::essential(name.as_bytes());
            let mut found: Vec<u32> = btf.candidates(name).collect();
            found.extend(
                btf.types()
                    .filter(|t| matches!(t.kind(), btf::Kind::Func | btf::Kind::Var | btf::Kind::Datasec))
                    .filter(|t| btf::essential(t.name_bytes()) == name)
                    .map(|t| t.id()),
            );
            found
        }
    };
    if ids.is_empty()
        && let Some(name) = &args.name
    {
        return Err(format!("{} has no type called {name}", args.file.display()));
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for t in ids.into_iter().filter_map(|id| btf.get(id)) {
        match writeln!(out, "/* {} */ {}", t.id(), t.to_c()) {
            // `btf dump … | head`
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            done => done.map_err(|e| format!("cannot write: {e}"))?,
        }
    }
    match out.flush() {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("cannot write: {e}")),
        _ => Ok(()),
    }
}
