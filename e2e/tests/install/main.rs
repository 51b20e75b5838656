//! bpfleet as a user has it: images from a registry, the chart installed with Helm, pods on real nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lifecycle;
mod quick_start;
#[allow(dead_code, reason = "each binary uses its part")]
mod support;
