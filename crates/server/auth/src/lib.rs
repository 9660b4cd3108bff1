//! Who is it, and may they? The implementations of `skiff-policy`'s authenticators and authorisers.
//!
//! Wiring, in this order:
//! - [`Union`] of [`FrontProxy`], [`Certificates`], [`token::Issuer`], [`BootstrapTokens`]; when it answers None, the
//!   request is [`anonymous`] if its path allows that, otherwise 401. Then [`Impersonator`].
//! - [`Chain`]: `system:masters`, [`Nodes`], [`Rbac`]. A refusal is told by [`forbidden`].
//! - [`Guard`]: the admission plug-in that keeps people from granting more than they hold.
//! - [`bootstrap::plan`]: the default roles and bindings, applied at start by a client in `system:masters`.
//! - [`token::Issuer`] answers TokenRequest ([`token::Issuer::issue`]), TokenReview ([`token::Issuer::review`]) and the
//!   OIDC discovery documents.
//!
//! All of them read the store's memory directly and see every commit that was acknowledged before they were asked.
//! Not here: TLS and headers (the HTTP layer), NodeRestriction and other admission, aggregation of roles (a controller).

mod authenticate;
mod chain;
mod changes;
mod lookup;
mod node;
mod rbac;
pub mod token;

pub use authenticate::{BootstrapTokens, Certificates, FrontProxy, Impersonator, Refusal, Union, anonymous, impersonate};
pub use chain::{Chain, Named, forbidden};
pub use lookup::StoreLookup;
pub use node::Nodes;
pub use rbac::{Guard, Rbac, RoleRef, Rule, Subject, bootstrap, uncovered};
