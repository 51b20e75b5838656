//! Where the agent meets the kernel: the only module of bpfleet with unsafe code.

pub mod bpf;
pub mod fds;
pub mod perf;
