//! `btf`: BTF on the command line.

mod dump;
mod file;
mod map;
mod min;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reads BTF, the types of a kernel or an eBPF object, and cuts it down.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        btf min biolatency.bpf.o --btf /sys/kernel/btf/vmlinux -o biolatency.btf\n  \
        btf dump /sys/kernel/btf/vmlinux task_struct"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Cut a kernel's BTF down to what eBPF objects ask of it
    Min(min::Args),
    /// Show types as C
    Dump(dump::Args),
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Min(args) => min::run(&args),
        Command::Dump(args) => dump::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            anstream::eprintln!("btf: {message}");
            ExitCode::FAILURE
        }
    }
}
