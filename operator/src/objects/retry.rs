//! When a reference that could not be resolved is tried again: after a wait that grows, or as soon as its
//! pull secret has other credentials.

use std::time::Duration;

use tokio::time::Instant;

use super::registry::Credentials;
use crate::{backoff, error::Fault};

/// Longest time until a changed pull secret is noticed. Secrets are not watched: that would need the right
/// to list them.
const LOOK: Duration = Duration::from_secs(30);

/// What the pull secret of a reference gave.
pub type Access = Result<Option<Credentials>, Fault>;

/// What is due for a reference that could not be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// A look at the pull secret: other credentials are worth an attempt, the same are not, because a
    /// registry may lock an account out whose password was wrong too often.
    Look,
    /// Another attempt.
    Try,
}

/// The next attempt at a reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    failures: u32,
    look_at: Option<Instant>,
    try_at: Instant,
    /// What was tried in vain; none if no pull secret is named.
    access: Option<Access>,
}

impl Retry {
    /// The attempt after one that failed at `now` with `access`; `before` is what stood after the last one.
    /// `key` spreads the waits of many.
    pub fn after(before: Option<&Self>, key: &str, access: Option<Access>, now: Instant) -> Self {
        let failures = before
            .filter(|before| before.access == access)
            .map_or(0, |before| before.failures);
        let failures = failures.saturating_add(1);
        Self {
            failures,
            look_at: access.is_some().then(|| now + LOOK),
            try_at: now + backoff::delay(key, failures),
            access,
        }
    }

    /// When something is due.
    pub fn at(&self) -> Instant {
        self.look_at.map_or(self.try_at, |at| at.min(self.try_at))
    }

    /// What is due.
    pub fn step(&self, now: Instant) -> Step {
        if now >= self.try_at {
            Step::Try
        } else if now >= self.at() {
            Step::Look
        } else {
            Step::Wait
        }
    }

    /// Takes in what a look at the pull secret gave. True: it is worth an attempt.
    pub fn looked(&mut self, access: &Access, now: Instant) -> bool {
        self.look_at = self.look_at.map(|_| now + LOOK);
        self.access.as_ref() != Some(access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(password: &str) -> Option<Access> {
        Some(Ok(Some(Credentials {
            username: "u".to_owned(),
            password: password.to_owned(),
        })))
    }

    /// A retry after so many failures in a row, the last one at `now`.
    fn after_failures(n: u32, access: &Option<Access>, now: Instant) -> Retry {
        let first = Retry::after(None, "p", access.clone(), now);
        (1..n).fold(first, |before, _| {
            Retry::after(Some(&before), "p", access.clone(), now)
        })
    }

    #[test]
    fn a_pull_secret_is_looked_at_soon_however_often_it_failed() {
        let now = Instant::now();
        for failures in 1..20 {
            let retry = after_failures(failures, &access("wrong"), now);
            assert!(retry.at() <= now + LOOK, "{failures}");
            assert_eq!(retry.step(now), Step::Wait, "{failures}");
        }
        let mut retry = after_failures(20, &access("wrong"), now);
        let later = now + LOOK;
        assert_eq!(retry.step(later), Step::Look);
        assert!(!retry.looked(&access("wrong").unwrap(), later));
        assert_eq!((retry.step(later), retry.at()), (Step::Wait, later + LOOK));
        assert!(retry.looked(&access("right").unwrap(), later));
        assert_eq!(retry.step(now + backoff::MAX), Step::Try);
    }

    #[test]
    fn without_a_pull_secret_only_time_brings_another_attempt() {
        let now = Instant::now();
        let retry = after_failures(20, &None, now);
        assert_eq!(retry.step(now + LOOK), Step::Wait);
        assert_eq!(retry.step(retry.at()), Step::Try);
    }

    #[test]
    fn other_credentials_begin_with_short_waits_again() {
        let now = Instant::now();
        let long = after_failures(20, &access("wrong"), now);
        let short = Retry::after(Some(&long), "p", access("also wrong"), now);
        assert!(short.at() <= now + Duration::from_secs(1));
    }
}
