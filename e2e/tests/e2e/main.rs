//! End-to-end tests: one binary, so that most tests share one control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;
mod registry;
mod shared;
