//! How a server outside is reached: an address, who vouches for it, and what is shown to it. Webhooks have this in a kubeconfig.
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::{Client, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use skiff_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Answers are read up to this, bytes.
const LIMIT: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{what}: {why}")]
    Unusable { what: String, why: String },
}

/// A server that answers reviews.
pub struct Connection {
    client: Client,
    url: url::Url,
    authorization: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub why: String,
    /// Asking again may help.
    pub again: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<NamedContext>,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}
#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}
#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    user: String,
}
#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
}
#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    password: Option<String>,
}

impl Connection {
    /// By the current context of a kubeconfig; paths in it are relative to its folder.
    pub fn of_kubeconfig(path: &Path) -> Result<Self, ConnectionError> {
        let unusable = |why: String| ConnectionError::Unusable { what: path.display().to_string(), why };
        let text = read(path)?;
        let config: Kubeconfig = serde_saphyr::from_str(&String::from_utf8_lossy(&text)).map_err(|e| unusable(e.to_string()))?;
        let context = config
            .contexts
            .iter()
            .find(|c| c.name == config.current_context)
            .or(config.contexts.first())
            .ok_or_else(|| unusable("it has no context".into()))?;
        let cluster = config
            .clusters
            .iter()
            .find(|c| c.name == context.context.cluster)
            .ok_or_else(|| unusable(format!("it has no cluster {:?}", context.context.cluster)))?;
        let user = config.users.iter().find(|u| u.name == context.context.user).map(|u| &u.user);
        if cluster.cluster.insecure_skip_tls_verify {
            return Err(unusable("insecure-skip-tls-verify is not supported: name the certificate-authority".into()));
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let material = |data: &Option<String>, file: &Option<PathBuf>| -> Result<Option<Vec<u8>>, ConnectionError> {
            match (data, file) {
                (Some(data), _) => BASE64.decode(data).map(Some).map_err(|e| unusable(e.to_string())),
                (None, Some(file)) => read(&folder.join(file)).map(Some),
                (None, None) => Ok(None),
            }
        };
        let ca = material(&cluster.cluster.certificate_authority_data, &cluster.cluster.certificate_authority)?;
        let (mut identity, mut authorization) = (None, None);
        if let Some(u) = user {
            if let (Some(mut pem), Some(key)) = (material(&u.client_certificate_data, &u.client_certificate)?, material(&u.client_key_data, &u.client_key)?) {
                pem.push(b'\n');
                pem.extend(key);
                identity = Some(pem);
            }
            authorization = match (&u.token, &u.token_file, &u.username) {
                (Some(token), ..) => Some(format!("Bearer {token}")),
                (_, Some(file), _) => Some(format!("Bearer {}", String::from_utf8_lossy(&read(&folder.join(file))?).trim())),
                (_, _, Some(name)) => Some(format!("Basic {}", BASE64.encode(format!("{name}:{}", u.password.as_deref().unwrap_or_default())))),
                _ => None,
            };
        }
        let url = url::Url::parse(&cluster.cluster.server).map_err(|e| unusable(format!("server {:?}: {e}", cluster.cluster.server)))?;
        Ok(Self { client: client(ca.as_deref(), identity.as_deref()).map_err(unusable)?, url, authorization })
    }

    /// Posts a review and gives the one that comes back.
    pub(crate) async fn review(&self, body: &Value, timeout: Duration) -> Result<Value, Failed> {
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(timeout)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .body(body.to_string());
        if let Some(a) = &self.authorization {
            request = request.header("authorization", a);
        }
        let response = request
            .send()
            .await
            .map_err(|e| Failed { why: format!("Post {:?}: {}", self.url.as_str(), root(&e)), again: !e.is_timeout() && !e.is_builder() })?;
        let status = response.status();
        let bytes = limited(response).await.map_err(|why| Failed { why, again: false })?;
        if !status.is_success() {
            let again = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            return Err(Failed {
                why: format!("the server answered {status}: {}", String::from_utf8_lossy(bytes.get(..bytes.len().min(500)).unwrap_or_default())),
                again,
            });
        }
        skiff_json::from_slice(&bytes).map_err(|e| Failed { why: format!("its answer is no JSON: {e}"), again: false })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectionError> {
    std::fs::read(path).map_err(|source| ConnectionError::Read { path: path.to_owned(), source })
}

/// The deepest cause: `connection refused`, not `error sending request`.
pub(crate) fn root(e: &dyn std::error::Error) -> String {
    let mut cause = e;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// A client that trusts `ca`, or without one the machine's authorities. It follows no redirects.
pub(crate) fn client(ca: Option<&[u8]>, identity: Option<&[u8]>) -> Result<Client, String> {
    let authorities = match ca {
        Some(pem) => authorities(pem)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let servers = skiff_pki::servers_of(authorities).map_err(|e| format!("the certificate authority: {e}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let builder = builder.dangerous().with_custom_certificate_verifier(servers);
    let config = match identity {
        Some(pem) => {
            let bad = |e: &dyn std::fmt::Display| format!("the client certificate: {e}");
            let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|e| bad(&e))?;
            let key = PrivateKeyDer::from_pem_slice(pem).map_err(|e| bad(&e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| bad(&e))?
        }
        None => builder.with_no_client_auth(),
    };
    let builder = Client::builder().tls_backend_preconfigured(config).no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.connect_timeout(Duration::from_secs(10)).timeout(Duration::from_secs(30)).build().map_err(|e| root(&e))
}

/// The certificates of a PEM file, of which there must be one.
pub(crate) fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|e| format!("the certificate authority: {e}"))?;
    if all.is_empty() { Err("data does not contain any valid RSA or ECDSA certificates".into()) } else { Ok(all) }
}

pub(crate) async fn limited(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|e| root(&e))? {
        if all.len() + part.len() > LIMIT {
            return Err(format!("the answer is longer than {LIMIT} bytes"));
        }
        all.extend_from_slice(&part);
    }
    Ok(all)
}
