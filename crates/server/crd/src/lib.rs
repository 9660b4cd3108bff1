//! CustomResourceDefinitions: the resources that users bring along.
//!
//! [`Definitions`] follows the stored definitions. For each it decides which names it gets ([`definition`]), makes the
//! row that the registry's table serves ([`rows`]), and at its end deletes the objects before it lets the definition go.
//! [`schema`] holds structural schemas, compiled at their first use: pruning, defaults, lists; [`value`] checks objects
//! against them, and [`cel`] by the rules in them. `conversion` asks webhooks for other versions, `group_versions`
//! keeps an APIService for what is served. Deciding is pure; only [`Definitions`] reads the store and calls the registry.
//!
//! The write path is the registry's: a custom resource is a row like any other, with a shape of its own.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>

pub mod cel;
mod conversion;
pub mod definition;
pub mod jsonpath;
pub mod rows;
pub mod schema;
pub mod value;

mod cleanup;
mod follow;
mod group_versions;

pub use follow::Definitions;
