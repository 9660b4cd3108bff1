//! The issuer of service account tokens as the registry and the controller of token secrets ask for it.
use serde_json::Value;
use skiff_auth::token::Issuer;
use skiff_meta::Status;
use skiff_request::User;
use std::sync::Arc;

pub struct AccountTokens(pub Arc<Issuer>);

impl skiff_registry::Tokens for AccountTokens {
    fn issue(&self, namespace: &str, name: &str, request: Value) -> Result<Value, Status> {
        self.0.issue(namespace, name, request).map(|i| i.request)
    }
    fn review(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), String> {
        self.0.review(token, audiences)
    }
}

impl skiff_cluster::SecretTokens for AccountTokens {
    fn token(&self, namespace: &str, account: &str, account_uid: &str, secret: &str) -> Result<String, String> {
        self.0.for_secret(namespace, account, account_uid, secret).map_err(|e| e.to_string())
    }
}
