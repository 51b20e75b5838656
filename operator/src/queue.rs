//! Keys that wait for work: each at most once, never worked on twice at the same time.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use crate::backoff;

/// Keys that wait for work.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    by_time: BTreeSet<(Instant, String)>,
    due: HashMap<String, Instant>,
    running: HashSet<String>,
}

impl State {
    fn put(&mut self, key: &str, at: Instant) {
        if let Some(known) = self.due.get_mut(key) {
            if *known <= at {
                return;
            }
            self.by_time.remove(&(*known, key.to_owned()));
            *known = at;
        } else {
            self.due.insert(key.to_owned(), at);
        }
        self.by_time.insert((at, key.to_owned()));
    }

    /// The first key that is due and not being worked on; otherwise the time when there may be one.
    fn take(&mut self, now: Instant) -> Result<String, Option<Instant>> {
        let next = self
            .by_time
            .iter()
            .find(|(_, key)| !self.running.contains(key))
            .cloned();
        match next {
            Some((at, key)) if at <= now => {
                self.by_time.remove(&(at, key.clone()));
                self.due.remove(&key);
                self.running.insert(key.clone());
                Ok(key)
            }
            Some((at, _)) => Err(Some(at)),
            None => Err(None),
        }
    }
}

impl Queue {
    /// Asks for work on a key now.
    pub fn add(&self, key: &str) {
        self.add_after(key, Duration::ZERO);
    }

    /// Asks for work on a key after some time; a request that is due earlier stays.
    pub fn add_after(&self, key: &str, wait: Duration) {
        self.lock().put(key, Instant::now() + wait);
        self.changed.notify_one();
    }

    /// How many keys wait.
    pub fn waiting(&self) -> usize {
        self.lock().due.len()
    }

    /// The next key that is due; it counts as worked on until [`Queue::done`].
    async fn next(&self) -> String {
        loop {
            let changed = self.changed.notified();
            let wake = match self.lock().take(Instant::now()) {
                Ok(key) => return key,
                Err(wake) => wake,
            };
            match wake {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
                None => changed.await,
            }
        }
    }

    fn done(&self, key: &str) {
        self.lock().running.remove(key);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How work on a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done until something changes.
    Done,
    /// Done; look again after this time.
    Again(Duration),
    /// It failed: try again, later each time.
    Failed,
    /// The work panicked: a defect; treated like a failure.
    Panicked,
}

/// Marks a key as no longer worked on, also when the work is cancelled.
struct Running<'a> {
    queue: &'a Queue,
    key: &'a str,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.queue.done(self.key);
    }
}

/// Works on keys as they fall due, on at most `limit` at once, until the future is dropped.
/// A panic in the work is one key's failure.
pub async fn work<F, Fut>(
    queue: &std::sync::Arc<Queue>,
    limit: usize,
    reconcile: F,
    seen: impl Fn(&str, Outcome),
) where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut failures: HashMap<String, u32> = HashMap::new();
    loop {
        tokio::select! {
            key = queue.next(), if tasks.len() < limit => {
                let future = reconcile(key.clone());
                let queue = queue.clone();
                tasks.spawn(async move {
                    let running = Running { queue: &queue, key: &key };
                    let outcome = AssertUnwindSafe(future).catch_unwind().await.unwrap_or(Outcome::Panicked);
                    drop(running);
                    (key, outcome)
                });
            }
            Some(ended) = tasks.join_next() => {
                let Ok((key, outcome)) = ended else { continue };
                match outcome {
                    Outcome::Done => {
                        failures.remove(&key);
                    }
                    Outcome::Again(wait) => {
                        failures.remove(&key);
                        queue.add_after(&key, wait);
                    }
                    Outcome::Failed | Outcome::Panicked => {
                        let count = failures.entry(key.clone()).and_modify(|n| *n = n.saturating_add(1)).or_insert(1);
                        queue.add_after(&key, backoff::delay(&key, *count));
                    }
                }
                seen(&key, outcome);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_handed_out_once_however_often_it_was_asked_for() {
        let queue = Queue::default();
        queue.add("a");
        queue.add("a");
        queue.add_after("a", Duration::from_secs(5));
        assert_eq!(queue.next().await, "a");
        queue.done("a");
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_times_counts() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_secs(2));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_worked_on_waits_until_that_is_done() {
        let queue = Queue::default();
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert!(
            tokio::time::timeout(Duration::from_secs(1), queue.next())
                .await
                .is_err()
        );
        queue.add("b");
        assert_eq!(queue.next().await, "b");
        queue.done("a");
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_one_keys_failure_and_is_tried_again() {
        let queue = Arc::new(Queue::default());
        let seen = Mutex::new(Vec::new());
        queue.add("bad");
        queue.add("good");
        let worked = work(
            &queue,
            4,
            |key| async move {
                assert_eq!(key, "good", "a defect");
                Outcome::Done
            },
            |key, outcome| seen.lock().unwrap().push((key.to_owned(), outcome)),
        );
        let _ = tokio::time::timeout(Duration::from_millis(2500), worked).await;
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.iter().filter(|(key, _)| key == "good").count(), 1);
        assert!(
            seen.iter()
                .filter(|(key, outcome)| key == "bad" && *outcome == Outcome::Panicked)
                .count()
                >= 2
        );
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_work_frees_its_key() {
        let queue = Arc::new(Queue::default());
        queue.add("a");
        let endless = work(&queue, 1, |_| std::future::pending::<Outcome>(), |_, _| ());
        assert!(
            tokio::time::timeout(Duration::from_secs(1), endless)
                .await
                .is_err()
        );
        // The task is aborted when its set is dropped; it ends at the next turn of the runtime.
        queue.add("a");
        assert_eq!(queue.next().await, "a");
    }
}
