//! What becomes of a pod, decided without IO.
//!
//! Everything here is a function of a snapshot (the pod's object, what the runtime has, what the probes found, the
//! time) and gives a plan or a status:
//!
//! * [`plan`] says which sandbox and containers to make, start and kill; [`termination_order`] in which order to end
//!   them; [`Backoff`] when a failed one may start again;
//! * [`pod_status`] is the pod's status as the API shows it;
//! * [`sandbox_config`] and [`container_config`] turn the object into what the runtime is asked for, with
//!   [`env`], [`dns`], [`hosts`], [`security`], [`cgroup`] and [`qos`] below them;
//! * [`probe`] counts probe results against thresholds; [`admit`] says whether this node takes a pod at all.
//!
//! Not here: sockets, files, the runtime's calls, the API. The node agent does those.

pub mod admit;
pub mod backoff;
pub mod cgroup;
mod conditions;
pub mod config;
mod container_status;
pub mod dns;
pub mod env;
pub mod expand;
pub mod field;
pub mod hosts;
pub mod image;
pub mod names;
pub mod observed;
mod order;
mod phase;
mod plan;
pub mod probe;
pub mod qos;
mod rejected;
pub mod resize;
pub mod restart;
pub mod security;
pub mod service_env;
mod status;
#[cfg(test)]
mod testpod;
pub mod view;

pub use backoff::Backoff;
pub use conditions::PASSING;
pub use config::{ContainerInputs, SandboxInputs, container_config, sandbox_config};
pub use observed::Observed;
pub use order::{TerminationStep, termination_order};
pub use plan::{Kill, KillReason, Plan, plan, sandbox_problem};
pub use rejected::rejected;
pub use status::{StartFailure, StatusInputs, pod_status};
