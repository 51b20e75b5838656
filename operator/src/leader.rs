//! Which replica writes: the one that holds a Lease.
//!
//! A holder counts as gone when its Lease has not changed for as long as it lasts by this replica's own
//! clock, so that clocks that differ do no harm. Every write carries the version that was read: of two
//! replicas that reach for a free Lease, one fails. A holder that cannot renew stops before another may
//! take over.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::watch, time::Instant};

use crate::error::{ApiError, chain};

/// How long a Lease lasts after its last renewal.
const LASTS: Duration = Duration::from_secs(15);
/// A holder that has not renewed for this long stops.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);
/// How often the Lease is renewed or looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// Longest time for one request.
const REQUEST: Duration = Duration::from_secs(4);

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is free, or its holder is gone: take it.
    Acquire,
    /// It is ours: renew it.
    Renew,
    /// Another one holds it.
    Wait,
}

/// Decides what to do about a Lease that has not changed for `unchanged`.
pub fn step(lease: &LeaseSpec, identity: &str, unchanged: Duration) -> Step {
    let lasts = lease
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs);
    match lease.holder_identity.as_deref() {
        None | Some("") => Step::Acquire,
        Some(holder) if holder == identity => Step::Renew,
        Some(_) if unchanged >= lasts.unwrap_or(LASTS) => Step::Acquire,
        Some(_) => Step::Wait,
    }
}

/// The Lease after a step; `now` is only shown to people.
pub fn held(lease: &LeaseSpec, identity: &str, step: Step, now: jiff::Timestamp) -> LeaseSpec {
    let time = Some(MicroTime(now));
    let mut held = LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
        renew_time: time.clone(),
        ..lease.clone()
    };
    if step == Step::Acquire {
        held.acquire_time = time;
        held.lease_transitions = Some(lease.lease_transitions.unwrap_or(0).saturating_add(1));
    }
    held
}

/// Longest time until a leader whose Lease was taken away has noticed, and stopped.
pub const STOPS_WITHIN: Duration = RENEWED_WITHIN;

/// Takes a Lease from whoever holds it, so that nobody leads as long as it lasts. Whoever did is the answer.
///
/// # Errors
/// The API server refused or cannot be reached.
pub async fn take_away(
    api: &Api<Lease>,
    name: &str,
    identity: &str,
    lasts: Duration,
    now: jiff::Timestamp,
) -> Result<Option<String>, kube::Error> {
    let mut lease = match api.get_opt(name).await? {
        Some(lease) => lease,
        None => {
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            };
            let lease = Lease { metadata, spec: None };
            api.create(&PostParams::default(), &lease).await?
        }
    };
    let spec = lease.spec.take().unwrap_or_default();
    let holder = spec
        .holder_identity
        .clone()
        .filter(|holder| !holder.is_empty() && holder != identity);
    let spec = LeaseSpec {
        lease_duration_seconds: i32::try_from(lasts.as_secs()).ok(),
        ..held(&spec, identity, Step::Acquire, now)
    };
    // Not a replacement of the version that was read: whoever renews it meanwhile must lose it all the same.
    let patch = Patch::Merge(json!({"spec": spec}));
    api.patch(name, &PatchParams::default(), &patch).await?;
    Ok(holder)
}

/// Takes part in the election.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    leads: watch::Sender<bool>,
}

impl Election {
    /// Takes part in the election of the Lease of this name, as `identity`, which no other replica may have.
    pub fn new(api: Api<Lease>, name: &str, identity: String) -> Self {
        Self {
            api,
            name: name.to_owned(),
            identity,
            leads: watch::Sender::new(false),
        }
    }

