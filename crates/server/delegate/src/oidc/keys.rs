//! The keys of an issuer: found by discovery, fetched when a token needs one that is not known, and kept.
use crate::authentication::JwtAuthenticator;
use crate::connection;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// More keys of one issuer are not kept.
const MANY: usize = 256;

pub(super) struct KeySet {
    client: reqwest::Client,
    issuer: String,
    discovery: String,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where the keys are, once discovery told.
    uri: Option<String>,
    keys: Arc<Vec<Jwk>>,
    /// When they were last asked for, and what went wrong.
    tried: Option<(Instant, Option<String>)>,
}

#[derive(Deserialize, Clone, Debug)]
struct Jwk {
    #[serde(default)]
    kid: String,
    kty: String,
    #[serde(default, rename = "use")]
    purpose: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

#[derive(Deserialize)]
struct Discovered {
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    jwks_uri: String,
}

impl KeySet {
    pub fn new(s: &JwtAuthenticator, patience: Duration) -> Result<Self, String> {
        let discovery = s.discovery.clone().unwrap_or_else(|| format!("{}/.well-known/openid-configuration", s.issuer.trim_end_matches('/')));
        Ok(Self {
            client: connection::client(s.ca.as_deref().map(str::as_bytes), None)?,
            issuer: s.issuer.clone(),
            discovery,
            patience,
            state: Mutex::default(),
        })
    }

    /// Err says why the signature is not believed.
    pub async fn verify(&self, algorithm: &str, kid: Option<&str>, message: &[u8], signature: &[u8]) -> Result<(), String> {
        let good = |keys: &[Jwk]| fitting(keys, kid).any(|k| k.verify(algorithm, message, signature).is_some());
        let known = self.state.lock().await.keys.clone();
        if good(&known) || good(&self.fetched(known).await?) {
            Ok(())
        } else {
            Err("verify token: failed to verify signature: failed to verify id token signature".into())
        }
    }

    /// Newer keys than `known`: those that somebody else has fetched meanwhile, or fetched now. Not asked for too often.
    async fn fetched(&self, known: Arc<Vec<Jwk>>) -> Result<Arc<Vec<Jwk>>, String> {
        let mut state = self.state.lock().await;
        if !Arc::ptr_eq(&state.keys, &known) {
            return Ok(state.keys.clone());
        }
        if let Some((at, failed)) = &state.tried
            && at.elapsed() < self.patience
        {
            return failed.clone().map_or(Ok(known), Err);
        }
        let result = self.fetch(&mut state.uri).await;
        state.tried = Some((Instant::now(), result.as_ref().err().cloned()));
        state.keys = Arc::new(result?);
        Ok(state.keys.clone())
    }

    async fn fetch(&self, uri: &mut Option<String>) -> Result<Vec<Jwk>, String> {
        let place = match uri {
            Some(place) => place.clone(),
            None => {
                let found: Discovered = self.get(&self.discovery).await.map_err(|why| format!("authenticator not initialized: {why}"))?;
                if found.issuer != self.issuer {
                    return Err(format!(
                        "authenticator not initialized: oidc: issuer did not match the issuer returned by provider, expected {:?} got {:?}",
                        self.issuer, found.issuer
                    ));
                }
                if !found.jwks_uri.starts_with("https://") {
                    return Err(format!("authenticator not initialized: jwks_uri {:?} is no https address", found.jwks_uri));
                }
                uri.insert(found.jwks_uri).clone()
            }
        };
        #[derive(Deserialize)]
        struct Set {
            #[serde(default)]
            keys: Vec<skiff_json::Value>,
        }
        let set: Set = self.get(&place).await.map_err(|why| format!("verify token: failed to verify signature: fetching keys {why}"))?;
        // Keys of kinds that are not known are no error.
        Ok(set.keys.into_iter().filter_map(|k| skiff_json::from_value(k).ok()).take(MANY).collect())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let response = self.client.get(url).header("accept", "application/json").send().await.map_err(|e| format!("Get {url:?}: {}", connection::root(&e)))?;
        let status = response.status();
        let bytes = connection::limited(response).await.map_err(|why| format!("Get {url:?}: {why}"))?;
        if !status.is_success() {
            return Err(format!("Get {url:?}: {status}"));
        }
        skiff_json::from_slice(&bytes).map_err(|e| format!("Get {url:?}: {e}"))
    }
}

/// The keys that may have signed: that of the name, or all when there is no name.
fn fitting<'a>(keys: &'a [Jwk], kid: Option<&'a str>) -> impl Iterator<Item = &'a Jwk> {
    keys.iter().filter(move |k| matches!(k.purpose.as_str(), "" | "sig") && kid.is_none_or(|kid| kid.is_empty() || k.kid == kid))
}

impl Jwk {
    fn verify(&self, algorithm: &str, message: &[u8], signed: &[u8]) -> Option<()> {
        let number = |text: &str| BASE64URL.decode(text.trim_end_matches('=')).ok();
        if self.kty == "EC" {
            let (curve, size, how): (_, _, &'static dyn VerificationAlgorithm) = match algorithm {
                "ES256" => ("P-256", 32, &signature::ECDSA_P256_SHA256_FIXED),
                "ES384" => ("P-384", 48, &signature::ECDSA_P384_SHA384_FIXED),
                _ => return None,
            };
            let (x, y) = (number(&self.x)?, number(&self.y)?);
            if self.crv != curve || x.len() > size || y.len() > size {
                return None;
            }
            let mut point = vec![0; 1 + 2 * size];
            *point.first_mut()? = 4;
            point.get_mut(1 + size - x.len()..=size)?.copy_from_slice(&x);
            point.get_mut(1 + 2 * size - y.len()..)?.copy_from_slice(&y);
            return UnparsedPublicKey::new(how, point).verify(message, signed).ok();
        }
        let how = match algorithm {
            "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
            "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
            "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
            "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
            "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
            "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        };
        let (n, e) = (number(&self.n)?, number(&self.e)?);
        (self.kty == "RSA").then(|| RsaPublicKeyComponents { n: &n, e: &e }.verify(how, message, signed).ok())?
    }
}
