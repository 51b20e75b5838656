//! eBPF object files: where their bytes come from.

pub mod config_map;
pub mod extract;
pub mod image;
pub mod pull;
pub mod registry;
pub mod resolve;
pub mod retry;
