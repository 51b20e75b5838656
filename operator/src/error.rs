//! What can go wrong, and whether trying again can help.

use bpfleet_crds::ProgramReason;

/// A failed request to the API server.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub struct ApiError {
    /// What was tried, on what: `patch BpfNode worker-1`.
    pub what: String,
    /// The answer, or why there was none.
    #[source]
    pub source: Box<kube::Error>,
}

impl ApiError {
    /// Names the attempt that failed.
    pub fn new(what: impl Into<String>, source: kube::Error) -> Self {
        Self {
            what: what.into(),
            source: Box::new(source),
        }
    }

    /// The HTTP status that the API server answered with, if it answered.
    pub fn code(&self) -> Option<u16> {
        match &*self.source {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }
}

/// Why a BpfProgram's input cannot be used; becomes its Accepted condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Fault {
    /// Why, as one word.
    pub reason: ProgramReason,
    /// What failed, on what, why, and what to do next.
    pub message: String,
    /// True: the same input may work later, so it is tried again. False: somebody has to change something
    /// that the operator watches.
    pub retry: bool,
}

impl Fault {
    /// A fault that only a change can heal.
    pub fn permanent(reason: ProgramReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            retry: false,
        }
    }

    /// A fault that may pass.
    pub fn transient(reason: ProgramReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            retry: true,
        }
    }
}

/// An error and everything that it was caused by, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many libraries repeat their source in their own text.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_every_cause_once() {
        let inner = std::io::Error::other("connection refused");
        let api = ApiError::new("list nodes", kube::Error::ReadEvents(inner));
        let text = chain(&api);
        assert!(text.starts_with("cannot list nodes: "), "{text}");
        assert_eq!(text.matches("connection refused").count(), 1, "{text}");
    }
}
