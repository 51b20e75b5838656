//! The file system of a guest: busybox, the agent, the guest's own program, and some modules, as an initramfs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cpio::newc;
use nix::sys::stat::SFlag;

use super::fetch::Kernel;
use crate::error::{During, Error, Result};
use crate::{binaries, tools};

/// What brings the guest's network and disk; built in or modules.
const LOADED: &[&str] = &["virtio_pci", "virtio_net", "virtio_blk"];
/// What tests may load besides, with `modprobe`.
const LOADABLE: &[&str] = &[
    "nf_conntrack",
    "veth",
    "dummy",
    "tun",
    "loop",
    "null_blk",
    "nbd",
    "overlay",
    "cls_bpf",
    "act_bpf",
    "sch_ingress",
    "sch_fq",
    "bridge",
];

/// What the guest's first process runs, before the program that answers to the host.
const INIT: &str = include_str!("init.sh");

/// Files of a guest by path. A guest for each kernel differs in modules and little else.
#[derive(Debug, Default)]
pub struct Initramfs {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Dir,
    File {
        mode: u32,
        bytes: Vec<u8>,
    },
    Link(String),
    /// A character device.
    Device {
        major: u32,
        minor: u32,
    },
}

impl Initramfs {
    /// What all guests have.
    pub fn base() -> Result<Initramfs> {
        let mut image = Initramfs::default();
        for dir in [
            "/proc", "/sys", "/dev", "/tmp", "/run", "/root", "/var/lib", "/var/log",
        ] {
            image.dir(dir);
        }
        image.add("/dev/console", Entry::Device { major: 5, minor: 1 });
        image.file("/init", 0o755, INIT);
        image.file("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n");
        image.file("/etc/group", 0o644, "root:x:0:\n");
        image.file("/etc/hosts", 0o644, "127.0.0.1 localhost\n");

        let busybox = tools::installed("busybox", "busybox-static")?;
        for applet in output(Command::new(&busybox).arg("--list"))?.lines() {
            if applet != "busybox" {
                image.add(&format!("/bin/{applet}"), Entry::Link("busybox".into()));
            }
        }
        image.host_file("/bin/busybox", &busybox)?;
        image.add("/sbin", Entry::Link("bin".into()));

        let mut libraries = BTreeSet::new();
        for (name, program, strip) in [
            ("guest", binaries::find("bpfleet-e2e")?, true),
            ("bpfleet-agent", binaries::find("bpfleet-agent")?, true),
            ("bpftool", bpftool()?, false),
        ] {
            libraries.extend(libraries_of(&program)?);
            let to = format!("/bin/{name}");
            if strip {
                image.file(&to, 0o755, stripped(&program)?);
            } else {
                image.host_file(&to, &program)?;
            }
        }
        for library in libraries {
            image.host_file(&library.to_string_lossy(), &library)?;
        }
        Ok(image)
    }

    /// What belongs to one kernel.
    pub fn of_kernel(kernel: &Kernel) -> Result<Initramfs> {
        let mut image = Initramfs::default();
        let release = &kernel.release;
        image.host_file(&format!("/boot/config-{release}"), &kernel.config)?;
        image.file("/etc/os-release", 0o644, os_release(kernel));
        let dir = format!("/lib/modules/{release}");
        image.dir(&dir);
        let mut dep = String::new();
        for module in kernel.modules.closure(&[LOADED, LOADABLE].concat())? {
            // modprobe loads them from the last to the first.
            let needs = kernel.modules.closure(&[&module.name])?.into_iter().rev().skip(1);
            let needs: String = needs.map(|need| format!(" {}.ko", need.name)).collect();
            dep.push_str(&format!("{}.ko:{needs}\n", module.name));
            image.file(&format!("{dir}/{}.ko", module.name), 0o644, module.bytes);
        }
        image.file(&format!("{dir}/modules.dep"), 0o644, dep);
        let loaded = LOADED.iter().filter(|name| kernel.modules.has(name));
        let loaded: String = loaded.map(|name| format!("{name}\n")).collect();
        image.file("/etc/modules", 0o644, loaded);
        Ok(image)
    }

