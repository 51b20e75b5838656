//! When to try again.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use bpfleet_crds::NodeReason;

const FIRST: Duration = Duration::from_secs(1);
/// A failure that others can end at any moment: a server that is away.
const MAX_TRANSIENT: Duration = Duration::from_secs(30);
/// A failure that is likely to repeat.
const MAX_LASTING: Duration = Duration::from_secs(300);

/// How long to wait after the `tries`-th failure in a row: doubling from a second, up to half a minute or five,
/// and up to a quarter shorter, by `who`, so that a fleet does not ask all at once.
pub fn delay(reason: NodeReason, tries: u32, who: &str) -> Duration {
    let cap = match reason {
        NodeReason::ApiUnavailable | NodeReason::ArtifactUnavailable | NodeReason::RevisionNotFound => {
            MAX_TRANSIENT
        }
        // Targets come and go: an interface, a cgroup, a container's binary.
        NodeReason::TargetNotFound | NodeReason::TargetBusy | NodeReason::Detached => MAX_TRANSIENT,
        _ => MAX_LASTING,
    };
    let doubled = FIRST
        .saturating_mul(1 << tries.saturating_sub(1).min(16))
        .min(cap);
    let mut hasher = DefaultHasher::new();
    (who, tries).hash(&mut hasher);
    let share = u32::try_from(hasher.finish() % 256).unwrap_or(0);
    doubled - doubled / 4 * share / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_cap_and_spread() {
        let reason = NodeReason::VerifierRejected;
        assert!(delay(reason, 1, "a") <= FIRST);
        assert!(delay(reason, 1, "a") >= FIRST * 3 / 4);
        assert!(delay(reason, 4, "a") >= Duration::from_secs(6));
        for tries in 0..100 {
            assert!(delay(reason, tries, "a") <= MAX_LASTING);
            assert!(delay(NodeReason::ArtifactUnavailable, tries, "a") <= MAX_TRANSIENT);
        }
        let distinct: std::collections::BTreeSet<_> =
            (0..50).map(|n| delay(reason, 5, &format!("node{n}"))).collect();
        assert!(distinct.len() > 20);
    }
}
