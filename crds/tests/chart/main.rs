//! The chart: what it renders, what it refuses, and that it agrees with the names in code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

mod admission;
mod hooks;
mod rbac;
mod refusals;
mod structure;
mod support;
mod values;
mod workloads;
