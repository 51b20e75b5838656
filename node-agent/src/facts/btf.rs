//! BTF of the kernel and of its modules: where it is, and its bytes.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use bpfleet_crds::node::{BtfFacts, Fact};
use bpfleet_fit::{feature::ProgramType, question::Answer};

use super::{FactPaths, features, refusal};
use crate::kernel::{
    btf as kernel,
    probe::{
        self,
        buffer::Buffer,
        load::{Refused, load, return_zero},
    },
};

/// Where the kernel shows its own BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Most bytes of BTF that are read; a kernel's has some 5 MiB.
pub const MAX_BYTES: usize = 64 << 20;
/// Longest `detail` of the facts.
const MAX_DETAIL: usize = 255;

/// The kernel's own BTF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelBtf {
    /// In this file.
    File {
        /// Where.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// Hidden from the file system, as by a mount over /sys/kernel/btf, and read through bpf(2).
    Id {
        /// Id of the BTF object.
        id: u32,
        /// Its size in bytes.
        size: u64,
    },
    /// The kernel has none.
    None,
    /// It could not be found out; why.
    Unknown(String),
}

impl KernelBtf {
    /// Its bytes; none if there is no BTF.
    ///
    /// # Errors
    /// If it cannot be read, or has more than [`MAX_BYTES`].
    pub fn bytes(&self) -> io::Result<Option<Buffer>> {
        match self {
            Self::File { path, .. } => read_file(path).map(Some),
            Self::Id { id, .. } => read_object(kernel::open(*id)?.as_fd()).map(Some),
            Self::None => Ok(None),
            Self::Unknown(why) => Err(io::Error::other(why.clone())),
        }
    }

    /// Whether there is one.
    pub fn answer(&self) -> Answer {
        match self {
            Self::File { .. } | Self::Id { .. } => Answer::Yes,
            Self::None => Answer::No("this kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)".to_owned()),
            Self::Unknown(why) => Answer::Unknown(why.clone()),
        }
    }

    /// As the status has it.
    pub fn facts(&self) -> BtfFacts {
        let (kernel, size_bytes, detail) = match self {
            Self::File { size, .. } => (Fact::Yes, Some(*size), None),
            Self::Id { size, .. } => (
                Fact::Yes,
                Some(*size),
                Some(format!("{VMLINUX} is hidden; it is read through bpf(2)")),
            ),
            Self::None => (Fact::No, None, None),
            Self::Unknown(why) => (Fact::Unknown, None, Some(why.chars().take(MAX_DETAIL).collect())),
        };
        BtfFacts {
            kernel,
            size_bytes,
            detail,
        }
    }
}

/// Finds the kernel's BTF. A file that is given and is not the kernel's own path is taken at its word: there is no
/// other. Where the kernel's own path has nothing, the kernel is asked itself: a mount hides a file and no more.
pub fn kernel_btf(paths: &FactPaths) -> KernelBtf {
    let path = &paths.kernel_btf;
    let missing = match fs::metadata(path) {
        Ok(metadata) => {
            return KernelBtf::File {
                path: path.clone(),
                size: metadata.len(),
            };
        }
        Err(error) => error,
    };
    if path != Path::new(VMLINUX) {
        return match missing.kind() {
            io::ErrorKind::NotFound => KernelBtf::None,
            _ => KernelBtf::Unknown(refusal::unreadable(path, &missing)),
        };
    }
    let mut found = None;
    let listed = kernel::each(|info, _| {
        if info.name == "vmlinux" {
            found = Some(KernelBtf::Id {
                id: info.id,
                size: info.size.into(),
            });
        }
        found.is_none()
    });
    match (found, listed) {
        (Some(found), _) => found,
        (None, Ok(())) => {
            let trial = features::program_trial(ProgramType::Tracing);
            without_id(load(&trial, &return_zero()).map(drop))
        }
        // Before 4.18 there are no ids of BTF at all.
        (None, Err(error)) if probe::errno(&error) == libc::EINVAL => KernelBtf::None,
        (None, Err(error)) => KernelBtf::Unknown(format!(
            "there is no {VMLINUX}, and looking for BTF through bpf(2) failed with {}",
            refusal::name(probe::errno(&error))
        )),
    }
}

/// Before 5.11 the kernel's own BTF has no id, and the file is the only place to read it; but a program that attaches
/// to a type in it is refused in words that tell whether there is any.
fn without_id(tracing: Result<(), Refused>) -> KernelBtf {
    let refused = match tracing {
        Err(refused) if !refused.log.contains("attach_btf_id 1 is not a function") => refused,
        _ => {
            return KernelBtf::Unknown(format!(
                "the kernel has BTF, but {VMLINUX} is hidden, and before Linux 5.11 it can be read nowhere else: \
                 unmount what is mounted over it"
            ));
        }
    };
    if refusal::lacks_rights(refused.errno) && refused.log.is_empty() {
        let why = refusal::why_unknown("looking for it by loading a program", refused.errno);
        return KernelBtf::Unknown(format!("there is no {VMLINUX}, and {why}"));
    }
    KernelBtf::None
}

