//! Recognising a token: signature, times, audience, and that all it is bound to is there.
use super::of_secret::{self, SecretClaims};
use super::{Claims, Issuer, Reference};
use crate::authenticate::Refusal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use skiff_meta::{Head, Timestamp};
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;
use skiff_store::Entry;
use std::collections::HashMap;
use std::sync::{Arc, atomic::Ordering};

/// No token is longer.
const LIMIT: usize = 16 << 10;
/// Clocks may differ so much, in seconds.
const LEEWAY: i64 = 60;
/// Signatures remembered: one check costs 0.1 ms.
const REMEMBERED: usize = 4096;

/// Claims by the hash of a token whose signature was good.
#[derive(Default)]
pub(super) struct Verified(HashMap<[u8; 32], Arc<Signed>>);

/// The claims of a token that was signed here.
enum Signed {
    Bound(Box<Claims>),
    OfSecret(SecretClaims),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl Issuer {
    /// None: not one of ours. Err says what is wrong with one that claims to be.
    pub fn recognise(&self, token: &str, audiences: &[String]) -> Result<Option<(User, Vec<String>)>, Refusal> {
        let Some(signed) = self.signed(token)? else { return Ok(None) };
        let mine = if audiences.is_empty() { &self.audiences } else { audiences };
        let given = match &*signed {
            Signed::Bound(claims) if !claims.aud.is_empty() => &claims.aud,
            _ => &self.audiences,
        };
        let fitting: Vec<String> = mine.iter().filter(|a| given.contains(a)).cloned().collect();
        if fitting.is_empty() {
            return Err(Refusal(format!("token audiences {} is invalid for the target audiences {}", crate::rbac::quoted(given), crate::rbac::quoted(mine))));
        }
        let user = match &*signed {
            Signed::OfSecret(claims) => self.check_secret(token, claims)?,
            Signed::Bound(claims) => {
                self.in_time(claims)?;
                self.still_bound(claims)?;
                self.uses.bound.fetch_add(1, Ordering::Relaxed);
                if claims.kubernetes.warnafter.is_some_and(|at| self.seconds() > at) {
                    self.uses.stale.fetch_add(1, Ordering::Relaxed);
                }
                user(claims)
            }
        };
        Ok(Some((user, fitting)))
    }

    /// None: no token of this issuer. Err: its signature is bad.
    fn signed(&self, token: &str) -> Result<Option<Arc<Signed>>, Refusal> {
        let mut parts = token.split('.');
        let (Some(head), Some(body), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return Ok(None) };
        if token.len() > LIMIT {
            return Ok(None);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(claims) = self.verified.lock().0.get(&hash) {
            return Ok(Some(claims.clone()));
        }
        let decoded = |part: &str| BASE64URL.decode(part).ok();
        let Some(claims) = decoded(body).and_then(|b| self.claims(&b)).map(Arc::new) else { return Ok(None) };
        let header: Header = decoded(head).and_then(|h| skiff_json::from_slice(&h).ok()).unwrap_or_default();
        let signature = decoded(signature).unwrap_or_default();
        let text = token.rsplit_once('.').map_or(token, |(text, _)| text);
        if header.alg != "ES256" || !self.keys.verify(header.kid.as_deref(), text.as_bytes(), &signature) {
            return Err(Refusal("invalid signature".into()));
        }
        let mut verified = self.verified.lock();
        if verified.0.len() >= REMEMBERED {
            verified.0.clear();
        }
        verified.0.insert(hash, claims.clone());
        Ok(Some(claims))
    }

    fn claims(&self, body: &[u8]) -> Option<Signed> {
        let bound = skiff_json::from_slice::<Claims>(body).ok().filter(|c| c.iss == self.name).map(|c| Signed::Bound(Box::new(c)));
        bound.or_else(|| skiff_json::from_slice(body).ok().filter(|c: &SecretClaims| c.iss == of_secret::ISSUER).map(Signed::OfSecret))
    }

    fn in_time(&self, claims: &Claims) -> Result<(), Refusal> {
        let now = self.seconds();
        let told = |why: &str| Err(Refusal(format!("service account token {why}")));
        if claims.exp.is_none_or(|exp| now - LEEWAY > exp) {
            return told("has expired");
        }
        if claims.nbf.is_some_and(|nbf| now + LEEWAY < nbf) {
            return told("is not valid yet");
        }
        if claims.iat.is_some_and(|iat| now + LEEWAY < iat) {
            return told("is issued in the future");
        }
        Ok(())
    }

    fn still_bound(&self, claims: &Claims) -> Result<(), Refusal> {
        let k = &claims.kubernetes;
        let account = &k.serviceaccount;
        match self.store.get(&format!("serviceaccounts/{}/{}", k.namespace, account.name)) {
            None => return Err(Refusal(format!("serviceaccounts {:?} not found", account.name))),
            Some(e) if e.row.uid.as_str() != account.uid => {
                return Err(Refusal(format!("service account UID ({}) does not match claim ({})", e.row.uid, account.uid)));
            }
            Some(e) if self.gone(&e) => return Err(Refusal(format!("service account {}/{} has been deleted", k.namespace, account.name))),
            Some(_) => {}
        }
        // A pod's token carries the node only to tell it: pods outlive the objects of their nodes.
        let node = k.node.as_ref().filter(|_| k.pod.is_none());
        self.bound("pod", &format!("pods/{}", k.namespace), k.pod.as_ref())?;
        self.bound("secret", &format!("secrets/{}", k.namespace), k.secret.as_ref())?;
        self.bound("node", "nodes/", node)
    }

    fn bound(&self, kind: &str, folder: &str, reference: Option<&Reference>) -> Result<(), Refusal> {
        let Some(reference) = reference else { return Ok(()) };
        match self.store.get(&format!("{folder}/{}", reference.name)) {
            Some(e) if e.row.uid.as_str() != reference.uid => {
                Err(Refusal(format!("{kind} UID ({}) does not match service account {kind} ref claim ({})", e.row.uid, reference.uid)))
            }
            Some(e) if !self.gone(&e) => Ok(()),
            _ => Err(Refusal("service account token has been invalidated".into())),
        }
    }

    /// Deleted for longer than the leeway, and only held by finalizers or a grace period.
    fn gone(&self, entry: &Entry) -> bool {
        let deleted = || Head::of(&entry.bytes).ok()?.deletion_timestamp?.parse::<Timestamp>().ok();
        entry.row.deleting && deleted().is_none_or(|at| at.0 < self.seconds() - LEEWAY)
    }

    /// For TokenReview: who holds the token, and for which of the audiences (none: the server's own). Err is the
    /// review's `error`.
    pub fn review(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), String> {
        match self.recognise(token, audiences) {
            Ok(Some((mut user, audiences))) => {
                user.groups.push(User::AUTHENTICATED.into());
                Ok((user, audiences))
            }
            Ok(None) => Err("invalid bearer token".into()),
            Err(Refusal(why)) => Err(format!("[invalid bearer token, {why}]")),
        }
    }
}

/// The identity of an account, with what its token is bound to as extras.
fn user(claims: &Claims) -> User {
    let k = &claims.kubernetes;
    let mut user = super::account(&k.namespace, &k.serviceaccount.name, &k.serviceaccount.uid);
    let mut extra = |key: &str, value: String| drop(user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]));
    if !claims.jti.is_empty() {
        extra("credential-id", format!("JTI={}", claims.jti));
    }
    for (kind, reference) in [("pod", &k.pod), ("node", &k.node)] {
        if let Some(reference) = reference {
            extra(&format!("{kind}-name"), reference.name.clone());
            if !reference.uid.is_empty() {
                extra(&format!("{kind}-uid"), reference.uid.clone());
            }
        }
    }
    user
}

#[async_trait::async_trait]
impl Authenticator for Issuer {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, skiff_meta::Status> {
        let Some(token) = &credentials.bearer else { return Ok(None) };
        Ok(self.recognise(token, &[])?.map(|(user, _)| user))
    }
}
