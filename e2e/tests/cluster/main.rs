//! The real cluster of the harness: what tests that run pods rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ends;
mod pods;
