//! The issuer of service account tokens as the registry and the controller of token secrets ask for it, and others whose
//! tokens a review recognises, too.
use skiff_auth::token::Issuer;
use skiff_json::Value;
use skiff_meta::Status;
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;
use std::sync::Arc;

pub struct AccountTokens {
    pub issuer: Arc<Issuer>,
    /// Those who know bearer tokens of other kinds.
    pub others: Vec<Arc<dyn Authenticator>>,
    /// The server's own audiences: those tokens are for them.
    pub audiences: Vec<String>,
}

#[async_trait::async_trait]
impl skiff_registry::Tokens for AccountTokens {
    fn issue(&self, namespace: &str, name: &str, request: Value) -> Result<Value, Status> {
        self.issuer.issue(namespace, name, request).map(|i| i.request)
    }
    async fn review(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), String> {
        let refused = match self.issuer.review(token, audiences) {
            Ok(known) => return Ok(known),
            Err(why) => why,
        };
        let fitting: Vec<String> = self.audiences.iter().filter(|a| audiences.is_empty() || audiences.contains(a)).cloned().collect();
        let credentials = Credentials { bearer: Some(token.to_owned()), ..Credentials::default() };
        for other in self.others.iter().filter(|_| !fitting.is_empty()) {
            if let Ok(Some(mut user)) = other.authenticate(&credentials).await {
                if !user.in_group(User::AUTHENTICATED) {
                    user.groups.push(User::AUTHENTICATED.into());
                }
                return Ok((user, fitting));
            }
        }
        Err(refused)
    }
}

impl skiff_cluster::SecretTokens for AccountTokens {
    fn token(&self, namespace: &str, account: &str, account_uid: &str, secret: &str) -> Result<String, String> {
        self.issuer.for_secret(namespace, account, account_uid, secret).map_err(|e| e.to_string())
    }
}
