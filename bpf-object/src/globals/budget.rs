//! A bound on work: types of a hostile object can be small and yet describe endless values.

/// Steps that setting or reading values may take: a step is a member, an element or some 64 bytes looked
/// at. The largest real configurations take some thousands.
const STEPS: u64 = 4 << 20;

/// Steps that are left.
pub(super) struct Budget(u64);

/// No step is left.
#[derive(Debug)]
pub(super) struct Exceeded;

impl Budget {
    pub(super) fn new() -> Self {
        Budget(STEPS)
    }

    /// Spends steps.
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), Exceeded> {
        self.0 = self.0.checked_sub(steps).ok_or_else(|| {
            self.0 = 0;
            Exceeded
        })?;
        Ok(())
    }

    /// Spends a step, and those of looking at so many bytes.
    pub(super) fn look(&mut self, bytes: usize) -> Result<(), Exceeded> {
        self.spend(1 + bytes as u64 / 64)
    }
}
