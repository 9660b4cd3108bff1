//! CronJobs: jobs by the clock.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/>

mod plan;
mod schedule;
mod shell;
mod view;

pub use plan::{Plan, Snapshot, Told, plan};
pub use schedule::{Schedule, ScheduleError};
pub(crate) use shell::start;
pub use view::{CronJob, CronJobSpec, CronJobStatus};
