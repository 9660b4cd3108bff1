//! registries.yaml: mirrors, rewrites, credentials and TLS of registries, in the form that k3s users have.
//!
//! ```yaml
//! mirrors:
//!   docker.io:
//!     endpoint: ["https://mirror.example:5000"]
//!     rewrite: { "^library/(.*)": "cache/$1" }
//! configs:
//!   "mirror.example:5000":
//!     auth: { username: u, password: p }
//!     tls: { ca_file: /etc/ssl/mirror.pem }
//! ```
//! The file is read again when it changes. Plain HTTP is spoken only to endpoints that say `http://`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use regex::Regex;
use serde::Deserialize;
use url::Url;

use crate::error::{Error, Result};
use crate::reference::Reference;

/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Registries {
    pub mirrors: BTreeMap<String, Mirror>,
    pub configs: BTreeMap<String, HostConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mirror {
    pub endpoint: Vec<String>,
    pub rewrite: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    pub auth: Option<HostAuth>,
    pub tls: Option<HostTls>,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HostAuth {
    pub username: String,
    pub password: String,
    /// base64 of `username:password`
    pub auth: String,
    pub identity_token: String,
}

impl std::fmt::Debug for HostAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostAuth(…)")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct HostTls {
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

/// One place to ask for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host and path up to `/v2`, without a slash at the end.
    pub base: String,
    /// Host and port, the key into `configs`.
    pub host: String,
    pub repository: String,
    /// The registry that a mirror stands in for.
    pub namespace: Option<String>,
    pub config: HostConfig,
}

impl Registries {
    pub fn decode(text: &str) -> Result<Self> {
        let read: Self = serde_saphyr::from_str(text).map_err(|e| Error::Config(format!("registries.yaml: {e}")))?;
        for (name, mirror) in &read.mirrors {
            for endpoint in &mirror.endpoint {
                endpoint_url(endpoint).map_err(|reason| Error::Config(format!("registries.yaml: mirror {name}: {reason}")))?;
            }
            for pattern in mirror.rewrite.keys() {
                Regex::new(pattern).map_err(|e| Error::Config(format!("registries.yaml: mirror {name}: rewrite {pattern:?}: {e}")))?;
            }
        }
        Ok(read)
    }

    /// Where to ask for the image, in order: the mirrors, then the registry itself.
    pub fn endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        let mirror = self.mirrors.get(&reference.registry).or_else(|| self.mirrors.get("*"));
        for text in mirror.iter().flat_map(|mirror| &mirror.endpoint) {
            let Ok(url) = endpoint_url(text) else { continue };
            let host = host_of(&url);
            let itself = host == reference.registry || host == default_host(&reference.registry);
            let repository = match mirror {
                Some(mirror) => rewritten(&mirror.rewrite, &reference.repository),
                None => reference.repository.clone(),
            };
            let path = url.path().trim_end_matches('/');
            let path = if path.is_empty() { "/v2" } else { path };
            endpoints.push(Endpoint {
                base: format!("{}://{host}{path}", url.scheme()),
                config: self.config(&host),
                repository,
                namespace: (!itself).then(|| reference.registry.clone()),
                host,
            });
        }
        let host = default_host(&reference.registry);
        // An endpoint that names the registry itself replaces the default one: it may say http.
        if !endpoints.iter().any(|endpoint| endpoint.host == host) {
            endpoints.push(Endpoint {
                base: format!("https://{host}/v2"),
                config: self.config(if self.configs.contains_key(host) { host } else { &reference.registry }),
                host: host.to_owned(),
                repository: reference.repository.clone(),
                namespace: None,
            });
        }
        endpoints
    }

    fn config(&self, host: &str) -> HostConfig {
        self.configs.get(host).or_else(|| self.configs.get("*")).cloned().unwrap_or_default()
    }
}

fn default_host(registry: &str) -> &str {
    if registry == "docker.io" { "registry-1.docker.io" } else { registry }
}

fn endpoint_url(text: &str) -> Result<Url, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&whole).map_err(|e| format!("endpoint {text:?}: {e}"))?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(url),
        _ => Err(format!("endpoint {text:?} has to be an http or https URL")),
    }
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The first pattern that changes the name wins.
fn rewritten(rewrite: &BTreeMap<String, String>, repository: &str) -> String {
    rewrite
        .iter()
        .filter_map(|(pattern, with)| Some(Regex::new(pattern).ok()?.replace_all(repository, with.as_str()).into_owned()))
        .find(|changed| changed != repository)
        .unwrap_or_else(|| repository.to_owned())
}

/// The file, read again when its time or size changes. A damaged new version leaves the last good one in force.
pub struct RegistriesFile {
    path: PathBuf,
    state: Mutex<(Option<(SystemTime, u64)>, Arc<Registries>)>,
}

impl RegistriesFile {
    /// A file that isn't there is an empty one; a damaged one is an error at start.
    pub fn open(path: &Path) -> Result<Self> {
        let stamp = stamp(path);
        let registries = if stamp.is_some() { read(path)? } else { Registries::default() };
        Ok(Self { path: path.to_owned(), state: Mutex::new((stamp, Arc::new(registries))) })
    }

    pub fn current(&self) -> Arc<Registries> {
        let stamp = stamp(&self.path);
        let mut state = self.state.lock();
        if stamp != state.0 {
            match if stamp.is_some() { read(&self.path) } else { Ok(Registries::default()) } {
                Ok(registries) => state.1 = Arc::new(registries),
                Err(error) => tracing::error!(target: "images", %error, "registries.yaml is not used"),
            }
            state.0 = stamp;
        }
        state.1.clone()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path) -> Result<Registries> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(Error::io("opening", path))?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(Error::io("reading", path))?;
    Registries::decode(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_and_rewrites_apply_to_them_alone() {
        let registries = Registries::decode(
            "mirrors:\n  docker.io:\n    endpoint: ['http://m:5000', 'https://n/v2/proxy']\n    rewrite: {'^library/(.*)': 'cache/$1'}\n\
             configs:\n  'm:5000':\n    auth: {username: u, password: p}\n",
        )
        .expect("valid");
        let asked: Vec<_> = registries
            .endpoints(&Reference::parse("nginx").expect("valid"))
            .into_iter()
            .map(|e| (format!("{}/{}", e.base, e.repository), e.namespace, e.config.auth.is_some()))
            .collect();
        let hub = Some("docker.io".to_owned());
        assert_eq!(
            asked,
            [
                ("http://m:5000/v2/cache/nginx".to_owned(), hub.clone(), true),
                ("https://n/v2/proxy/cache/nginx".to_owned(), hub, false),
                ("https://registry-1.docker.io/v2/library/nginx".to_owned(), None, false),
            ]
        );
    }

    #[test]
    fn a_registry_can_be_its_own_plain_endpoint() {
        let registries = Registries::decode("mirrors: {'r:5000': {endpoint: ['http://r:5000']}}").expect("valid");
        let asked: Vec<_> = registries.endpoints(&Reference::parse("r:5000/a").expect("valid")).into_iter().map(|e| e.base).collect();
        assert_eq!(asked, ["http://r:5000/v2"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [("mirrors: {a: {endpoint: ['ftp://x']}}", "ftp://x"), ("mirrors: {a: {rewrite: {'(': b}}}", "rewrite")] {
            let error = Registries::decode(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
