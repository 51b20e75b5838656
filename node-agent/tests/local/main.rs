//! The agent on this machine's kernel, without a cluster: every test has a bpffs of its own, and whatever has
//! to do with interfaces or cgroups happens in a network namespace or cgroup that the test made. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod cleanup;
mod command;
mod facts;
mod interfaces;
mod kinds;
mod loader;
mod own_loading;
mod support;
mod updates;
#[cfg(target_arch = "x86_64")]
mod usdt;
mod watch;
