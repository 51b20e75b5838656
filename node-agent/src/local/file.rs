//! BpfPrograms in files: the same YAML as for a cluster, and objects beside it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use bpfleet_crds::{
    BpfProgramSpec, BpfRevisionSpec, Digest,
    canonical::revision_name,
    object::MAX_OBJECT_BYTES,
    revision::{RevisionObject, RevisionVariant},
    strict,
};
use serde::Deserialize;
use serde_json::Value;

/// Largest file with programs, in bytes; a ConfigMap of 1 MiB in base64 fits.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// A program of a file, ready to load.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalProgram {
    /// Name of its revision: the one it would have in a cluster.
    pub revision: String,
    /// The revision.
    pub spec: BpfRevisionSpec,
    /// Where each object lies.
    pub objects: BTreeMap<Digest, PathBuf>,
}

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Unreadable.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not YAML.
    #[error("{path} is not YAML: {source}")]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_norway::Error,
    },
    /// Not a BpfProgram.
    #[error("{path}: {what}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The object is not there.
    #[error("{path}: variant {variant} needs the object {object}, which cannot be read: {source}{hint}")]
    Object {
        /// The file with the program.
        path: PathBuf,
        /// The variant.
        variant: String,
        /// The object.
        object: PathBuf,
        /// Why.
        source: io::Error,
        /// What to do.
        hint: String,
    },
}

/// Reads all programs of all files.
pub fn read_all(files: &[PathBuf]) -> Result<Vec<LocalProgram>, FileError> {
    let mut programs: Vec<LocalProgram> = Vec::new();
    for path in files {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text));
        read.map_err(|source| FileError::Read {
            path: path.clone(),
            source,
        })?;
        let found = read_text(path, &text)?;
        if found.is_empty() {
            return Err(FileError::Invalid {
                path: path.clone(),
                what: "it holds no BpfProgram".to_owned(),
            });
        }
        for program in found {
            if programs
                .iter()
                .any(|known| known.spec.program == program.spec.program)
            {
                let what = format!("there is a second BpfProgram {}", program.spec.program);
                return Err(FileError::Invalid {
                    path: path.clone(),
                    what,
                });
            }
            programs.push(program);
        }
    }
    Ok(programs)
}

fn read_text(path: &Path, text: &str) -> Result<Vec<LocalProgram>, FileError> {
    let mut programs = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|source| FileError::Yaml {
            path: path.to_owned(),
            source,
        })?;
        if value.is_null() {
            continue;
        }
        match value.get("kind").and_then(Value::as_str) {
            Some("BpfProgram") => programs.push(program(path, value)?),
            kind => {
                let kind = kind.unwrap_or("a document without a kind");
                let what = format!("local mode takes BpfPrograms only, and this is {kind}");
                return Err(FileError::Invalid {
                    path: path.to_owned(),
                    what,
                });
            }
        }
    }
    Ok(programs)
}

fn program(path: &Path, mut value: Value) -> Result<LocalProgram, FileError> {
    let invalid = |what: String| FileError::Invalid {
        path: path.to_owned(),
        what,
    };
    let name = value
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let valid = !name.is_empty()
        && name.len() <= 63
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    if !valid {
        return Err(invalid(format!(
            "metadata.name {name:?} is no name for a BpfProgram"
        )));
    }
    let mut spec = value.get_mut("spec").map(Value::take).unwrap_or_default();
    let files = take_files(&mut spec);
    let spec: BpfProgramSpec =
        strict::from_value(&spec).map_err(|error| invalid(format!("BpfProgram {name}: spec: {error}")))?;
    if spec.node_selector.is_some() {
        tracing::info!(
            program = name,
            "spec.nodeSelector means nothing without a cluster"
        );
    }
    let (mut variants, mut objects) = (Vec::new(), BTreeMap::new());
    for (index, variant) in spec.variants.iter().enumerate() {
        let object = match (
            files.get(&index),
            &variant.object.config_map,
            &variant.object.image,
        ) {
            (Some(file), ..) => file.clone(),
            (None, Some(config_map), _) => config_map.key.clone(),
            (None, None, Some(image)) => {
                return Err(invalid(format!(
                    "variant {} comes from image {}, which the operator pulls in a cluster; without one, give \
                     object.file, a path relative to this file",
                    variant.name, image.reference
                )));
            }
            (None, None, None) => return Err(invalid(format!("variant {} has no object", variant.name))),
        };
        let object = path.parent().unwrap_or(Path::new("")).join(object);
        let object_path =
            fs::canonicalize(&object).and_then(|path| digest(&path).map(|digest| (path, digest)));
        let (object_path, (digest, size_bytes)) = object_path.map_err(|source| FileError::Object {
            path: path.to_owned(),
            variant: variant.name.clone(),
            hint: hint(&object),
            object: object.clone(),
            source,
        })?;
        objects.insert(digest, object_path);
        let object = RevisionObject {
            architecture: None,
            digest,
            size_bytes,
        };
        variants.push(RevisionVariant {
            name: variant.name.clone(),
            objects: vec![object],
            requires: variant.requires.clone(),
        });
    }
    let spec = BpfRevisionSpec {
        program: name,
        variants,
        hooks: spec.hooks,
        maps: spec.maps,
    };
    let revision = revision_name(&spec).map_err(|error| invalid(error.to_string()))?;
    Ok(LocalProgram {
        revision,
        spec,
        objects,
    })
}

