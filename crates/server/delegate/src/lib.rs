//! Who somebody is and what they may do, as others tell it, by upstream's configuration files.
//!
//! - [`AuthenticationConfig`]: issuers of JSON web tokens (OIDC), whose claims become users by names or by CEL, and who may
//!   come without credentials. [`Issuers`] is the authenticator that takes new settings while it runs.
//! - [`TokenWebhook`]: asks a server by TokenReview who holds a bearer token.
//! - [`AuthorizationConfig`]: the order of authorisers, with webhooks ([`AccessWebhook`]) that are asked by
//!   SubjectAccessReview when their match conditions hold.
//!
//! Answers are remembered for as long as the settings say, and no more than so many. Every answer from outside has a limit in
//! size and in time. <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens>
//! <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#using-configuration-file-for-authorization>
//!
//! Not here: files that are watched, tokens that this server issued (`skiff-auth`), and who a claim's roles are.

mod answers;
mod authentication;
mod authorization;
mod connection;
mod duration;
mod expression;
mod oidc;
mod token_webhook;

pub use authentication::{Anonymous, AuthenticationConfig, JwtAuthenticator, OidcFlags};
pub use authorization::{AccessWebhook, AuthorizationConfig, AuthorizerEntry, WebhookSettings};
pub use connection::{Connection, ConnectionError};
pub use oidc::Issuers;
pub use token_webhook::TokenWebhook;

/// What is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("it is no {kind}: {why}")]
    Shape { kind: &'static str, why: String },
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
}

/// Longer files are refused, bytes.
const FILE_LIMIT: usize = 1 << 20;

/// A file of `kind` and one of `versions`.
fn parse<T: serde::de::DeserializeOwned>(text: &str, kind: &'static str, versions: &[&str]) -> Result<T, ConfigError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        #[serde(default)]
        api_version: String,
        #[serde(default)]
        kind: String,
    }
    let shape = |why: String| ConfigError::Shape { kind, why };
    if text.len() > FILE_LIMIT {
        return Err(shape(format!("it is longer than {FILE_LIMIT} bytes")));
    }
    let head: Head = serde_saphyr::from_str(text).map_err(|e| shape(e.to_string()))?;
    let known = head.api_version.strip_prefix("apiserver.config.k8s.io/").is_some_and(|v| versions.contains(&v));
    if head.kind != kind || !known {
        return Err(shape(format!("its kind is {:?} of {:?}", head.kind, head.api_version)));
    }
    serde_saphyr::from_str(text).map_err(|e| shape(e.to_string()))
}
