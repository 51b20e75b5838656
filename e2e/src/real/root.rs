//! A node's file systems.
//!
//! Its root, and whatever else of the host holds programs and data, is an overlay with what the node writes
//! in a tmpfs of its own. So a node changes nothing of the host's files, holds none of its bpffs and
//! containers, and needs no tidying up: its disk ends with its mount namespace.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::options::{NodeOptions, Spec, Tracefs};
use crate::error::{During, Result, make_dir};

/// The node's disk, in its directory: what it writes.
const DISK: &str = "disk";
/// Directories of a node that can be written to, however its root is.
const WRITABLE: [&str; 6] = [
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/cni",
    "/var/log",
    "/run",
    "/tmp",
];
/// Machine-wide settings that a kubelet makes. It finds them as it wants them and leaves the machine alone.
const SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Gives the calling process, the first of a node, the node's file systems for those of the host.
pub(super) fn change(spec: &Spec) -> Result<()> {
    let root = spec.dir.join("root");
    let disk = spec.dir.join(DISK);
    let hosts_own = mounted()?;
    make_dir(&root)?;
    make_dir(&disk)?;
    attach("tmpfs", &disk, "tmpfs", MsFlags::empty(), Some("mode=0755"))?;
    // Overlays name their directories relative to it.
    chdir(&disk).during(|| format!("changing to {}", disk.display()))?;
    let within = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let mut parts = vec![PathBuf::from("/")];
    parts.extend(
        hosts_own
            .iter()
            .filter(|(dir, kind)| kept(dir, kind))
            .map(|(dir, _)| dir.clone()),
    );
    for (number, part) in parts.iter().enumerate() {
        let (upper, work) = (format!("upper{number}"), format!("work{number}"));
        make_dir(&disk.join(&upper))?;
        make_dir(&disk.join(&work))?;
        let options = format!("lowerdir={},upperdir={upper},workdir={work}", part.display());
        attach(
            "overlay",
            &within(part),
            "overlay",
            MsFlags::empty(),
            Some(&options),
        )?;
    }
    etc(spec, &root)?;
    for (number, dir) in WRITABLE.iter().enumerate() {
        let own = disk.join(format!("own{number}"));
        make_dir(&own)?;
        bind(&own, &within(Path::new(dir)), MsFlags::empty())?;
    }
    for dir in &spec.needed {
        bind(dir, &within(dir), MsFlags::MS_RDONLY)?;
    }
    bind(&spec.dir, &within(&spec.dir), MsFlags::empty())?;
    devices(&root)?;
    attach("proc", &root.join("proc"), "proc", quiet(), None)?;
    kernel(&spec.options, &root)?;
    settings(spec, &root)?;
    enter(&root)?;
    if spec.options.read_only_root {
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        for part in &parts {
            mount(None::<&str>, part, None::<&str>, read_only, None::<&str>)
                .during(|| format!("making the node's {} read-only", part.display()))?;
        }
    }
    // As systemd has it: what a pod mounts in a directory of the node can reach the node.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SHARED,
        None::<&str>,
    )
    .during(|| "making the node's mounts shared")
}

/// What makes this a machine of its own, and nothing of the host's name service.
fn etc(spec: &Spec, root: &Path) -> Result<()> {
    let id: String = crate::push::digest(spec.dir.to_string_lossy().as_bytes())
        .chars()
        .skip("sha256:".len())
        .take(32)
        .collect();
    for (name, text) in [
        ("hosts", spec.hosts.as_str()),
        ("hostname", &spec.options.name),
        ("resolv.conf", "# nobody outside the cluster is asked\n"),
        ("machine-id", &id),
    ] {
        let path = root.join("etc").join(name);
        // A link would lead to the host's file.
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, text).during(|| format!("writing the node's /etc/{name}"))?;
    }
    Ok(())
}

fn devices(root: &Path) -> Result<()> {
    let dev = root.join("dev");
    bind(Path::new("/dev"), &dev, MsFlags::empty())?;
    let options = "newinstance,ptmxmode=0666,mode=0620";
    attach(
        "devpts",
        &dev.join("pts"),
        "devpts",
        MsFlags::MS_NOEXEC,
        Some(options),
    )?;
    attach("tmpfs", &dev.join("shm"), "tmpfs", quiet(), Some("mode=1777"))
}

/// sysfs and what is mounted inside it.
fn kernel(options: &NodeOptions, root: &Path) -> Result<()> {
    let sys = root.join("sys");
    attach("sysfs", &sys, "sysfs", quiet(), None)?;
    control_groups(&sys.join("fs/cgroup"))?;
    if options.tracefs == Tracefs::Absent {
        hide_entry(&sys.join("kernel"), "tracing", &root.join("run"))?;
    }
    if options.tracefs == Tracefs::Mounted {
        attach("tracefs", &sys.join("kernel/tracing"), "tracefs", quiet(), None)?;
    }
    if !options.btf {
        let read_only = MsFlags::MS_RDONLY;
        attach(
            "tmpfs",
            &sys.join("kernel/btf"),
            "tmpfs",
            read_only,
            Some("size=4k"),
        )?;
    }
    if options.bpffs {
        attach("bpf", &sys.join("fs/bpf"), "bpf", quiet(), Some("mode=0700"))?;
    }
    // Where the kernel has AppArmor, containerd uses it, and looks for it here.
    let security = sys.join("kernel/security");
    if Path::new("/sys/module/apparmor").exists() && security.exists() {
        attach("securityfs", &security, "securityfs", quiet(), None)?;
    }
    Ok(())
}

