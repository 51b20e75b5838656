//! `bpfleet-e2e vm`: one guest for a person.

use std::io::Write;
use std::time::Duration;

use bpfleet_e2e::error::{During, Error, Result};
use bpfleet_e2e::scratch::Scratch;
use bpfleet_e2e::vm::kernels::TABLE;
use bpfleet_e2e::vm::{self, GuestOptions, Machine, qemu};

/// Longest run of a command in a guest.
const LONG: Duration = Duration::from_secs(3600);

const EXAMPLES: &str = "\
Examples:
  bpfleet-e2e vm --list                                  which kernels there are
  bpfleet-e2e vm --kernel v5-10                          a shell in a guest; Ctrl-D ends it
  bpfleet-e2e vm --kernel newest -- bpfleet-agent facts  one command, with its output
  bpfleet-e2e vm --kernel v6-1 -- sh -c 'modprobe veth; ls /sys/class/net'

A guest is Linux with busybox, bpftool and bpfleet-agent, which has to be built before
(`cargo build --workspace --bins`). All is in memory, and nothing of it stays. It reaches this
machine's loopback at 10.0.2.2, and has an empty disk, /dev/vda. Ctrl-A X kills it.
Kernels are fetched from Debian's archive into the cache when they are first used.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The kernel, one of --list
    #[arg(long, value_name = "NAME", required_unless_present_any = ["list", "fetch"])]
    kernel: Option<String>,
    /// Show the kernels, and end
    #[arg(long)]
    list: bool,
    /// Fetch the kernels that tests take (all of them with BPFLEET_VM=all) as far as they are missing, and end
    #[arg(long)]
    fetch: bool,
    /// Hide the kernel's BTF from programs: an empty directory is mounted over it
    #[arg(long)]
    hide_btf: bool,
    /// Memory in MiB
    #[arg(long, default_value_t = GuestOptions::default().memory_mib)]
    memory: u32,
    /// Processors
    #[arg(long, default_value_t = GuestOptions::default().cpus)]
    cpus: u32,
    /// Runs this instead of a shell
    #[arg(last = true)]
    command: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        return list();
    }
    if arguments.fetch {
        return vm::ensure(&vm::matrix()?).map(drop);
    }
    let name = arguments.kernel.as_deref().unwrap_or_default();
    let kernels = vm::ensure(&[vm::find(name)?])?;
    let options = GuestOptions {
        memory_mib: arguments.memory,
        cpus: arguments.cpus,
        hide_btf: arguments.hide_btf,
        ..GuestOptions::default()
    };
    let scratch = Scratch::new("vm")?;
    for kernel in &kernels {
        if arguments.command.is_empty() {
            qemu::shell(kernel, &options, scratch.path())?;
            continue;
        }
        let machine = Machine::boot(name, kernel, &options, scratch.path(), &scratch.dir("logs")?)?;
        eprintln!(
            "{}: up after {:.1} s",
            machine.release(),
            machine.boot_time().as_secs_f32()
        );
        let command: Vec<&str> = arguments.command.iter().map(String::as_str).collect();
        let output = machine.run_for(&command, &[], LONG)?;
        let printed = || "printing what the command printed";
        std::io::stdout().write_all(&output.stdout).during(printed)?;
        std::io::stderr().write_all(&output.stderr).during(printed)?;
        if !output.success() {
            return Err(Error::Other(format!("the command ended with {:?}", output.ended)));
        }
    }
    Ok(())
}

fn list() -> Result<()> {
    let mut out = std::io::stdout();
    for spec in TABLE {
        let quick = if spec.quick { "*" } else { " " };
        let cached = vm::fetch::cached(spec)?.map_or_else(|| "-".to_owned(), |kernel| kernel.release);
        writeln!(out, "{quick} {:<13} {cached:<30} {}", spec.name, spec.about).during(|| "printing")?;
    }
    writeln!(out, "* in every run of the tests; the others with BPFLEET_VM=all").during(|| "printing")
}
