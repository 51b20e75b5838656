//! What every test needs: a place of its own on the kernel, agents, events, and a look at what is loaded.

pub mod bench;
pub mod cgroup;
pub mod events;
pub mod kernel;
pub mod netns;
pub mod process;
pub mod resolved;
pub mod running;
