//! Access strings: `0:1:2`.

use super::error::CoreError;

/// Longest access, in steps (libbpf's BPF_CORE_SPEC_MAX_LEN).
pub(crate) const MAX_STEPS: usize = 64;

/// Reads an access string: numbers with colons between them.
pub(crate) fn steps(text: &[u8]) -> Result<Vec<i32>, CoreError> {
    let bad = || CoreError::BadLocal {
        detail: format!("{:?} is no access string", String::from_utf8_lossy(text)),
    };
    let text = std::str::from_utf8(text).map_err(|_| bad())?;
    let mut steps = Vec::new();
    for step in text.split(':') {
        if steps.len() == MAX_STEPS {
            return Err(CoreError::TooDeep);
        }
        steps.push(step.parse().map_err(|_| bad())?);
    }
    Ok(steps)
}
