//! What a hook was attached to, as it was then. Links of network devices, cgroups and namespaces tell when their
//! target is gone; a probe on a file that was replaced or on a module that was unloaded says nothing, so what it
//! stands on is written down, and compared with what is there now.
//!
//! Nothing is compared where the kernel keeps the target as long as the hook is attached: a tracepoint's module (its
//! event or link holds it: perf_trace_init of kernel/trace/trace_event_perf.c, and from 5.0 on
//! bpf_get_raw_tracepoint), a trampoline's (from 5.12 on, when modules have had BTF for one release), and that of
//! many kprobes in one link (from 6.2 on; before, it is written down as for one kprobe).
//!
//! It lies beside the pins as the text of a symbolic link, see [`crate::notes`].

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use bpfleet_fit::{Attach, InterfaceSelector};
use serde::{Deserialize, Serialize};

use super::{entries, name, program_id};
use crate::{
    facts::below,
    load::{interface_index, request::NodePaths},
    record::{Instance, PROGRAM},
};

/// Name of the link that says it, in the hook's directory.
pub const WATCHED: &str = "watched";
/// Where the kernel shows its modules. A module that is loaded again is another directory: kernfs counts up its inode
/// numbers (fs/kernfs/dir.c).
const MODULES: &str = "/sys/module";
/// Most modules of one hook that are watched; a pattern may stand for functions of many.
const MAX_MODULES: usize = 32;

/// What is known of an attached hook besides its pins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Which of the hook's alternatives is attached, from 0.
    pub alternative: usize,
    /// Id of its program, which lives as long as it is attached.
    pub program: u32,
    /// How many links and records there were.
    pub instances: usize,
    /// What it stands on.
    pub targets: Vec<Target>,
}

/// Something that a hook stands on, and which one it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Where it is found.
    pub place: Place,
    /// Which it was; none if it was not there.
    pub identity: Option<Identity>,
}

/// Where a target is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// A network interface; none: that of the default route.
    Interface(Option<String>),
    /// A cgroup, by its path below the root of the hierarchy.
    Cgroup(String),
    /// A binary, by its path on the host.
    Binary(String),
    /// A module of the kernel.
    Module(String),
}

/// What differs when something else is in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity(u64, u64);

/// Where a hook's targets are found. `modules`: those of the functions that it is attached to.
pub fn places(attach: &Attach, modules: &BTreeSet<String>) -> Vec<Place> {
    let interface = |selector: &InterfaceSelector| match selector {
        InterfaceSelector::Name(name) => Place::Interface(Some(name.clone())),
        InterfaceSelector::DefaultRoute => Place::Interface(None),
    };
    match attach {
        Attach::Xdp { interface: on, .. }
        | Attach::Tcx { interface: on, .. }
        | Attach::TcFilter { interface: on, .. } => vec![interface(on)],
        Attach::Cgroup { path } | Attach::LsmCgroup { path, .. } => vec![Place::Cgroup(path.clone())],
        Attach::Uprobe { path, .. } | Attach::Usdt { path, .. } => vec![Place::Binary(path.clone())],
        Attach::Kprobe { .. } | Attach::Functions { .. } => modules
            .iter()
            .take(MAX_MODULES)
            .map(|module| Place::Module(module.clone()))
            .collect(),
        _ => Vec::new(),
    }
}

impl Place {
    /// What is there now.
    pub fn look(self, node: &NodePaths) -> Target {
        let identity = self.identity(node).ok().flatten();
        Target {
            place: self,
            identity,
        }
    }

    fn identity(&self, node: &NodePaths) -> io::Result<Option<Identity>> {
        let path = match self {
            Self::Interface(name) => {
                let selector = name
                    .clone()
                    .map_or(InterfaceSelector::DefaultRoute, InterfaceSelector::Name);
                return Ok(interface_index(&selector).map(|index| Identity(0, index.into())));
            }
            Self::Cgroup(path) => match &node.cgroup_root {
                Some(root) => below(root, path),
                None => return Ok(None),
            },
            Self::Binary(path) => below(&node.host_root, path),
            Self::Module(name) => Path::new(MODULES).join(name),
        };
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(Identity(found.dev(), found.ino()))),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Target {
    /// Why the hook does not reach its target any more; none if it does, or if its pins tell.
    pub fn lost(&self, node: &NodePaths) -> Option<String> {
        let what = match &self.place {
            Place::Binary(path) => format!("the binary {path}"),
            Place::Module(module) => format!("the kernel module {module}"),
            // Their links and records tell, also where a name means something else by now.
            Place::Interface(_) | Place::Cgroup(_) => return None,
        };
        let known = self.identity?;
        // What cannot be looked up is no news.
        let now = self.place.identity(node).ok()?;
        let why = match (&self.place, now) {
            (_, Some(now)) if now == known => return None,
            (Place::Binary(_), Some(_)) => "was replaced",
            (Place::Binary(_), None) => "is gone",
            (_, Some(_)) => "was unloaded and loaded again",
            (_, None) => "was unloaded",
        };
        Some(format!("{what} {why}"))
    }
}

impl Watched {
    /// What is there now in the places of these targets.
    pub fn now(&self, node: &NodePaths) -> Vec<Option<Identity>> {
        let now = |target: &Target| target.place.identity(node).ok().flatten();
        self.targets.iter().map(now).collect()
    }

