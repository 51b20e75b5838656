//! What can go wrong in the harness, told to the person who reads a failed test.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Result of a step of the harness.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed step of the harness. `Debug` prints the same sentence as `Display`, with the causes, because
/// that is what a test that returns `Err` or unwraps shows.
#[derive(thiserror::Error)]
pub enum Error {
    /// A file, directory, mount or socket could not be handled.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, and on what.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A command ran and failed.
    #[error("`{command}` failed with {status}:\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its standard error output.
        output: String,
    },
    /// A started program ended when it should have gone on.
    #[error("{name} ended with {status} while {during}; the end of its log {}:\n{tail}", log.display())]
    Ended {
        /// Which program.
        name: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it was needed for.
        during: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of that file.
        tail: String,
    },
    /// A condition did not come about in time.
    #[error("waited {} s for {what}; last seen: {last}", waited.as_secs_f32())]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was waited for.
        waited: Duration,
        /// What the last look showed.
        last: String,
    },
    /// A binary or file that must be built or generated first is not there.
    #[error("{} is missing: {hint}", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// How to get it.
        hint: String,
    },
    /// The API server refused a request, or could not be asked.
    #[error("{what}: {source}")]
    Kube {
        /// What was asked.
        what: String,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// An HTTP request to the registry failed.
    #[error("{what}: {source}")]
    Http {
        /// What was asked.
        what: String,
        /// The client's error.
        source: reqwest::Error,
    },
    /// A certificate could not be made.
    #[error("making the certificate of {name}: {source}")]
    Certificate {
        /// Whose.
        name: String,
        /// The library's error.
        source: rcgen::Error,
    },
    /// What tests run on failed, and not what they test: a guest did not boot or is lost, a kernel cannot be had.
    #[error("infrastructure: {what}{console}")]
    Infrastructure {
        /// What is missing, and why.
        what: String,
        /// Where the guest's console can be read, and its end; empty where there is none.
        console: String,
    },
    /// Anything that needs no type of its own.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A failure of what tests run on.
    pub fn infrastructure(what: impl Into<String>) -> Error {
        Error::Infrastructure {
            what: what.into(),
            console: String::new(),
        }
    }

    /// A guest's failure, with the end of its console.
    pub fn console(what: impl Into<String>, log: &Path, tail: impl fmt::Display) -> Error {
        Error::Infrastructure {
            what: what.into(),
            console: format!("; the end of its console {}:\n{tail}", log.display()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self).and_then(std::error::Error::source);
        while let Some(next) = cause {
            write!(f, ": {next}")?;
            cause = next.source();
        }
        Ok(())
    }
}

/// Adds to a foreign error what was being done.
pub trait During<T> {
    /// Wraps the error with `what`, which is only called on failure.
    fn during<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|source| Error::Io {
            what: what().into(),
            source,
        })
    }
}

impl<T> During<T> for nix::Result<T> {
    fn during<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(std::io::Error::from).during(what)
    }
}

impl<T> During<T> for kube::Result<T> {
    fn during<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|source| Error::Kube {
            what: what().into(),
            source: Box::new(source),
        })
    }
}

impl<T> During<T> for reqwest::Result<T> {
    fn during<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|source| Error::Http {
            what: what().into(),
            source,
        })
    }
}

/// Writes a file that another process reads, so that it is never seen half written.
pub fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, content).during(|| format!("writing {}", new.display()))?;
    std::fs::rename(&new, path).during(|| format!("renaming to {}", path.display()))
}

/// Makes a directory and its parents.
pub fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).during(|| format!("making directory {}", path.display()))
}