    /// Adds a file of our own making.
    pub fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.add(path, Entry::File { mode, bytes });
    }

    fn host_file(&mut self, to: &str, from: &Path) -> Result<()> {
        let about = || format!("reading {}", from.display());
        let bytes = std::fs::read(from).during(about)?;
        let mode = std::fs::metadata(from).during(about)?.permissions().mode() & 0o777;
        self.add(to, Entry::File { mode, bytes });
        Ok(())
    }

    fn dir(&mut self, path: &str) {
        self.add(path, Entry::Dir);
    }

    /// Adds an entry, and the directories that it lies in. In the order of their paths these come first.
    fn add(&mut self, path: &str, entry: Entry) {
        for (at, _) in path.match_indices('/').skip(1) {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry::Dir);
        }
        self.entries.insert(path.to_owned(), entry);
    }
}

/// Writes images one after the other into a cpio archive (newc), as Linux takes it. Returns its size.
pub fn write(path: &Path, images: &[&Initramfs]) -> Result<u64> {
    let about = || format!("writing {}", path.display());
    let file = std::fs::File::create(path).during(about)?;
    let mut out = std::io::BufWriter::with_capacity(1 << 20, file);
    let entries = images.iter().flat_map(|image| &image.entries);
    for (number, (path, entry)) in entries.enumerate() {
        entry
            .write(path.trim_start_matches('/'), number, &mut out)
            .during(about)?;
    }
    newc::trailer(&mut out).during(about)?;
    out.flush().during(about)?;
    out.get_ref().metadata().map(|meta| meta.len()).during(about)
}

impl Entry {
    fn write(&self, path: &str, number: usize, out: &mut impl Write) -> std::io::Result<()> {
        let number = u32::try_from(number + 1).map_err(std::io::Error::other)?;
        let (kind, mode, bytes): (_, _, &[u8]) = match self {
            Entry::Dir => (SFlag::S_IFDIR, 0o755, &[]),
            Entry::File { mode, bytes } => (SFlag::S_IFREG, *mode, bytes),
            Entry::Link(to) => (SFlag::S_IFLNK, 0o777, to.as_bytes()),
            Entry::Device { .. } => (SFlag::S_IFCHR, 0o600, &[]),
        };
        let mut header = newc::Builder::new(path)
            .ino(number)
            .nlink(1)
            .mode(kind.bits() | mode);
        if let Entry::Device { major, minor } = self {
            header = header.rdev_major(*major).rdev_minor(*minor);
        }
        let size = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        let mut writer = header.write(out, size);
        writer.write_all(bytes)?;
        writer.finish().map(drop)
    }
}

fn os_release(kernel: &Kernel) -> String {
    let version = kernel
        .spec
        .os_version
        .map(|version| format!("VERSION_ID=\"{version}\"\n"));
    format!(
        "PRETTY_NAME=\"Guest {} of Debian's kernels\"\nNAME=\"Debian GNU/Linux\"\nID=debian\n{}",
        kernel.spec.name,
        version.unwrap_or_default()
    )
}

/// Debian has a wrapper elsewhere in some releases; this is the program.
fn bpftool() -> Result<PathBuf> {
    tools::installed("bpftool", "bpftool")
}

/// The loader and the libraries of a program, where it finds them on this machine.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let text = output(Command::new("ldd").arg(program))?;
    let paths = text.lines().filter_map(|line| {
        let line = line.split(" => ").last()?.trim();
        let path = line.split(' ').next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    Ok(paths.collect())
}

/// A program without what only debuggers want, which is two thirds of it.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let dir = tempfile::tempdir().during(|| "making a temporary directory")?;
    let to = dir.path().join("stripped");
    output(Command::new("strip").arg("-o").arg(&to).arg(program))?;
    std::fs::read(&to).during(|| format!("reading {}", to.display()))
}

fn output(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let done = command.output().during(|| format!("running {line}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(Error::Command {
        command: line,
        status: done.status,
        output: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_directories_before_what_is_in_them() {
        let mut image = Initramfs::default();
        image.file("/a/b/file", 0o644, "content");
        image.add("/a-link", Entry::Link("a".into()));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        assert!(write(&path, &[&image]).unwrap() > 0);
        let mut file = std::fs::File::open(&path).unwrap();
        let mut names = Vec::new();
        loop {
            let reader = newc::Reader::new(file).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            file = reader.finish().unwrap();
        }
        assert_eq!(names, ["a", "a-link", "a/b", "a/b/file"]);
    }
}
