//! Service-account tokens of pods, asked for by TokenRequest and renewed before they run out.
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use skiff_client::{Client, Target, decode, resource_of};
use skiff_meta::Status;
use skiff_pod::view;
use std::collections::BTreeMap;

/// A day: longer-lived tokens are renewed at this age all the same.
const MAX_AGE: i64 = 24 * 3600;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    pod: String,
    account: String,
    audience: String,
    seconds: i64,
}

#[derive(Clone)]
pub struct Token {
    pub text: String,
    issued: i64,
    expires: i64,
}

impl Token {
    /// Seconds since 1970 at which it is renewed: at 80 % of its life, or after a day.
    pub fn renew_at(&self) -> i64 {
        let life = self.expires - self.issued;
        self.issued + (life / 10 * 8).min(MAX_AGE)
    }
}

pub struct Tokens {
    client: Client,
    known: Mutex<BTreeMap<Key, Token>>,
}

impl Tokens {
    pub fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }
    /// A token bound to the pod. An empty audience is the API server's own.
    pub async fn get(&self, pod: &Pod, audience: &str, seconds: i64, now: Timestamp) -> Result<Token, Status> {
        let account = view::spec(pod).service_account_name.as_deref().filter(|a| !a.is_empty()).unwrap_or("default");
        let key = Key { pod: view::uid(pod).into(), account: account.into(), audience: audience.into(), seconds };
        let now = now.as_second();
        if let Some(t) = self.known.lock().get(&key).filter(|t| now < t.renew_at()) {
            return Ok(t.clone());
        }
        match self.request(pod, account, audience, seconds, now).await {
            Ok(fresh) => {
                self.known.lock().insert(key, fresh.clone());
                Ok(fresh)
            }
            Err(e) => self.known.lock().get(&key).filter(|t| now < t.expires).cloned().ok_or(e),
        }
    }
    pub fn forget(&self, pod_uid: &str) {
        self.known.lock().retain(|k, _| k.pod != pod_uid);
    }
    async fn request(&self, pod: &Pod, account: &str, audience: &str, seconds: i64, now: i64) -> Result<Token, Status> {
        let body = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: (!audience.is_empty()).then(|| vec![audience.to_owned()]),
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(view::name(pod).into()),
                    uid: Some(view::uid(pod).into()),
                }),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let target = Target::new(resource_of::<ServiceAccount>(), view::namespace(pod), account).sub("token");
        let bytes = serde_json::to_vec(&body).map_err(Status::internal)?;
        let answer: TokenRequest = decode(&self.client.create_bytes(target, bytes).await?)?;
        let status = answer.status.ok_or_else(|| Status::internal("the TokenRequest has no status"))?;
        let text = status.token.ok_or_else(|| Status::internal("the TokenRequest has no token"))?;
        let expires = status.expiration_timestamp.map_or(now + seconds, |t| t.0.as_second());
        Ok(Token { text, issued: now, expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn tokens_are_renewed_at_four_fifths_of_their_life() {
        let token = |life: i64| Token { text: String::new(), issued: 1000, expires: 1000 + life };
        assert_eq!(token(3600).renew_at(), 1000 + 2880);
        assert_eq!(token(365 * 24 * 3600).renew_at(), 1000 + MAX_AGE);
    }
}
