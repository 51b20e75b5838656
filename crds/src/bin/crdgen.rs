//! Writes the CRDs from the Rust types into the chart, or to standard output for other uses.

use std::{env, fs, path::Path, process::ExitCode};

use bpfleet_crds::manifests::{ManifestError, crds, helm_template, yaml};

const USAGE: &str = "\
Writes the CRDs of bpfleet.

Usage: crdgen DIRECTORY     one Helm template a CRD into DIRECTORY (charts/bpfleet/templates/crds)
       crdgen --stdout      plain YAML, all in one stream, for kubectl apply -f -
";

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: std::io::Error },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [flag] if flag == "--stdout" => print_plain(),
        [directory] if !directory.starts_with('-') => write_templates(Path::new(directory)),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_plain() -> Result<(), Error> {
    for (_, crd) in crds()? {
        print!("---\n{}", yaml(&crd)?);
    }
    Ok(())
}

fn write_templates(directory: &Path) -> Result<(), Error> {
    for (name, crd) in crds()? {
        let path = directory.join(name);
        fs::write(&path, helm_template(&crd)?).map_err(|source| Error::Write {
            path: path.display().to_string(),
            source,
        })?;
    }
    Ok(())
}
