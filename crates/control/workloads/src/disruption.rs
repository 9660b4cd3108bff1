//! PodDisruptionBudgets: how many pods may go at will right now.
//! <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>
//!
//! The budget is spent by the eviction subresource, which writes `status.disruptedPods`; here it is counted anew.

mod plan;
mod shell;

pub use plan::{Budget, BudgetSpec, BudgetStatus, Plan, Snapshot, plan};
pub(crate) use shell::start;
