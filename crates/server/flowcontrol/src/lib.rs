//! Priority and fairness: no client starves another (KEP-1040).
//!
//! A FlowSchema puts a request into a priority level and, within it, into a flow. Each level has seats; what finds none
//! waits in one of the level's queues, which are served in turn by the seat-seconds that they have had, or is turned away.
//! Levels lend seats to each other.
//! <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>
//!
//! Bottom up, all of them pure: [`config`] reads declarations, [`classify`] chooses among them, [`estimate`] says what a
//! request weighs, [`queues`] is one level's queues, [`demand`] remembers how many seats were wanted, [`limits`] shares seats
//! out and lends them, [`dropped`] says when to come again, [`upkeep`] what must be done about the stored objects. Time is
//! handed in as seconds. Above them [`level`] is one level under its lock, and [`FlowControl`] the shell with the clock and
//! the waiting. A request that finds a free seat takes its level's lock twice and waits for nothing.
//!
//! Not here: where declarations come from and who writes them, HTTP.

mod bootstrap;
mod classify;
mod config;
mod control;
mod demand;
mod dropped;
mod dump;
mod estimate;
mod level;
mod limits;
mod metrics;
mod queues;
pub mod upkeep;
mod usage;
mod watchers;

pub use classify::{Ask, Request};
pub use config::Configuration;
pub use control::{Admitted, Class, FlowControl, Refused};
pub use dump::Table;
pub use estimate::Work;
pub use queues::Why;
pub use watchers::{Watchers, Watching};
