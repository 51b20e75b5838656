//! API types of bpfleet.

pub mod names;
