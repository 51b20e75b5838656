//! bpfleet installed where things are not as they should be: nodes that lack something, images that are missing, objects
//! that somebody deletes, and ways out that are blocked. `make e2e` runs these; they take minutes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../install/support.rs"]
#[allow(dead_code, reason = "each binary uses its part")]
mod support;

mod leaving;
mod odd_nodes;
mod parts;
