//! The end-to-end harness: a real Kubernetes control plane on loopback, nodes played without a kubelet,
//! and the operator and the agents as the separate processes they are in a cluster. Where pods matter,
//! [`real`] starts nodes with a kubelet; where kernels matter, [`vm`] starts nodes that have one of their own.
//!
//! Everything a test starts belongs to a value whose `Drop` ends it. Should the test process die without
//! running `Drop` (killed, aborted, a shared static), the processes get SIGKILL from the kernel and a
//! janitor removes mounts and files; see [`process`] and [`scratch`].
//!
//! The interface is blocking on purpose: tests read as a list of steps. Typed API access goes through
//! [`Cluster::block_on`].

pub mod agent;
pub mod api_client;
pub mod audit;
pub mod binaries;
pub mod bpffs;
pub mod certs;
pub mod cluster;
pub mod control_plane;
pub mod diagnose;
pub mod error;
pub mod http;
pub mod kubectl;
pub mod kubelet;
pub mod node;
pub mod objects;
pub mod operator;
pub mod ports;
pub mod process;
pub mod push;
pub mod real;
pub mod registry;
pub mod scratch;
pub mod target;
pub mod tools;
pub mod vm;
pub mod wait;

pub use agent::{Agent, AgentOptions};
pub use cluster::Cluster;
pub use control_plane::ControlPlane;
pub use error::{Error, Result};
pub use kubectl::Kubectl;
pub use node::Node;
pub use operator::{Operator, OperatorOptions};
pub use real::{RealCluster, RealNode, RealOptions};
pub use registry::Registry;
