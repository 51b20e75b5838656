//! What commands that stay in the foreground share.

use std::path::Path;
use std::time::Instant;

use bpfleet_e2e::error::{During, Result};
use tokio::signal::unix::{SignalKind, signal};

/// A path as one word of a shell.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Says how long each step of a start took.
pub struct Progress {
    since: Instant,
}

impl Progress {
    pub fn new() -> Progress {
        Progress {
            since: Instant::now(),
        }
    }

    pub fn done(&mut self, what: &str) {
        println!("{what}: {:.1} s", self.since.elapsed().as_secs_f32());
        self.since = Instant::now();
    }
}

/// Notices SIGINT and SIGTERM from its creation on.
pub struct Stop {
    runtime: tokio::runtime::Runtime,
    signals: [tokio::signal::unix::Signal; 2],
}

impl Stop {
    pub fn new() -> Result<Stop> {
        let what = || "preparing for signals";
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .during(what)?;
        let guard = runtime.enter();
        let signals = [
            signal(SignalKind::interrupt()).during(what)?,
            signal(SignalKind::terminate()).during(what)?,
        ];
        drop(guard);
        Ok(Stop { runtime, signals })
    }

    pub fn wait(self) -> Result<()> {
        println!("ready");
        let [mut interrupt, mut terminate] = self.signals;
        self.runtime.block_on(async {
            tokio::select! {
                got = interrupt.recv() => got,
                got = terminate.recv() => got,
            }
        });
        println!("stopping");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_path_is_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
