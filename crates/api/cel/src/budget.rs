//! What evaluation may cost.
use crate::EvalError;

/// Steps left. A step is about what upstream counts as one: a variable, a selection, a call.
#[derive(Clone, Debug)]
pub struct Budget(u64);

impl Budget {
    /// One expression, as upstream limits it.
    pub const CALL: u64 = 1_000_000;
    /// All expressions of one policy.
    pub const POLICY: u64 = 10_000_000;
    /// All match conditions of one webhook or policy.
    pub const CONDITIONS: u64 = Self::POLICY / 4;

    pub fn new(steps: u64) -> Self {
        Self(steps)
    }
    pub fn spend(&mut self, steps: u64) -> Result<(), EvalError> {
        self.0 = self.0.checked_sub(steps).ok_or(EvalError::OutOfBudget)?;
        Ok(())
    }
    pub fn left(&self) -> u64 {
        self.0
    }
    /// Runs `f` with at most `limit` steps, and takes what it spent off the rest.
    pub fn within<T>(&mut self, limit: u64, f: impl FnOnce(&mut Budget) -> T) -> T {
        let allowed = limit.min(self.0);
        let mut part = Budget(allowed);
        let out = f(&mut part);
        self.0 -= allowed - part.0;
        out
    }
}