/// Names of the modules whose BTF the kernel has, sorted. They come and go with the modules.
pub fn module_names() -> io::Result<Vec<String>> {
    let mut names: Vec<String> = match fs::read_dir("/sys/kernel/btf") {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name != "vmlinux")
            .collect(),
        Err(_) => Vec::new(),
    };
    if names.is_empty() && !Path::new(VMLINUX).exists() {
        kernel::each(|info, _| {
            if info.name != "vmlinux" {
                names.push(info.name.clone());
            }
            true
        })?;
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// The BTF of one module; none if there is none of this name. It is split: its ids go on where the kernel's end.
///
/// # Errors
/// If it cannot be read, or has more than [`MAX_BYTES`].
pub fn module_bytes(module: &str) -> io::Result<Option<Buffer>> {
    // A name that leads elsewhere is no module's.
    let file = Path::new("/sys/kernel/btf").join(module);
    if !module.contains('/') && module != "vmlinux" && file.is_file() {
        return read_file(&file).map(Some);
    }
    match module_fd(module)? {
        Some(fd) => read_object(fd.as_fd()).map(Some),
        None => Ok(None),
    }
}

/// The BTF object of a module, for loading programs that attach to its functions.
///
/// # Errors
/// If BTF objects cannot be listed.
pub fn module_fd(module: &str) -> io::Result<Option<OwnedFd>> {
    if module == "vmlinux" {
        return Ok(None);
    }
    kernel::by_name(module)
}

fn room_for(size: u64) -> io::Result<Buffer> {
    match usize::try_from(size) {
        Ok(size) if size <= MAX_BYTES => Buffer::new(size),
        _ => Err(io::Error::other(format!(
            "it has {size} bytes, of which at most {MAX_BYTES} are read"
        ))),
    }
}

fn read_object(btf: BorrowedFd<'_>) -> io::Result<Buffer> {
    let mut bytes = room_for(kernel::info(btf)?.size.into())?;
    kernel::read(btf, &mut bytes)?;
    Ok(bytes)
}

fn read_file(path: &Path) -> io::Result<Buffer> {
    let mut file = File::open(path)?;
    let mut bytes = room_for(file.metadata()?.len())?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(kernel_btf: &str) -> FactPaths {
        FactPaths {
            kernel_btf: kernel_btf.into(),
            ..FactPaths::of_this_machine()
        }
    }

    #[test]
    fn a_file_that_is_given_is_taken_at_its_word() {
        assert_eq!(kernel_btf(&paths("/nonexistent")), KernelBtf::None);
        let file = kernel_btf(&paths("/proc/self/exe"));
        assert_eq!(file.facts().kernel, Fact::Yes);
        assert!(file.facts().size_bytes.is_some_and(|size| size > 0));
        let odd = kernel_btf(&paths("/proc/self/exe/x"));
        assert_eq!(odd.facts().kernel, Fact::Unknown, "{odd:?}");
    }

    #[test]
    fn the_kernel_has_the_same_bytes_by_id_as_in_the_file() {
        let Ok(file) = fs::read(VMLINUX) else {
            eprintln!("this kernel has no BTF");
            return;
        };
        let mut found = None;
        kernel::each(|info, _| {
            if info.name == "vmlinux" {
                found = Some(info.id);
            }
            true
        })
        .unwrap();
        let by_id = KernelBtf::Id {
            id: found.expect("vmlinux has an id since 5.11"),
            size: file.len() as u64,
        };
        assert!(by_id.bytes().unwrap().is_some_and(|bytes| *bytes == *file));
        assert!(
            by_id
                .facts()
                .detail
                .is_some_and(|detail| detail.contains("bpf(2)"))
        );
    }

    #[test]
    fn btf_that_is_hidden_and_cannot_be_read_otherwise_is_not_none() {
        let refused = |errno, log: &str| {
            without_id(Err(Refused {
                errno,
                log: log.to_owned(),
            }))
        };
        let hidden = refused(libc::EINVAL, "attach_btf_id 1 is not a function\n");
        assert!(matches!(hidden, KernelBtf::Unknown(why) if why.contains("hidden")));
        assert!(matches!(refused(libc::EPERM, ""), KernelBtf::Unknown(_)));
        let words = "FENTRY/FEXIT program can only be attached to another program annotated with BTF\n";
        assert_eq!(refused(libc::EINVAL, words), KernelBtf::None);
        assert_eq!(refused(libc::EINVAL, ""), KernelBtf::None);
    }

    #[test]
    fn a_module_that_is_not_there_has_no_btf() {
        for name in ["bpfleet_no_such_module", "../btf/vmlinux", "vmlinux"] {
            assert!(module_bytes(name).unwrap().is_none(), "{name}");
        }
        for name in module_names().unwrap() {
            assert!(
                module_bytes(&name)
                    .unwrap()
                    .is_some_and(|bytes| !bytes.is_empty())
            );
        }
    }
}
