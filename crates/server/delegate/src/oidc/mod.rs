//! Issuers of JSON web tokens: recognising a token, and making a user of its claims.
mod claims;
mod keys;

use crate::authentication::JwtAuthenticator;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use keys::KeySet;
use parking_lot::RwLock;
use serde::Deserialize;
use skiff_auth::Refusal;
use skiff_json::Value;
use skiff_meta::Status;
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No token is longer, bytes.
const LIMIT: usize = 64 << 10;
/// How early a token may be used, in seconds, as clocks differ.
const EARLY: f64 = 300.0;

/// The issuers of a configuration, which changes while the server runs.
pub struct Issuers {
    all: RwLock<Arc<Vec<Issuer>>>,
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Keys of an issuer are not fetched again within this time, unless a token names one that is not known.
    patience: Duration,
}

struct Issuer {
    settings: JwtAuthenticator,
    keys: KeySet,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl Issuers {
    /// `patience`: an issuer that could not be reached is not tried again within it, nor asked for keys more often.
    pub fn new(now: Arc<dyn Fn() -> SystemTime + Send + Sync>, patience: Duration) -> Self {
        Self { all: RwLock::default(), now, patience }
    }

    /// Takes other issuers. Err tells which cannot be used; then those before stay.
    pub fn configure(&self, settings: Vec<JwtAuthenticator>) -> Result<(), String> {
        let made = settings.into_iter().map(|settings| {
            let keys = KeySet::new(&settings, self.patience).map_err(|why| format!("issuer {}: {why}", settings.issuer))?;
            Ok(Issuer { settings, keys })
        });
        let all = made.collect::<Result<Vec<_>, String>>()?;
        *self.all.write() = Arc::new(all);
        Ok(())
    }

    /// None: no issuer of ours. Err says what is wrong with a token that claims to be of one.
    pub async fn recognise(&self, token: &str) -> Result<Option<User>, Refusal> {
        let all = self.all.read().clone();
        if all.is_empty() || token.len() > LIMIT {
            return Ok(None);
        }
        let Some((header, claims, signed, signature)) = split(token) else { return Ok(None) };
        let mut named = claims["iss"].as_str().unwrap_or_default();
        if named == "accounts.google.com" {
            named = "https://accounts.google.com";
        }
        let Some(issuer) = all.iter().find(|i| i.settings.issuer == named) else { return Ok(None) };
        let refused = |why: String| Refusal(format!("oidc: {why}"));
        let s = &issuer.settings;
        let Some(algorithm) = s.algorithms.iter().find(|a| **a == header.alg) else {
            return Err(refused(format!("verify token: oidc: id token signed with unsupported algorithm, expected {:?} got {:?}", s.algorithms, header.alg)));
        };
        issuer.keys.verify(algorithm, header.kid.as_deref(), signed.as_bytes(), &signature).await.map_err(refused)?;
        let now = (self.now)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        in_time(&claims, now).map_err(|why| refused(format!("verify token: {why}")))?;
        audience(&claims, &s.audiences).map_err(|why| refused(format!("verify token: {why}")))?;
        claims::user(s, &claims).map(Some).map_err(refused)
    }
}

/// Header, claims, the signed text and the signature of a compact token.
fn split(token: &str) -> Option<(Header, Value, &str, Vec<u8>)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (head, body) = signed.split_once('.').filter(|(_, b)| !b.contains('.'))?;
    let decoded = |part: &str| BASE64URL.decode(part).ok();
    let claims: Value = skiff_json::from_slice(&decoded(body)?).ok().filter(Value::is_object)?;
    Some((skiff_json::from_slice(&decoded(head)?).ok()?, claims, signed, decoded(signature)?))
}

/// `now` in seconds since 1970.
fn in_time(claims: &Value, now: f64) -> Result<(), String> {
    let Some(expires) = claims["exp"].as_f64() else { return Err("oidc: token has no expiry".into()) };
    if now > expires {
        return Err(format!("oidc: token is expired (Token Expiry: {expires})"));
    }
    match claims["nbf"].as_f64() {
        Some(begins) if now + EARLY < begins => Err(format!("oidc: current time {now} before the nbf (not before) time: {begins}")),
        _ => Ok(()),
    }
}

fn audience(claims: &Value, wanted: &[String]) -> Result<(), String> {
    let given: Vec<&str> = match &claims["aud"] {
        Value::String(s) => vec![s],
        Value::Array(a) => a.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if given.iter().any(|g| wanted.iter().any(|w| w == g)) { Ok(()) } else { Err(format!("oidc: expected audience in {wanted:?} got {given:?}")) }
}

#[async_trait::async_trait]
impl Authenticator for Issuers {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Status> {
        let Some(token) = &credentials.bearer else { return Ok(None) };
        Ok(self.recognise(token).await?)
    }
}
