//! Scheduling decisions, pure.
//!
//! A [`Snapshot`] holds what is known of nodes and of the pods on them as small facts, never as decoded objects.
//! [`schedule`] filters the nodes by upstream's default plug-ins and scores those that are left; [`preempt`] finds the
//! node where the fewest and least important victims make room. Both answer with their reasons. No IO, no clock:
//! the loop in `skiff-scheduler` feeds the snapshot and carries decisions out.
//! <https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins>

mod affinity;
mod decide;
pub mod devices;
mod facts;
mod filter;
pub mod fit;
mod preempt;
mod resources;
mod score;
mod selector;
mod snapshot;
mod spread;
mod volumes;

pub use decide::{Decision, FitError, Scene, schedule};
pub use facts::{HostPort, NodeFacts, PodFacts};
pub use filter::Wakes;
pub use preempt::{Budget, NoRoom, Preemption, preempt};
pub use resources::Resources;
pub use snapshot::{NodeState, Snapshot};
pub use spread::with_defaults;
pub use volumes::{Candidate, Claim, ClaimState, Devices, VolumeView, choose, zones};
