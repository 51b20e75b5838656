//! How long to wait before trying again.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

/// Longest wait.
pub const MAX: Duration = Duration::from_secs(300);
const FIRST: Duration = Duration::from_secs(1);

/// The wait after the `failures`-th failure in a row (from 1) of `key`: doubles from a second up to
/// [`MAX`], less up to a quarter. What is taken off depends on the key, so that many failures of one
/// cause do not come back at the same moment, and is the same on every call.
pub fn delay(key: &str, failures: u32) -> Duration {
    let whole = FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(MAX);
    let mut hasher = DefaultHasher::new();
    (key, failures).hash(&mut hasher);
    let part = (hasher.finish() % 1024) as u32;
    whole - whole / 4 * part / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_are_spread() {
        for failures in 1..40 {
            let wait = delay("a", failures);
            let whole = Duration::from_secs(1 << (failures - 1).min(16)).min(MAX);
            assert!(wait <= whole && wait >= whole * 3 / 4, "{failures}: {wait:?}");
        }
        assert_ne!(delay("a", 9), delay("b", 9));
        assert_eq!(delay("a", 9), delay("a", 9));
    }
}
