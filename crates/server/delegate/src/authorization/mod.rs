//! The order of authorisers by file, and those that are asked over the network.
mod config;
mod review;
mod webhook;

pub use config::{AuthorizationConfig, AuthorizerEntry, WebhookSettings};
pub use webhook::AccessWebhook;
