//! Nodes whose kernels differ: Debian's kernels as guests under QEMU, each with the real agent.
//!
//! [`kernels`] says which there are; [`fetch`] has them in the cache. A [`Machine`] is a booted guest that runs
//! commands; a [`VmNode`] is one that is a node of a [`Cluster`](crate::Cluster); a [`Fleet`] is one for each of some
//! kernels, with an operator. Tests of many kernels are short:
//!
//! ```text
//! let cluster = Cluster::start()?;
//! let fleet = Fleet::start(&cluster, &vm::matrix()?)?;
//! fleet.node("v5-10")?.run(&["uname", "-r"])?;
//! ```
//!
//! What fails for want of a kernel, a boot or an answer begins with `infrastructure:`, and says nothing of bpfleet.

mod build;
pub mod channel;
pub mod entries;
pub mod fetch;
mod files;
pub mod fleet;
pub mod guest;
pub mod initramfs;
pub mod kernels;
pub mod libbpf;
pub mod machine;
pub mod modules;
pub mod node;
pub mod protocol;
pub mod qemu;

pub use entries::MapEntry;
pub use fetch::{Kernel, ensure};
pub use fleet::Fleet;
pub use kernels::{Spec, find, matrix, quick_matrix};
pub use machine::{Machine, Output};
pub use node::VmNode;
pub use protocol::Ended;
pub use qemu::GuestOptions;

/// Where a guest reaches this machine's loopback: QEMU's user network has it so.
pub const HOST: &str = "10.0.2.2";
