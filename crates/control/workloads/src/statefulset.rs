//! StatefulSets: pods with names, order and storage of their own.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/>

mod identity;
mod plan;
mod shell;
mod storage;
mod view;

pub use plan::{Act, Plan, Snapshot, Version, plan};
pub(crate) use shell::start;
pub use view::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
