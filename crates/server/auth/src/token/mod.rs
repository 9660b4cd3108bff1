//! Service-account tokens: ES256 JWTs in upstream's layout.
//!
//! - [`Keys`]: the cluster's signing key and what else is trusted; JWKS.
//! - `claims`: what is in a token.
//! - [`Issuer`]: makes tokens (TokenRequest), recognises them (TokenReview), tells clients how (OIDC discovery).
//!
//! A token counts only while all that it is bound to is there with the same uid: account, pod, secret, node.
mod claims;
mod issue;
mod keys;
mod of_secret;
mod uses;
mod verify;

pub use claims::{Claims, Kubernetes, Reference};
pub use issue::Issued;
pub use keys::{KeyError, Keys};
pub use uses::{LAST_USED, Use};

use parking_lot::Mutex;
use skiff_json::{Value, json};
use skiff_request::User;
use skiff_store::Store;
use std::sync::Arc;
use std::time::SystemTime;

/// Issues and recognises the cluster's tokens.
pub struct Issuer {
    keys: Keys,
    /// `iss`: a https URL.
    name: String,
    /// Audiences of the API server; tokens for nobody in particular are for the first ones.
    audiences: Vec<String>,
    store: Arc<dyn Store>,
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    unique: Arc<dyn Fn() -> String + Send + Sync>,
    verified: Mutex<verify::Verified>,
    uses: uses::Uses,
}

impl Issuer {
    /// `audiences` are the API server's (mostly just the issuer's name); `unique` makes token ids.
    pub fn new(
        keys: Keys,
        name: impl Into<String>,
        audiences: Vec<String>,
        store: Arc<dyn Store>,
        now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
        unique: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        let name = name.into();
        let audiences = if audiences.is_empty() { vec![name.clone()] } else { audiences };
        Self { keys, name, audiences, store, now, unique, verified: Mutex::default(), uses: uses::Uses::default() }
    }
    /// Seconds since 1970.
    fn seconds(&self) -> i64 {
        skiff_meta::Timestamp::from_system((self.now)()).0
    }
    /// The body of `/openid/v1/jwks` (media type `application/jwk-set+json`).
    pub fn jwks(&self) -> Value {
        self.keys.jwks()
    }
    /// The body of `/.well-known/openid-configuration`; `jwks_uri` is where clients reach [`Issuer::jwks`].
    pub fn discovery(&self, jwks_uri: &str) -> Value {
        json!({
            "issuer": self.name,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

/// The identity of a service account.
fn account(namespace: &str, name: &str, uid: &str) -> User {
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    User { uid: uid.to_owned(), ..User::new(format!("system:serviceaccount:{namespace}:{name}"), groups) }
}
