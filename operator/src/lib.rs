//! Part of bpfleet.
