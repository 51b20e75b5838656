//! A bound on the work that BTF can ask for: names nested in one another can make it grow with the power
//! of their depth.

use super::CoreError;

/// Steps that one object may take. The largest real ones take some hundred thousand.
const MAX: u32 = 50_000_000;

/// Steps that a candidate is worth.
const CANDIDATE: u32 = 32;

/// Counts members and types that are looked at.
pub(crate) struct Steps(u32);

impl Steps {
    pub(crate) fn new() -> Self {
        Steps(MAX)
    }

    /// Counts the look at a candidate for a relocation, which costs more than a step and may take none.
    pub(crate) fn take_candidate(&mut self) -> Result<(), CoreError> {
        self.0 = self.0.checked_sub(CANDIDATE).ok_or(CoreError::TooComplex)?;
        Ok(())
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Result<(), CoreError> {
        self.0 = self.0.checked_sub(1).ok_or(CoreError::TooComplex)?;
        Ok(())
    }
}
