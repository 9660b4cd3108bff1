//! Priority and fairness: no client starves another (KEP-1040).
//!
//! A FlowSchema puts a request into a priority level and, within it, into a flow. Each level has seats; what finds none
//! waits in one of the level's queues, which are served in turn by the seat-seconds that they have had, or is turned away.
//! Levels lend seats to each other.
//! <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>
//!
//! Bottom up: [`config`] reads declarations, [`classify`] chooses among them, [`queues`] is one level's queues, [`limits`]
//! shares seats out, [`demand`] remembers how many were wanted, [`core`] is all levels together. All of them are pure:
//! time is handed in as seconds. [`FlowControl`] is the thin shell with the lock, the waiting and the clock.
//!
//! Not here: where declarations come from, what a request costs, HTTP.

mod classify;
mod config;
mod core;
mod demand;
mod limits;
mod queues;
mod shell;

pub use classify::{Ask, Request};
pub use config::Configuration;
pub use queues::Why;
pub use shell::{Admitted, FlowControl, Refused};
