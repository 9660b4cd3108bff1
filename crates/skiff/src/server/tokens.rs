//! The issuer of service account tokens as the registry asks for it.
use serde_json::Value;
use skiff_auth::token::Issuer;
use skiff_meta::Status;
use skiff_registry::{Registry, review};
use skiff_request::User;
use std::sync::Arc;

pub struct Tokens(pub Arc<Issuer>);

#[async_trait::async_trait]
impl review::Tokens for Tokens {
    async fn issue(&self, _: &Registry, account: &Value, request: Value) -> Result<Value, Status> {
        let text = |p: &str| account.pointer(p).and_then(Value::as_str).unwrap_or_default();
        self.0.issue(text("/metadata/namespace"), text("/metadata/name"), request).map(|i| i.request)
    }
    async fn review(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), String> {
        self.0.review(token, audiences)
    }
}
