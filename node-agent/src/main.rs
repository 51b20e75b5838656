//! The agent of bpfleet.

use std::process::ExitCode;

fn main() -> ExitCode {
    bpfleet_agent::cli::main()
}
