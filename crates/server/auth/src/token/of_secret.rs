//! Tokens that live in a secret of type `kubernetes.io/service-account-token`: they never expire, and count while the
//! secret holds them and the account is there. A controller asks for them ([`Issuer::for_secret`]); nobody else should.
use super::{
    Issuer, KeyError,
    uses::{INVALID_SINCE, LAST_USED, Use},
};
use crate::authenticate::Refusal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use skiff_json::{Value, json};
use skiff_request::User;
use skiff_store::Entry;
use std::sync::atomic::Ordering;

pub(super) const ISSUER: &str = "kubernetes/serviceaccount";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SecretClaims {
    pub iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
    sub: String,
}

impl Issuer {
    /// The token to put under `token` in the secret's data.
    pub fn for_secret(&self, namespace: &str, account: &str, account_uid: &str, secret: &str) -> Result<String, KeyError> {
        let claims = SecretClaims {
            iss: ISSUER.into(),
            namespace: namespace.into(),
            secret: secret.into(),
            account: account.into(),
            uid: account_uid.into(),
            sub: format!("system:serviceaccount:{namespace}:{account}"),
        };
        self.keys.sign(&json!(claims))
    }

    pub(super) fn check_secret(&self, token: &str, c: &SecretClaims) -> Result<User, Refusal> {
        let refuse = |why: &str| Err(Refusal(why.into()));
        if c.sub != format!("system:serviceaccount:{}:{}", c.namespace, c.account) || c.secret.is_empty() || c.uid.is_empty() {
            return refuse("sub claim is invalid");
        }
        let Some(secret) = self.store.get(&format!("secrets/{}/{}", c.namespace, c.secret)).filter(|s| !s.row.deleting) else {
            return refuse("Token has been invalidated");
        };
        let kept = skiff_json::from_slice::<Value>(&secret.bytes).ok();
        let kept = kept.as_ref().and_then(|v| v.pointer("/data/token")?.as_str()).and_then(|t| BASE64.decode(t).ok()).unwrap_or_default();
        // Hashes are compared, so that the time tells nothing of the text.
        if digest(&SHA256, &kept).as_ref() != digest(&SHA256, token.as_bytes()).as_ref() {
            return refuse("Token does not match server's copy");
        }
        self.note_use(&secret, c);
        if secret.row.label(INVALID_SINCE).is_some_and(|since| !since.is_empty()) {
            self.uses.invalid.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal(format!(
                "the token in secret {}/{} for service account {}/{} has been marked invalid",
                c.namespace, c.secret, c.namespace, c.account
            )));
        }
        match self.store.get(&format!("serviceaccounts/{}/{}", c.namespace, c.account)) {
            None => Err(Refusal(format!("serviceaccounts {:?} not found", c.account))),
            Some(a) if a.row.deleting => Err(Refusal(format!("ServiceAccount {}/{} has been deleted", c.namespace, c.account))),
            Some(a) if a.row.uid.as_str() != c.uid => Err(Refusal(format!("ServiceAccount UID ({}) does not match claim ({})", a.row.uid, c.uid))),
            Some(a) => {
                let automatic = of_account(&a.bytes, &c.secret);
                let count = if automatic { &self.uses.automatic } else { &self.uses.manual };
                count.fetch_add(1, Ordering::Relaxed);
                Ok(super::account(&c.namespace, &c.account, &c.uid))
            }
        }
    }

    fn note_use(&self, secret: &Entry, c: &SecretClaims) {
        let mut day = skiff_meta::Timestamp(self.seconds()).to_string();
        day.truncate(10);
        if secret.row.label(LAST_USED) != Some(day.as_str()) {
            self.uses.told(Use { namespace: c.namespace.clone(), secret: c.secret.clone(), day });
        }
    }
}

/// Whether the account names the secret as its own.
fn of_account(account: &[u8], secret: &str) -> bool {
    let v: Value = skiff_json::from_slice(account).unwrap_or_default();
    v["secrets"].as_array().is_some_and(|all| all.iter().any(|s| s["name"] == secret))
}