    /// Writes it into a hook's directory, in which everything else is by now.
    pub fn write(mut self, hook_dir: &Path) -> io::Result<()> {
        self.instances = instances(hook_dir)?.len();
        self.program = program_id(&hook_dir.join(PROGRAM))?;
        self.write_as_it_is(hook_dir)
    }

    fn write_as_it_is(&self, hook_dir: &Path) -> io::Result<()> {
        symlink(serde_json::to_string(self)?, hook_dir.join(WATCHED))
    }

    /// Reads it back; none if an earlier version of the agent wrote nothing.
    pub fn read(hook_dir: &Path) -> Option<Self> {
        let text = fs::read_link(hook_dir.join(WATCHED)).ok()?;
        serde_json::from_str(text.to_str()?).ok()
    }
}

/// The links and records of a hook.
pub fn instances(hook_dir: &Path) -> io::Result<Vec<(PathBuf, Instance)>> {
    let with_instance = |path: PathBuf| {
        let instance = Instance::parse(name(&path)?)?;
        Some((path, instance))
    };
    Ok(entries(hook_dir)?.into_iter().filter_map(with_instance).collect())
}

#[cfg(test)]
mod tests {
    use bpfleet_fit::function::KernelFunction;

    use super::*;

    fn node(root: &Path) -> NodePaths {
        NodePaths {
            pin_root: root.to_owned(),
            kernel_btf: root.to_owned(),
            cgroup_root: Some(root.to_owned()),
            host_root: root.to_owned(),
            perf_links: true,
        }
    }

    #[test]
    fn a_binary_that_was_replaced_or_removed_is_lost_and_one_in_its_place_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (node, file) = (node(dir.path()), dir.path().join("tool"));
        fs::write(&file, "old").unwrap();
        let target = Place::Binary("/tool".into()).look(&node);
        assert_eq!(target.lost(&node), None);
        fs::write(dir.path().join("new"), "new").unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
        assert_eq!(target.lost(&node).unwrap(), "the binary /tool was replaced");
        fs::remove_file(&file).unwrap();
        assert_eq!(target.lost(&node).unwrap(), "the binary /tool is gone");
        assert_eq!(Place::Binary("/tool".into()).look(&node).identity, None);
    }

    #[test]
    fn a_module_that_is_not_loaded_was_unloaded() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target {
            place: Place::Module("bpfleet_no_such".into()),
            identity: Some(Identity(1, 2)),
        };
        assert_eq!(
            target.lost(&node(dir.path())).unwrap(),
            "the kernel module bpfleet_no_such was unloaded"
        );
    }

    #[test]
    fn each_kind_of_hook_has_its_places() {
        let kprobe = Attach::Kprobe {
            function: KernelFunction {
                module: None,
                name: "veth_xmit".into(),
                offset: 0,
            },
        };
        let xdp = Attach::Tcx {
            interface: InterfaceSelector::DefaultRoute,
            direction: bpfleet_crds::hook::Direction::Egress,
        };
        let cgroup = Attach::Cgroup { path: "/a".into() };
        let veth = BTreeSet::from(["veth".to_owned()]);
        assert_eq!(places(&kprobe, &veth), [Place::Module("veth".into())]);
        assert_eq!(places(&kprobe, &BTreeSet::new()), []);
        assert_eq!(places(&xdp, &BTreeSet::new()), [Place::Interface(None)]);
        assert_eq!(places(&cgroup, &veth), [Place::Cgroup("/a".into())]);
    }

    #[test]
    fn it_reads_back_whole_and_links_and_records_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        for record in ["link-0", "link-1", "program"] {
            fs::create_dir(dir.path().join(record)).unwrap();
        }
        let watched = Watched {
            alternative: 3,
            program: 7,
            instances: 2,
            targets: vec![Place::Binary("/x".repeat(512)).look(&node(dir.path()))],
        };
        watched.write_as_it_is(dir.path()).unwrap();
        assert_eq!(Watched::read(dir.path()), Some(watched));
        assert_eq!(instances(dir.path()).unwrap().len(), 2);
        assert_eq!(Watched::read(Path::new("/nowhere")), None);
    }
}
