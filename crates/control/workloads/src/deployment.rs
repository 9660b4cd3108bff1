//! Deployments: rollouts over ReplicaSets.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>
//!
//! One pass makes one plan: the sizes of all ReplicaSets, the new one if it is missing, what of the history to delete, and
//! the status. Rollback is the client's business: it writes an older template, and the ReplicaSet of that template becomes
//! the new one.

mod annotate;
mod plan;
mod rollout;
mod shell;
mod status;
mod view;

pub use plan::{Plan, Snapshot, plan};
pub(crate) use shell::start;
pub use view::{Deployment, DeploymentSpec, DeploymentStatus, Set, Strategy};
