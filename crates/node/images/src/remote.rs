//! The client side of the OCI distribution protocol: manifests and blobs from one endpoint, with its challenges.
//!
//! Credentials go only to the host that they are for; a token is fetched over plain HTTP only from an endpoint that is
//! plain itself, and a redirect never leaves HTTPS. Bodies are read up to a limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use skiff_cri::PullAuth;
use url::Url;

use crate::error::{Error, Result};
use crate::registries::{Endpoint, HostTls};

const CONNECT: Duration = Duration::from_secs(30);
/// Longest silence in the middle of a body.
const READ: Duration = Duration::from_secs(60);
const MAX_TOKEN: u64 = 1 << 20;
const MAX_MESSAGE: u64 = 64 << 10;

/// HTTP clients by TLS settings; connections are reused between pulls.
#[derive(Default)]
pub struct Clients(Mutex<BTreeMap<HostTls, Client>>);

impl Clients {
    fn get(&self, tls: &HostTls) -> Result<Client> {
        let mut clients = self.0.lock();
        if let Some(client) = clients.get(tls) {
            return Ok(client.clone());
        }
        let client = Client::builder()
            .tls_backend_preconfigured(crate::tls::config(tls)?)
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .user_agent(concat!("skiff/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::custom(redirect))
            .build()
            .map_err(|source| Error::Http { step: "making a client for", url: "registries".to_owned(), source })?;
        clients.insert(tls.clone(), client.clone());
        Ok(client)
    }
}

fn redirect(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if secure && attempt.url().scheme() != "https" {
        attempt.error("the registry redirects from https to http")
    } else if attempt.previous().len() > 10 {
        attempt.error("too many redirects")
    } else {
        attempt.follow()
    }
}

/// One endpoint with one set of credentials.
pub struct Remote {
    client: Client,
    endpoint: Endpoint,
    auth: Option<PullAuth>,
    /// The Authorization header that worked.
    header: Mutex<Option<String>>,
    reference: String,
}

impl Remote {
    pub fn new(clients: &Clients, endpoint: Endpoint, auth: Option<PullAuth>, reference: String) -> Result<Arc<Self>> {
        let client = clients.get(&endpoint.config.tls.clone().unwrap_or_default())?;
        let header = match &auth {
            Some(PullAuth::Token(token)) => Some(format!("Bearer {token}")),
            _ => None,
        };
        Ok(Arc::new(Self { client, endpoint, auth, header: Mutex::new(header), reference }))
    }

    /// A manifest or index, by tag or digest.
    pub async fn manifest(&self, selector: &str, limit: u64) -> Result<Bytes> {
        let url = self.url("manifests", selector)?;
        let response = self.get(url.clone()).await?;
        bounded(response, &format!("manifest {url}"), limit).await
    }

    pub async fn small_blob(&self, digest: &str, limit: u64) -> Result<Bytes> {
        let url = self.url("blobs", digest)?;
        let response = self.get(url.clone()).await?;
        bounded(response, &format!("blob {url}"), limit).await
    }

    /// A blob's body, to be read in chunks.
    pub async fn blob(&self, digest: &str) -> Result<Response> {
        self.get(self.url("blobs", digest)?).await
    }

    fn url(&self, kind: &str, selector: &str) -> Result<Url> {
        let text = format!("{}/{}/{kind}/{selector}", self.endpoint.base, self.endpoint.repository);
        let mut url = Url::parse(&text).map_err(|e| Error::Config(format!("{text}: {e}")))?;
        if let Some(namespace) = &self.endpoint.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }

    async fn get(&self, url: Url) -> Result<Response> {
        let response = self.send(&url).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.checked(response, &url).await;
        }
        let challenges: Vec<String> = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|v| Some(v.to_str().ok()?.to_owned())).collect();
        let Some(header) = self.answer(&challenges).await? else { return self.checked(response, &url).await };
        drop(response);
        *self.header.lock() = Some(header);
        let response = self.send(&url).await?;
        self.checked(response, &url).await
    }