/// `object.file` exists in local mode only, so it is taken out before the spec is read as the API has it. A
/// ConfigMap entry stands for the file with its key's name beside the YAML.
fn take_files(spec: &mut Value) -> BTreeMap<usize, String> {
    let mut files = BTreeMap::new();
    let variants = spec.get_mut("variants").and_then(Value::as_array_mut);
    for (index, variant) in variants.into_iter().flatten().enumerate() {
        if let Some(object) = variant.get_mut("object").and_then(Value::as_object_mut)
            && let Some(Value::String(file)) = object.remove("file")
        {
            files.insert(index, file);
        }
    }
    files
}

fn digest(path: &Path) -> io::Result<(Digest, u64)> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_OBJECT_BYTES + 1)
        .read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    if size > MAX_OBJECT_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_OBJECT_BYTES} bytes"
        )));
    }
    Ok((Digest::of(&bytes), size))
}

/// If the source lies where the object should, it has not been compiled.
fn hint(object: &Path) -> String {
    let source = object.with_extension("c");
    if source.exists() {
        format!(
            "; compile it: clang -O2 -g -target bpf -c {} -o {}",
            source.display(),
            object.display()
        )
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir_with(yaml: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.yaml");
        fs::write(&path, yaml).unwrap();
        fs::write(dir.path().join("o.bpf.o"), "object").unwrap();
        (dir, path)
    }

    fn yaml(object: &str) -> String {
        format!(
            "apiVersion: bpfleet.io/v1alpha1\nkind: BpfProgram\nmetadata: {{name: p}}\nspec:\n  variants:\n  - name: main\n    object: {object}\n"
        )
    }

    #[test]
    fn an_object_is_found_beside_the_file_by_file_or_by_key() {
        for object in ["{file: o.bpf.o}", "{configMap: {name: any, key: o.bpf.o}}"] {
            let (_dir, path) = dir_with(&yaml(object));
            let programs = read_all(&[path]).unwrap();
            assert_eq!(
                programs[0].spec.variants[0].objects[0].digest,
                Digest::of(b"object")
            );
            assert!(programs[0].revision.starts_with("p-"));
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (text, expected) in [
            (yaml("{image: {reference: r/x}}"), "give object.file"),
            (yaml("{file: missing.bpf.o}"), "missing.bpf.o"),
            (
                yaml("{file: o.bpf.o}").replace("variants", "variance"),
                "missing field `variants`",
            ),
            (
                format!("{}  globals: {{a: 1}}\n", yaml("{file: o.bpf.o}")),
                "unknown field: globals",
            ),
            (
                yaml("{file: o.bpf.o}").replace("name: p", "name: ../p"),
                "is no name",
            ),
            ("kind: Pod\n".to_owned(), "this is Pod"),
            ("a: [".to_owned(), "is not YAML"),
            (String::new(), "holds no BpfProgram"),
            (
                format!("{0}---\n{0}", yaml("{file: o.bpf.o}")),
                "a second BpfProgram p",
            ),
        ] {
            let (_dir, path) = dir_with(&text);
            let error = read_all(&[path]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_source_that_was_not_compiled_is_said_so() {
        let (dir, path) = dir_with(&yaml("{file: x.bpf.o}"));
        fs::write(dir.path().join("x.bpf.c"), "").unwrap();
        assert!(
            read_all(&[path])
                .unwrap_err()
                .to_string()
                .contains("clang -O2 -g -target bpf -c")
        );
    }
}
