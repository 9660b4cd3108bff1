//! Jobs: pods that run to their end.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/>
//!
//! A pod is counted exactly once although it may vanish at any moment: each carries a finalizer; its uid is first written
//! to `status.uncountedTerminatedPods`, then the finalizer is taken off, then the uid becomes part of the count.

mod backoff;
mod count;
mod indexes;
mod plan;
mod policy;
mod shell;
mod template;
pub(crate) mod ttl;
mod view;

pub use backoff::Backoff;
pub use count::{finish, settle};
pub use indexes::Indexes;
pub use plan::{NewPod, Plan, Snapshot, plan};
pub(crate) use shell::start;
pub use view::{Job, JobSpec, JobStatus, Uncounted, over};
