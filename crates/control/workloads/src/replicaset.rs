//! ReplicaSets and ReplicationControllers: so many pods of one template.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/>

mod plan;
mod shell;

pub(crate) use plan::either_selector;
pub use plan::{Plan, ReplicaSet, ReplicaSetSpec, ReplicaSetStatus, plan, status};
pub(crate) use shell::{Flavour, start};
