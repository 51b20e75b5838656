//! Pushing to a registry, by `skopeo`: it knows every kind of registry, login and proxy.

use std::{
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::report::Row;

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// skopeo is not there.
    #[error("pushing needs skopeo, which was not found; install it: apt-get install skopeo")]
    NoSkopeo,
    /// skopeo could not be started.
    #[error("cannot start skopeo: {0}")]
    Start(#[from] std::io::Error),
    /// skopeo splits the name of a layout at a colon.
    #[error("skopeo cannot read a layout whose path has a ':' ({path}); choose another --layout", path = .0.display())]
    Colon(PathBuf),
    /// Not a place.
    #[error("{0:?} is no place to push to; give a registry and a prefix, like registry.example:5000/team")]
    Place(String),
    /// It failed.
    #[error("cannot push {name} to {to}: {detail}{hint}")]
    Failed {
        /// The image.
        name: String,
        /// Where it should be.
        to: String,
        /// What skopeo says.
        detail: String,
        /// What to do.
        hint: String,
    },
}

/// The words of the command that pushes an image with all its platforms, under the digest it has in the layout.
///
/// # Errors
/// Layout or place cannot be written in such a command.
pub fn arguments(
    layout: &Path,
    row: &Row,
    place: &str,
    plain_http: bool,
) -> Result<(Vec<String>, String), PushError> {
    let layout_text = layout.display().to_string();
    if layout_text.contains(':') {
        return Err(PushError::Colon(layout.to_owned()));
    }
    let place = place.trim_end_matches('/');
    let blank = place.chars().any(char::is_whitespace);
    if place.is_empty() || place.contains("://") || place.starts_with(['-', '/']) || blank {
        return Err(PushError::Place(place.to_owned()));
    }
    let to = format!("{place}/{}", row.short);
    // A policy says which images may be read; these were made here, and many machines have no policy.
    let mut words = vec!["--insecure-policy", "copy", "--all", "--preserve-digests"];
    if plain_http {
        words.push("--dest-tls-verify=false");
    }
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.push(format!("oci:{layout_text}:{}", row.short));
    words.push(format!("docker://{to}"));
    Ok((words, to))
}

/// Pushes an image and returns its name in the registry, with its digest.
///
/// # Errors
/// skopeo is missing, or fails.
pub fn push(layout: &Path, row: &Row, place: &str, plain_http: bool) -> Result<String, PushError> {
    let (words, to) = arguments(layout, row, place, plain_http)?;
    // Its progress is no result, so it goes where messages go.
    let progress = std::io::stderr().as_fd().try_clone_to_owned()?;
    let run = Command::new("skopeo")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::from(progress))
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output);
    let run = run.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => PushError::NoSkopeo,
        _ => PushError::Start(error),
    })?;
    if run.status.success() {
        let without_tag = to.rsplit_once(':').map_or(to.as_str(), |(name, _)| name);
        return Ok(format!("{without_tag}@{}", row.digest));
    }
    let said = message(&String::from_utf8_lossy(&run.stderr));
    let detail = if said.is_empty() {
        format!("skopeo ended with {}", run.status)
    } else {
        said
    };
    let hint = hint(&detail, place);
    Err(PushError::Failed {
        name: row.short.clone(),
        to,
        detail,
        hint,
    })
}

/// What skopeo says, without the time and level that it puts around it where no terminal is.
fn message(said: &str) -> String {
    let said = said.trim();
    let fatal = said.rsplit_once("level=fatal msg=\"").map(|(_, rest)| rest);
    match fatal.and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => text.replace("\\\"", "\""),
        None => said.to_owned(),
    }
}

/// What to do about the commonest failures.
fn hint(detail: &str, place: &str) -> String {
    let host = place.split('/').next().unwrap_or(place);
    let lower = detail.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let advice = if has(&["http response to https client"]) {
        "the registry speaks plain HTTP: add --plain-http if that is meant".to_owned()
    } else if has(&["unauthorized", "authentication required", "denied", "forbidden"]) {
        format!("log in with: skopeo login {host} (and see that you may write there)")
    } else if has(&["connection refused", "no such host", "no route", "timeout"]) {
        format!("is {host} right, and reachable from here?")
    } else if has(&["x509", "certificate"]) {
        "its certificate is not trusted here: add its authority to this machine's certificates".to_owned()
    } else {
        return String::new();
    };
    format!("\n  {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            short: "bpfleet-agent:1".into(),
            full: "localhost/bpfleet-agent:1".into(),
            digest: "sha256:00".into(),
            platforms: vec![],
        }
    }

    #[test]
    fn every_platform_is_pushed_and_no_digest_changes() {
        let (words, to) = arguments(Path::new("a b"), &row(), "r.example:5000/t/", false).unwrap();
        let said = words.join(" ");
        let expected = "--insecure-policy copy --all --preserve-digests oci:a b:bpfleet-agent:1 \
                        docker://r.example:5000/t/bpfleet-agent:1";
        assert_eq!(said, expected);
        assert_eq!(to, "r.example:5000/t/bpfleet-agent:1");
        let (words, _) = arguments(Path::new("a"), &row(), "r.example", true).unwrap();
        assert!(words.contains(&"--dest-tls-verify=false".to_owned()));
    }

    #[test]
    fn places_that_skopeo_would_understand_as_something_else_are_refused() {
        for place in ["", "/", "https://r.example", "--all", "a b"] {
            assert!(
                arguments(Path::new("a"), &row(), place, false).is_err(),
                "{place:?}"
            );
        }
        assert!(arguments(Path::new("a:b"), &row(), "r.example", false).is_err());
    }

    #[test]
    fn of_what_skopeo_says_the_message_is_kept() {
        let line = "time=\"2026-01-01T00:00:00Z\" level=fatal msg=\"pinging: Get \\\"https://r/\\\": no\"\n";
        assert_eq!(message(line), "pinging: Get \"https://r/\": no");
        assert_eq!(message(" anything else\n"), "anything else");
    }

    #[test]
    fn common_failures_come_with_what_to_do() {
        let told = |detail| hint(detail, "r.example/team");
        assert!(told("http: server gave HTTP response to HTTPS client").contains("--plain-http"));
        assert!(told("unauthorized: authentication required").contains("skopeo login r.example "));
        assert!(told("dial tcp: connect: connection refused").contains("reachable"));
        assert!(told("x509: certificate signed by unknown authority").contains("authority"));
        assert_eq!(told("disk full"), "");
    }
}
