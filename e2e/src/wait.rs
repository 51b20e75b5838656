//! Waiting for conditions, never for a fixed time.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until `look` returns `Ok`, and returns its value.
///
/// An `Err` says what was seen instead; after `timeout` the last one stands in the error, so that a failed
/// test shows how far it came.
pub fn until<T, S: Display>(
    what: impl Into<String>,
    timeout: Duration,
    mut look: impl FnMut() -> Result<T, S>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(seen) if started.elapsed() >= timeout => {
                return Err(Error::Timeout {
                    what: what.into(),
                    waited: timeout,
                    last: seen.to_string(),
                });
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Watches for `period` that a condition holds all the time: for tests that something does *not* happen.
///
/// Fails at the first look that returns `Err`, with what that look saw.
pub fn holds<S: Display>(
    what: impl Into<String>,
    period: Duration,
    mut look: impl FnMut() -> Result<(), S>,
) -> Result<()> {
    let started = Instant::now();
    loop {
        if let Err(seen) = look() {
            let after = started.elapsed().as_secs_f32();
            return Err(Error::Other(format!(
                "{}: no longer after {after:.1} s: {seen}",
                what.into()
            )));
        }
        if started.elapsed() >= period {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_about_gives_its_value() {
        let mut looks = 0;
        let value = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err("not yet") }
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn a_timeout_tells_what_was_last_seen() {
        let error = until::<(), _>("the impossible", Duration::ZERO, || Err("still nothing")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "waited 0 s for the impossible; last seen: still nothing"
        );
    }

    #[test]
    fn a_condition_that_breaks_is_told_at_once() {
        let error = holds("quiet", Duration::from_secs(60), || Err("a noise")).unwrap_err();
        assert!(error.to_string().ends_with("a noise"), "{error}");
    }
}
