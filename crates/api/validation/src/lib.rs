//! Upstream's rules about objects, and its words for what breaks them.
//!
//! Pure functions over JSON in canonical form with defaults filled in. [`validate_create`], [`validate_update`] and
//! [`validate_status_update`] know the rules of each kind; [`validate_subresource`] those of the writes of other
//! subresources; [`warnings`] gives what upstream tells a client about an object that it accepts; [`metadata`] has those that hold for every kind. Each gives causes as a Status of reason Invalid lists them.
//!
//! ```
//! use skiff_json::json;
//! let causes = skiff_validation::validate_create("", "ConfigMap", &json!({"data": {"a/b": ""}}));
//! assert_eq!(causes[0].field, "data[a/b]");
//! assert_eq!(causes[0].reason, "FieldValueInvalid");
//! ```
//!
//! No shape of JSON makes a rule panic: what has not the type that the schema says counts as absent. Not here: decoding,
//! defaults, what admission decides, and custom resources, which bring their own schemas.
//!
//! Where it is specified: the validation of upstream 1.37 with its default feature gates, and the declared rules
//! (<https://kep.k8s.io/5073>) that are enforced there.

mod access;
mod autoscaling;
mod certificates;
mod cluster;
mod config;
mod devices;
mod endpoints;
mod expressions;
mod extension;
mod field;
mod flow;
mod ip;
mod labels;
pub mod metadata;
mod migration;
pub mod names;
mod network;
mod pod;
mod pod_certificate;
mod policies;
mod quota;
mod rules;
mod same;
mod service;
mod show;
mod small;
mod storage;
mod volume;
mod warnings;
mod webhook_client;
mod webhooks;
mod workload;

pub use field::{Errors, Field};
pub use ip::sloppy as sloppy_address;
pub use network::ip_address_name;
pub use rules::{validate_create, validate_status_update, validate_subresource, validate_update};
pub use service::service_addresses;
pub use show::{Json, Omitted, Show, shown};
pub use warnings::warnings;
pub use webhook_client::webhook_client;
