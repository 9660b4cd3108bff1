//! What every controller is made of.
//!
//! A controller is a [`Queue`] of keys that informers fill, a [`Reconcile`] that reads the present state and acts, and
//! [`run`], which takes keys to it. Failures go back into the queue with an exponential back-off. [`Expectations`] hold
//! a key back until the informer has seen the controller's own writes, [`Recorder`] tells users what happened,
//! [`lease`] says that somebody is alive. Time comes from a [`Clock`] that is handed in; delays from tokio's clock, which
//! tests pause. There is no leader election: one server runs the controllers.

mod clock;
mod counts;
mod event;
mod expect;
pub mod lease;
mod queue;
mod run;
mod status;

pub use clock::{Clock, HeldClock, SystemClock};
pub use counts::metrics;
pub use event::{Correlator, EventType, Recorder, Regarding};
pub use expect::Expectations;
pub use queue::Queue;
pub use run::{Action, At, Failed, Reconcile, run};
pub use status::{change_status, changed};
