//! Audit: what is recorded of requests, and where it goes.
//! <https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/>
//!
//! A [`Policy`] says at which [`Level`] a request is recorded. The HTTP server and the in-process door ([`Audited`]) begin a
//! [`Record`] for each request, add what they learn on its way, and the record sends an event at each stage. Outlets take
//! events: files that are rotated, and webhooks.
//!
//! By default nobody waits for an outlet: events are queued, and those that find the queue full are dropped and counted.
//! An operator can ask for the contrary (`blocking`, `blocking-strict`). Without a policy file everything is recorded by its
//! metadata, nothing by its body, so no secret and no token ever gets into a log that nobody has asked for.
//!
//! Pure: [`policy`], [`event`], and the decisions of [`rotation`] and [`batch`]. Not here: who a user is, HTTP.

mod auditor;
mod batch;
mod event;
mod file;
mod local;
mod outlet;
mod policy;
mod record;
mod rotation;
mod webhook;

pub use auditor::{Auditor, Setup, SetupError};
pub use batch::Batching;
pub use file::LogOptions;
pub use local::Audited;
pub use outlet::{Mode, Outlet, OutletError, Truncation};
pub use policy::{Level, Policy, PolicyError, Stage};
pub use record::{About, Record, Rejected};
pub use webhook::{WebhookError, WebhookOptions};
