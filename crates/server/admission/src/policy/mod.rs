//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: expressions have a say in every write.
//!
//! [`declaration`] reads policies and bindings, [`params`] finds the objects that a binding hands to its policy,
//! [`selection`] says which policies a request is put to, with what: one way for both kinds. [`validation`] and
//! [`mutation`] evaluate one policy for one set of parameters; the plug-ins [`Validating`] and [`Mutating`] put the
//! outcomes together. Nothing here waits.
//!
//! Declarations of policies are never put to policies, so that a bad one can always be taken away.
//! Not here: the check of types that a policy's status shows, which is a controller's.

mod counts;
mod declaration;
mod mutating;
mod mutation;
mod params;
mod selection;
#[cfg(test)]
mod tests;
mod validating;
mod validation;

pub use mutating::Mutating as MutatingPolicies;
pub use validating::Validating as ValidatingPolicies;
