//! HorizontalPodAutoscaler: as many replicas as its metrics ask for.
//!
//! ```text
//!   scale ─▶ aim: leave alone · set to a bound · measure
//!                                                └─ metrics ─▶ ratio (replicas of each) ─▶ the largest ─▶ limits ─▶ scale
//! ```
//! `plan`, `ratio` and `limits` are pure. Metrics come from the three metrics APIs; whoever serves them, a cluster
//! without one says so in the conditions.
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>

mod limits;
mod metrics;
mod plan;
mod proposal;
mod ratio;
mod shell;

pub(crate) use shell::start;
