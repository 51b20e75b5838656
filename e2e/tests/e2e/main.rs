//! End-to-end tests: one binary, so that most tests share one control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod flow_api_away;
mod flow_failures;
mod flow_kernel;
mod flow_killed;
mod flow_nodes;
mod flow_objects;
mod flow_operator_away;
mod flow_skew;
mod flow_support;
mod flow_way;
mod harness;
mod identity;
mod operator_artifacts;
mod operator_images;
mod operator_program;
mod operator_support;
mod operator_uninstall;
mod registry;
mod rotation;
mod shared;
