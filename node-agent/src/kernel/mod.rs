//! Where the agent meets the kernel: the only module of bpfleet with unsafe code.

pub mod bpf;
pub mod btf;
pub mod fds;
pub mod link;
pub mod map;
pub mod netlink;
pub mod perf;
pub mod probe;
pub mod prog_load;
pub mod program;