/// The hierarchies that the host has, seen from this node's own group.
fn control_groups(dir: &Path) -> Result<()> {
    let text = std::fs::read_to_string("/proc/self/mounts").during(|| "reading /proc/self/mounts")?;
    let found: Vec<(&str, &str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let found = (fields.next()?, fields.next()?, fields.next()?);
            (found.0.starts_with("/sys/fs/cgroup") && found.1.starts_with("cgroup")).then_some(found)
        })
        .collect();
    if let [(_, "cgroup2", _)] = found.as_slice() {
        return attach("cgroup2", dir, "cgroup2", quiet(), None);
    }
    attach("tmpfs", dir, "tmpfs", quiet(), Some("mode=0755"))?;
    for (place, kind, options) in found {
        let name = Path::new(place).file_name().unwrap_or_default();
        // What the host's options say beyond the controllers is not an option of a new mount.
        let controllers: Vec<&str> = options
            .split(',')
            .filter(|option| !["rw", "ro", "relatime", "nosuid", "nodev", "noexec"].contains(option))
            .filter(|option| {
                !["xattr", "clone_children"].contains(option) && !option.contains("release_agent")
            })
            .flat_map(|option| {
                if option.starts_with("name=") {
                    vec!["none", option]
                } else {
                    vec![option]
                }
            })
            .collect();
        let options = (kind == "cgroup").then(|| controllers.join(","));
        let target = dir.join(name);
        make_dir(&target)?;
        attach(kind, &target, kind, quiet(), options.as_deref())?;
    }
    Ok(())
}

/// Makes a directory of sysfs appear without one of its entries: a tmpfs with the others mounted in it.
fn hide_entry(dir: &Path, hidden: &str, spare: &Path) -> Result<()> {
    let original = spare.join("original");
    bind(dir, &original, MsFlags::empty())?;
    attach("tmpfs", dir, "tmpfs", MsFlags::empty(), Some("mode=0755"))?;
    let entries = std::fs::read_dir(&original).during(|| format!("listing {}", dir.display()))?;
    for entry in entries.flatten().filter(|entry| entry.file_name() != hidden) {
        let target = dir.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            std::fs::write(&target, "").during(|| format!("making {}", target.display()))?;
        }
        bind(&entry.path(), &target, MsFlags::empty())?;
    }
    umount2(&original, MntFlags::MNT_DETACH).during(|| format!("unmounting {}", original.display()))?;
    std::fs::remove_dir(&original).during(|| format!("removing {}", original.display()))
}

/// Keeps the node from changing settings of the whole machine.
fn settings(spec: &Spec, root: &Path) -> Result<()> {
    let all = root.join("proc/sys");
    for name in ["kernel", "vm"] {
        bind(&all.join(name), &all.join(name), MsFlags::MS_RDONLY)?;
    }
    for (name, value) in SETTINGS {
        let setting = all.join(name);
        if setting.exists() {
            let file = spec.dir.join(DISK).join(name.replace('/', "."));
            std::fs::write(&file, value).during(|| format!("writing {}", file.display()))?;
            bind(&file, &setting, MsFlags::empty())?;
        }
    }
    let forward = root.join("proc/sys/net/ipv4/ip_forward");
    std::fs::write(forward, "1").during(|| "letting the node forward packets of its pods")
}

/// Makes `root` the root of everything and lets go of the host's.
fn enter(root: &Path) -> Result<()> {
    chdir(root).during(|| format!("changing to {}", root.display()))?;
    // With both the same, the old root lies over the new one until it is let go.
    pivot_root(".", ".").during(|| format!("making {} the root", root.display()))?;
    umount2(".", MntFlags::MNT_DETACH).during(|| "letting go of the host's root")?;
    chdir("/").during(|| "changing to the node's root")
}

/// Whether a mount of the host, beside its root, holds files that a node may need.
fn kept(dir: &Path, kind: &str) -> bool {
    let disk = ["btrfs", "xfs", "zfs", "f2fs", "overlay"].contains(&kind) || kind.starts_with("ext");
    let apart = ["/proc", "/sys", "/dev", "/run", "/tmp", "/var/lib", "/var/run"];
    disk && dir != Path::new("/") && !apart.iter().any(|prefix| dir.starts_with(prefix))
}

/// What is mounted now: where, and of which kind.
fn mounted() -> Result<Vec<(PathBuf, String)>> {
    let text = std::fs::read_to_string("/proc/self/mounts").during(|| "reading /proc/self/mounts")?;
    let found = text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((PathBuf::from(fields.next()?), fields.next()?.to_owned()))
    });
    Ok(found.collect())
}

fn quiet() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

fn attach(source: &str, target: &Path, kind: &str, flags: MsFlags, data: Option<&str>) -> Result<()> {
    mount(Some(source), target, Some(kind), flags, data)
        .during(|| format!("mounting {kind} at {}", target.display()))
}

/// Makes a file or directory appear at another path, which is made if it is to be a directory.
fn bind(source: &Path, target: &Path, flags: MsFlags) -> Result<()> {
    let what = || format!("mounting {} at {}", source.display(), target.display());
    if source.is_dir() {
        make_dir(target)?;
    }
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).during(what)?;
    if flags.is_empty() {
        return Ok(());
    }
    let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
    mount(None::<&str>, target, None::<&str>, again, None::<&str>).during(what)
}
