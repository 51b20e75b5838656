//! Images that every node has from the start, made without a container engine and kept beside the tools.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::error::{During, Error, Result, make_dir};
use crate::push::{Layer, digest};
use crate::tools::{NodeTools, installed};

/// Debian's static busybox with all its commands in `/bin`, to be used with `imagePullPolicy: Never`.
pub const BUSYBOX: &str = "e2e.test/busybox:1";
/// What holds a pod's namespaces: busybox again, sleeping.
pub(super) const PAUSE: &str = "e2e.test/pause:1";
/// CoreDNS.
pub(super) const COREDNS: &str = "e2e.test/coredns:1";

/// Changes with the form of the archives, so that older ones in the cache are not taken.
const FORM: &str = "1";

/// Archives of all images, made now if need be.
pub fn all(tools: &NodeTools) -> Result<Vec<PathBuf>> {
    // <cache>/tools/<hash>/coredns
    let Some(cache) = tools.coredns.ancestors().nth(3) else {
        return Err(Error::Other(format!(
            "{} lies in no cache",
            tools.coredns.display()
        )));
    };
    let cache = cache.join("images");
    make_dir(&cache)?;
    let busybox = installed("busybox", "busybox-static")?;
    Ok(vec![
        kept(&cache, "busybox", &busybox, || {
            let sleep = json!(["/bin/sleep", "2147483647"]);
            archive(
                &busybox_layer()?,
                &[(BUSYBOX, json!(["/bin/sh"])), (PAUSE, sleep)],
            )
        })?,
        kept(&cache, "coredns", &tools.coredns, || {
            let mut layer = Tar::new();
            layer.file("coredns", &tools.coredns)?;
            archive(&layer.finish()?, &[(COREDNS, json!(["/coredns"]))])
        })?,
    ])
}

/// The layer of [`BUSYBOX`], for an image that a test pushes.
pub fn busybox() -> Result<Layer> {
    Ok(Layer {
        media_type: "application/vnd.oci.image.layer.v1.tar".into(),
        bytes: busybox_layer()?,
        annotations: Vec::new(),
    })
}

fn busybox_layer() -> Result<Vec<u8>> {
    let program = installed("busybox", "busybox-static")?;
    let list = Command::new(&program)
        .arg("--list")
        .output()
        .during(|| format!("asking {} for its commands", program.display()))?;
    let mut layer = Tar::new();
    layer.directory("bin/", 0o755)?;
    layer.file("bin/busybox", &program)?;
    for name in String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter(|name| *name != "busybox")
    {
        layer.link(&format!("bin/{name}"), "busybox")?;
    }
    layer.directory("tmp/", 0o1777)?;
    layer.finish()
}

/// The archive made of a program before, or a new one.
fn kept(cache: &Path, name: &str, program: &Path, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<PathBuf> {
    let what = std::fs::metadata(program).during(|| format!("finding {}", program.display()))?;
    let identity = format!("{FORM} {} {} {}", program.display(), what.len(), what.mtime());
    let key: String = digest(identity.as_bytes())
        .chars()
        .skip("sha256:".len())
        .take(16)
        .collect();
    let path = cache.join(format!("{name}-{key}.tar"));
    if path.exists() {
        return Ok(path);
    }
    // Several test processes may make it at the same time.
    let failed = || format!("writing {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(cache).during(failed)?;
    file.write_all(&make()?).during(failed)?;
    file.persist(&path).map_err(|error| error.error).during(failed)?;
    Ok(path)
}

/// An archive as `docker save` writes it: images that share a layer, each with its entrypoint.
fn archive(layer: &[u8], images: &[(&str, serde_json::Value)]) -> Result<Vec<u8>> {
    let id = digest(layer);
    let layer_file = format!("{}.tar", id.trim_start_matches("sha256:"));
    let mut archive = Tar::new();
    archive.bytes(&layer_file, layer, 0o644)?;
    let mut manifest = Vec::new();
    for (name, entrypoint) in images {
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [id]},
        })
        .to_string();
        let config_file = format!("{}.json", digest(config.as_bytes()).trim_start_matches("sha256:"));
        archive.bytes(&config_file, config.as_bytes(), 0o644)?;
        manifest.push(json!({"Config": config_file, "RepoTags": [name], "Layers": [layer_file]}));
    }
    archive.bytes("manifest.json", json!(manifest).to_string().as_bytes(), 0o644)?;
    archive.finish()
}

/// This machine's architecture, as Go and images call it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A tar archive that depends on nothing but what is put into it.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Tar {
        Tar(tar::Builder::new(Vec::new()))
    }

    fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header
    }

    fn bytes(&mut self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let mut header = Tar::header(tar::EntryType::Regular, mode);
        header.set_size(bytes.len() as u64);
        self.0
            .append_data(&mut header, name, bytes)
            .during(|| format!("adding {name} to an image"))
    }

    fn file(&mut self, name: &str, path: &Path) -> Result<()> {
        let what = || format!("reading {}", path.display());
        let mode = std::fs::metadata(path).during(what)?.permissions().mode();
        self.bytes(name, &std::fs::read(path).during(what)?, mode & 0o777)
    }

    fn directory(&mut self, name: &str, mode: u32) -> Result<()> {
        let mut header = Tar::header(tar::EntryType::Directory, mode);
        self.0
            .append_data(&mut header, name, [].as_slice())
            .during(|| format!("adding {name} to an image"))
    }

    fn link(&mut self, name: &str, target: &str) -> Result<()> {
        let mut header = Tar::header(tar::EntryType::Symlink, 0o777);
        self.0
            .append_link(&mut header, name, target)
            .during(|| format!("adding {name} to an image"))
    }

    fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner().during(|| "finishing an archive")
    }
}

/// Where the network plugins of containers are.
pub fn cni_programs() -> Result<PathBuf> {
    let found = ["/usr/lib/cni", "/opt/cni/bin"]
        .map(PathBuf::from)
        .into_iter()
        .find(|dir| dir.join("ptp").exists());
    found.ok_or_else(|| Error::Missing {
        path: "/usr/lib/cni/ptp".into(),
        hint: "install it with scripts/setup.sh (Debian package containernetworking-plugins)".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_depends_on_its_content_alone() {
        let made = || {
            let layer = busybox_layer().unwrap();
            archive(
                &layer,
                &[(BUSYBOX, json!(["/bin/sh"])), (PAUSE, json!(["/bin/sleep", "1"]))],
            )
            .unwrap()
        };
        let first = made();
        assert_eq!(digest(&first), digest(&made()));
        let mut archive = tar::Archive::new(first.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            names.len(),
            4,
            "a layer that both share, two configurations, a list: {names:?}"
        );
    }
}
