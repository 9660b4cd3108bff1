//! DaemonSets: one pod on each node that suits.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/>
//!
//! Pods are pinned to their node by a required node affinity, and bound by the scheduler.

mod fit;
mod plan;
mod shell;
mod template;
mod view;

pub use fit::{Fit, fit};
pub use plan::{Plan, Snapshot, plan};
pub(crate) use shell::start;
pub use view::{DaemonSet, DaemonSetSpec, DaemonSetStatus, Node, NodeSpec, Taint};
