//! Rules of `x-kubernetes-validations`: expressions in a schema that objects must fulfil.
//!
//! [`types`] says what type a schema declares, [`values`] makes values of it out of JSON, [`definition`] checks the rules
//! of a definition and what they may cost, [`run`] checks objects by them.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules>

mod definition;
mod run;
mod types;
mod values;

pub use definition::check as check_definition;
pub use run::{Rules, blocked};
