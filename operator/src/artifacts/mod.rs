//! The artifact endpoint: objects by content, for the agents only.

pub mod cache;
pub mod store;
