//! Tests on nodes whose kernels differ: guests under QEMU. `BPFLEET_VM=all` takes every kernel, as `make e2e` does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod guests;
mod libbpf_tools;
mod matrix;
mod watch;