    async fn send(&self, url: &Url) -> Result<Response> {
        let mut request = self.client.get(url.clone()).header(ACCEPT, crate::manifest::ACCEPT);
        if let Some(header) = self.header.lock().clone() {
            request = request.header(AUTHORIZATION, header);
        }
        request.send().await.map_err(|source| Error::Http { step: "asking", url: url.to_string(), source: source.without_url() })
    }

    async fn checked(&self, response: Response, url: &Url) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = bounded(response, "an error message", MAX_MESSAGE).await.unwrap_or_default();
        Err(Error::Refused {
            reference: self.reference.clone(),
            status: status.as_u16(),
            url: url.to_string(),
            message: message(&body).unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_owned()),
        })
    }

    /// The Authorization header that answers a challenge, if we can.
    async fn answer(&self, challenges: &[String]) -> Result<Option<String>> {
        for challenge in challenges {
            let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                return self.token(&parameters(rest)).await.map(|token| Some(format!("Bearer {token}")));
            }
            if scheme.eq_ignore_ascii_case("basic")
                && let Some(header) = self.basic()
            {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn basic(&self) -> Option<String> {
        match &self.auth {
            Some(PullAuth::Basic { username, password }) => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
                Some(format!("Basic {pair}"))
            }
            _ => None,
        }
    }

    async fn token(&self, parameters: &BTreeMap<String, String>) -> Result<String> {
        let realm = parameters.get("realm").map(String::as_str).unwrap_or_default();
        let mut url = Url::parse(realm).map_err(|e| Error::Config(format!("the token server {realm:?} of {}: {e}", self.endpoint.host)))?;
        if url.scheme() != "https" && !self.endpoint.base.starts_with("http://") {
            return Err(Error::Config(format!("the token server {url} of {} is not https", self.endpoint.host)));
        }
        let scope = match parameters.get("scope") {
            Some(scope) => scope.clone(),
            None => format!("repository:{}:pull", self.endpoint.repository),
        };
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = parameters.get("service") {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut request = self.client.get(url.clone());
        if let Some(header) = self.basic() {
            request = request.header(AUTHORIZATION, header);
        }
        let response = request.send().await.map_err(|source| Error::Http { step: "asking for a token", url: url.to_string(), source: source.without_url() })?;
        let body = bounded(self.checked(response, &url).await?, "a registry token", MAX_TOKEN).await?;
        let answer: Token = crate::manifest::json("a registry token", &body)?;
        answer
            .token
            .or(answer.access_token)
            .filter(|token| !token.is_empty())
            .ok_or_else(|| Error::Malformed { what: format!("the answer of {url}"), reason: "it has no token".to_owned() })
    }
}

#[derive(serde::Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// `key="value",key=value` of a challenge. A comma may be inside quotes.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').map_or((after, ""), |(value, next)| (value, next)),
        };
        found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        rest = next.trim_start_matches([',', ' ']);
    }
    found
}

/// The text of a registry's error document.
fn message(body: &[u8]) -> Option<String> {
    let document: skiff_json::Value = skiff_json::from_slice(body).ok()?;
    let first = document.get("errors")?.get(0)?;
    let part = |key| first.get(key).and_then(skiff_json::Value::as_str).unwrap_or_default();
    Some(format!("{}: {}", part("code"), part("message")))
}

async fn bounded(mut response: Response, what: &str, limit: u64) -> Result<Bytes> {
    let too_large = || Error::TooLarge { what: what.to_owned(), limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        match chunk.map_err(|source| Error::Http { step: "reading", url: what.to_owned(), source: source.without_url() })? {
            None => return Ok(body.into()),
            Some(chunk) if (body.len() + chunk.len()) as u64 > limit => return Err(too_large()),
            Some(chunk) => body.extend_from_slice(&chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_taken_apart() {
        let found = parameters(r#"realm="https://auth.example/token",service="r",scope="repository:a:pull,push""#);
        let expected = [("realm", "https://auth.example/token"), ("scope", "repository:a:pull,push"), ("service", "r")];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert!(parameters("nothing").is_empty());
    }
}
