//! What libbpf says when it refuses.

/// libbpf's `LIBBPF_ERRNO__VERSION` and the like start here.
const OWN: i32 = 4000;

/// A libbpf call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {} ({errno})\n{log}", describe(*errno))]
pub struct Error {
    /// The libbpf function.
    pub call: &'static str,
    /// Its negative error number.
    pub errno: i32,
    /// What libbpf logged meanwhile, without its debug messages.
    pub log: String,
}

impl Error {
    /// What attaching ends with if a program's section does not say where (`EOPNOTSUPP`).
    pub const NO_TARGET: i32 = -95;

    /// With nothing logged.
    pub(super) fn new(call: &'static str, errno: i32) -> Self {
        Self {
            call,
            errno,
            log: String::new(),
        }
    }

    /// Of a call that has just returned null and left the reason in `errno`.
    pub(super) fn last(call: &'static str) -> Self {
        Self::new(call, last_errno())
    }

    /// The same, with what was logged.
    pub(super) fn with_log(mut self, log: String) -> Self {
        self.log = log;
        self
    }
}

/// The thread's `errno`, negative.
fn last_errno() -> i32 {
    -std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// `EINVAL` as libbpf returns it.
pub(super) const EINVAL: i32 = -22;

fn describe(errno: i32) -> String {
    if errno <= -OWN {
        return format!("libbpf error {}", -errno);
    }
    std::io::Error::from_raw_os_error(-errno).to_string()
}
