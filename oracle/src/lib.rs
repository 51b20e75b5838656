//! What the tests and benchmarks of `btf` and `bpf-object` compare with. Never shipped.
//!
//! - [`libbpf`]: libbpf itself, relocation by relocation and object by object.
//! - [`clang`]: objects from C.
//! - [`corpus`]: eBPF objects and kernel BTF out of Debian's packages, fetched into a cache.
//! - [`debian`]: which packages Debian's suites have, and what is in them.

pub mod clang;
pub mod corpus;
pub mod debian;
pub mod libbpf;
