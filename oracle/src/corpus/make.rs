//! Making one part of the corpus out of Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::plan::Item;
use super::{about, carve, entries, name};
use crate::debian::{Archive, image};

/// What is unpacked: kernels with their configurations, tools, and some modules.
const GLOBS: &[&str] = &[
    "./boot/vmlinuz-*",
    "./boot/config-*",
    "./usr/lib/modules/*/vmlinuz",
    "./usr/lib/modules/*/config",
    "./usr/sbin/*",
];
/// Modules with many types of their own, from different corners of the kernel.
const MODULES: &[&str] = &[
    "nf_conntrack",
    "nf_tables",
    "xfs",
    "kvm",
    "bridge",
    "nfs",
    "tun",
    "veth",
];

/// Makes one item: unpacked below the stage, carved beside that, and renamed to its place when it is whole.
pub(super) fn make(dir: &Path, stage: &Path, archive: &Archive, item: &Item) -> Result<(), String> {
    let started = Instant::now();
    let key = item.place.replace('/', "-");
    let (raw, made) = (
        stage.join(format!("{key}.raw")),
        stage.join(format!("{key}.made")),
    );
    for path in [&raw, &made] {
        let _ = fs::remove_dir_all(path);
        fs::create_dir_all(path).map_err(about("creating", path))?;
    }
    let modules = MODULES
        .iter()
        .flat_map(|module| [format!("./*/{module}.ko"), format!("./*/{module}.ko.xz")]);
    let globs: Vec<_> = GLOBS.iter().map(ToString::to_string).chain(modules).collect();
    archive.unpack(&raw, &globs, &item.specs)?;
    if item.place.starts_with("objects/") {
        make_objects(&raw, &made)
    } else {
        make_kernel(&raw, &made)
    }?;
    let place = dir.join(&item.place);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(about("creating", parent))?;
    }
    fs::rename(&made, &place).map_err(about("renaming to", &place))?;
    let _ = fs::remove_dir_all(&raw);
    say!(
        "{} ({} MB, {:.1}s)",
        item.place,
        item.bytes / 1_000_000,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

fn make_objects(raw: &Path, made: &Path) -> Result<(), String> {
    for path in files(raw)? {
        let bytes = read(&path)?;
        // Debian ends the names so since trixie.
        let program = name(&path);
        let tool = program.trim_end_matches("-libbpf");
        for (i, object) in carve::objects(&bytes).into_iter().enumerate() {
            let more = if i == 0 {
                String::new()
            } else {
                format!("-{}", i + 1)
            };
            write(&made.join(format!("{tool}{more}.bpf.o")), object)?;
        }
    }
    Ok(())
}

fn make_kernel(raw: &Path, made: &Path) -> Result<(), String> {
    let files = files(raw)?;
    let named = |prefix: &str| files.iter().find(|f| name(f).starts_with(prefix));
    let image = named("vmlinuz").ok_or("the packages hold no vmlinuz")?;
    let bytes = read(image)?;
    let kernel = image::unpack(&bytes).map_err(|e| format!("{}: {e}", name(image)))?;
    let btf = carve::kernel_btf(&kernel).ok_or_else(|| format!("{} holds no BTF", name(image)))?;
    write(&made.join("vmlinux"), btf)?;
    if let Some(config) = named("config") {
        write(&made.join("config"), &read(config)?)?;
    }
    let modules = made.join("modules");
    fs::create_dir_all(&modules).map_err(about("creating", &modules))?;
    for path in &files {
        let file = name(path);
        let Some((module_name, packing)) = file.split_once(".ko") else {
            continue;
        };
        let mut module = read(path)?;
        if !packing.is_empty() {
            module = image::decompress(&module).map_err(|e| format!("{file}: {e}"))?;
        }
        if let Some(btf) = carve::module_btf(&module).map_err(|e| format!("{file}: {e}"))? {
            write(&modules.join(module_name), &btf)?;
        }
    }
    Ok(())
}

/// The regular files below a directory, in order of their paths.
fn files(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in entries(dir)? {
        let kind = path
            .symlink_metadata()
            .map_err(about("reading", &path))?
            .file_type();
        if kind.is_dir() {
            found.extend(files(&path)?);
        } else if kind.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(about("reading", path))
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(about("writing", path))
}