    /// Whether this replica leads.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Takes part until the future is dropped.
    pub async fn run(&self) {
        // The Lease as last seen, and since when it is so.
        let mut seen: Option<(LeaseSpec, Instant)> = None;
        let mut until = Instant::now();
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let started = Instant::now();
            let limit = if *self.leads.borrow() {
                REQUEST.min(until.saturating_duration_since(started))
            } else {
                REQUEST
            };
            match tokio::time::timeout(limit, self.attempt(&mut seen)).await {
                Ok(Ok(true)) => {
                    until = started + RENEWED_WITHIN;
                    self.set(true);
                }
                Ok(Ok(false)) => self.set(false),
                Ok(Err(error)) => tracing::warn!(error = chain(&error), "cannot renew or look at the Lease"),
                Err(_) => tracing::warn!("the API server does not answer in time about the Lease"),
            }
            if Instant::now() >= until {
                self.set(false);
            }
        }
    }

    /// Gives the Lease back, so that another replica need not wait.
    ///
    /// # Errors
    /// The API server refused or cannot be reached; the Lease then runs out.
    pub async fn release(&self) -> Result<(), ApiError> {
        if !self.leads.send_replace(false) {
            return Ok(());
        }
        let attempt = || format!("release Lease {}", self.name);
        let released = async {
            let mut lease = self.api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = None;
                self.api
                    .replace(&self.name, &PostParams::default(), &lease)
                    .await?;
            }
            Ok(())
        };
        released.await.map_err(|error| ApiError::new(attempt(), error))
    }

    /// One look and, if due, one write. True: this replica holds the Lease from now on.
    async fn attempt(&self, seen: &mut Option<(LeaseSpec, Instant)>) -> Result<bool, ApiError> {
        let api_error = |error| ApiError::new(format!("read or write Lease {}", self.name), error);
        let mut lease = match self.api.get_opt(&self.name).await.map_err(api_error)? {
            Some(lease) => lease,
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                };
                let lease = Lease { metadata, spec: None };
                self.api
                    .create(&PostParams::default(), &lease)
                    .await
                    .map_err(api_error)?
            }
        };
        let spec = lease.spec.take().unwrap_or_default();
        let known = seen.as_ref().map(|(spec, _)| &spec.holder_identity);
        let is_new = known != Some(&spec.holder_identity);
        let since = match seen {
            Some((known, since)) if *known == spec => *since,
            _ => Instant::now(),
        };
        *seen = Some((spec.clone(), since));
        let step = step(&spec, &self.identity, since.elapsed());
        if step == Step::Wait && is_new {
            tracing::info!(
                holder = spec.holder_identity,
                seconds = spec.lease_duration_seconds,
                "another holds the Lease; this replica leads when it is given up or not renewed for so long"
            );
        }
        if step == Step::Wait {
            return Ok(false);
        }
        let spec = held(&spec, &self.identity, step, jiff::Timestamp::now());
        lease.spec = Some(spec);
        match self.api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(_) => Ok(true),
            // Another one was faster; the next look tells who.
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(false),
            Err(error) => Err(api_error(error)),
        }
    }

    fn set(&self, leads: bool) {
        let changed = self
            .leads
            .send_if_modified(|known| std::mem::replace(known, leads) != leads);
        if changed {
            tracing::info!(identity = self.identity, leads, "leadership changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn lease(holder: Option<&str>, lasts: Option<i32>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: lasts,
            ..LeaseSpec::default()
        }
    }

    #[rstest]
    #[case::free(None, None, 0, Step::Acquire)]
    #[case::released(Some(""), Some(15), 0, Step::Acquire)]
    #[case::ours(Some("me"), Some(15), 99, Step::Renew)]
    #[case::held(Some("other"), Some(15), 14, Step::Wait)]
    #[case::run_out(Some("other"), Some(15), 15, Step::Acquire)]
    #[case::lasts_longer(Some("other"), Some(60), 30, Step::Wait)]
    #[case::without_duration(Some("other"), None, 14, Step::Wait)]
    #[case::negative_duration(Some("other"), Some(-1), 14, Step::Wait)]
    fn a_lease_is_taken_only_when_it_is_free(
        #[case] holder: Option<&str>,
        #[case] lasts: Option<i32>,
        #[case] unchanged: u64,
        #[case] expected: Step,
    ) {
        assert_eq!(
            step(&lease(holder, lasts), "me", Duration::from_secs(unchanged)),
            expected
        );
    }

    #[test]
    fn taking_over_counts_as_a_transition_and_renewing_does_not() {
        let now = jiff::Timestamp::from_second(1000).unwrap();
        let taken = held(&lease(Some("other"), None), "me", Step::Acquire, now);
        assert_eq!(
            (taken.lease_transitions, taken.acquire_time.is_some()),
            (Some(1), true)
        );
        let later = jiff::Timestamp::from_second(1002).unwrap();
        let renewed = held(&taken, "me", Step::Renew, later);
        assert_eq!(
            (renewed.lease_transitions, renewed.acquire_time),
            (Some(1), taken.acquire_time)
        );
        assert_eq!(renewed.renew_time, Some(MicroTime(later)));
    }

    #[test]
    fn a_holder_stops_before_another_may_take_over() {
        assert!(RENEWED_WITHIN < LASTS && REQUEST + PERIOD < RENEWED_WITHIN);
    }
}
