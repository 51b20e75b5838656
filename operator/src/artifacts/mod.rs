//! The artifact endpoint: objects by content, for the agents only.

pub mod address;
pub mod auth;
pub mod cache;
pub mod certificate;
pub mod endpoint;
pub mod store;
pub mod tls;
