//! How QEMU is started for a guest.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use super::fetch::Kernel;
use super::initramfs::{self, Initramfs};
use crate::error::{Error, Result, make_dir};
use crate::process::Launch;
use crate::tools;

/// How a guest is started.
#[derive(Clone, Debug)]
pub struct GuestOptions {
    /// Its memory.
    pub memory_mib: u32,
    /// Its processors.
    pub cpus: u32,
    /// An empty directory is mounted over `/sys/kernel/btf`. The kernel itself still has its BTF.
    pub hide_btf: bool,
    /// Added to the kernel's command line.
    pub kernel_args: Vec<String>,
    /// Further arguments of the agent, where the guest is a node.
    pub agent_args: Vec<String>,
    /// Time to answer after its start.
    pub boot_timeout: Duration,
}

impl Default for GuestOptions {
    fn default() -> Self {
        Self {
            memory_mib: 512,
            cpus: 1,
            hide_btf: false,
            kernel_args: Vec::new(),
            agent_args: Vec::new(),
            boot_timeout: Duration::from_secs(120),
        }
    }
}

/// Starts a shell on this terminal in a guest, and returns when that has ended.
pub fn shell(kernel: &Kernel, options: &GuestOptions, dir: &Path) -> Result<()> {
    make_dir(dir)?;
    let image = dir.join("initramfs");
    write_image(kernel, &image)?;
    let qemu = launch(kernel.spec.name, kernel, options, &image, "bpfleet.shell")?;
    qemu.args(["-serial", "mon:stdio"]).foreground()
}

/// The part that all guests share is made once in a process.
pub(super) fn write_image(kernel: &Kernel, path: &Path) -> Result<u64> {
    static BASE: OnceLock<Result<Initramfs, String>> = OnceLock::new();
    let base = BASE
        .get_or_init(|| Initramfs::base().map_err(|error| format!("{error:?}")))
        .as_ref()
        .map_err(|error| Error::infrastructure(format!("the guests' file system: {error}")))?;
    let own = Initramfs::of_kernel(kernel)?;
    initramfs::write(path, &[base, &own])
}

pub(super) fn serial_file(path: &Path) -> [String; 2] {
    ["-serial".into(), format!("file:{}", escaped(path))]
}

/// QEMU takes a comma for the end of a value.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

pub(super) fn launch(
    name: &str,
    kernel: &Kernel,
    options: &GuestOptions,
    image: &Path,
    control: &str,
) -> Result<Launch> {
    let program = tools::installed("qemu-system-x86_64", "qemu-system-x86")
        .map_err(|error| Error::infrastructure(error.to_string()))?;
    let mut line = format!(
        "console=ttyS0 panic=-1 rdinit=/init mitigations=off random.trust_cpu=on bpfleet.name={name} {control}"
    );
    if options.hide_btf {
        line.push_str(" bpfleet.hide_btf");
    }
    for arg in &options.kernel_args {
        line.push(' ');
        line.push_str(arg);
    }
    Ok(Launch::new(format!("qemu-{name}"), program)
        // A kernel that panics ends QEMU: it would restart.
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        // Page tables of five levels are only slower to emulate.
        .args(["-machine", "pc", "-accel", "tcg", "-cpu", "max,la57=off"])
        .args(["-smp", &options.cpus.to_string()])
        .args(["-m", &format!("{}M", options.memory_mib)])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        .args(["-append", &line])
        .args(["-netdev", "user,id=net"])
        .args(["-device", "virtio-net-pci,netdev=net,romfile="])
        // It takes every request and keeps nothing.
        .args(["-blockdev", "null-co,node-name=disk,size=67108864,read-zeroes=on"])
        .args(["-device", "virtio-blk-pci,drive=disk"]))
}
