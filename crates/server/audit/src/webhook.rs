//! The webhook: batches are posted as an `EventList` to the server that a kubeconfig names.
use crate::{
    batch::Batching,
    event,
    outlet::{Form, Mode, Outlet, OutletError, Sink, Truncation},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;

/// Upstream's `--audit-webhook-*`.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookOptions {
    /// A kubeconfig.
    pub config: PathBuf,
    pub initial_backoff: Duration,
    pub mode: Mode,
    pub batching: Batching,
    pub truncation: Option<Truncation>,
}

#[derive(Debug, Error)]
pub enum WebhookError {
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: {why}")]
    Config { path: PathBuf, why: String },
}

/// A batch is tried so often, each time after one and a half times as long.
const TRIES: u32 = 5;
const FACTOR: f64 = 1.5;
const TIMEOUT: Duration = Duration::from_secs(30);
/// A kubeconfig is no larger than this, bytes.
const MAX_SIZE: u64 = 1 << 20;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<Named>,
    clusters: Vec<Named>,
    users: Vec<Named>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    context: Context,
    cluster: Cluster,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
    tls_server_name: String,
    insecure_skip_tls_verify: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
}

struct Webhook {
    client: reqwest::Client,
    url: String,
    token: Option<String>,
    backoff: Duration,
}

impl WebhookOptions {
    /// Reads the configuration and starts the worker.
    pub fn open(&self) -> Result<(Outlet, tokio::task::JoinHandle<()>), WebhookError> {
        let bad = |why: String| WebhookError::Config { path: self.config.clone(), why };
        let read = |path: &Path| {
            let source = |source| WebhookError::Read { path: path.to_owned(), source };
            if std::fs::metadata(path).map_err(source)?.len() > MAX_SIZE {
                return Err(WebhookError::Config { path: path.to_owned(), why: format!("it is larger than {MAX_SIZE} bytes") });
            }
            std::fs::read(path).map_err(source)
        };
        let text = String::from_utf8(read(&self.config)?).map_err(|e| bad(e.to_string()))?;
        let config: Kubeconfig = serde_saphyr::from_str(&text).map_err(|e| bad(format!("it is no kubeconfig: {e}")))?;
        let (cluster, user) = config.chosen().map_err(bad)?;
        // Paths are relative to the kubeconfig.
        let dir = self.config.parent().unwrap_or(Path::new("."));
        let either = |data: &str, file: &str| match (data, file) {
            ("", "") => Ok(None),
            ("", file) => read(&dir.join(file)).map(Some),
            (data, _) => STANDARD.decode(data).map(Some).map_err(|e| bad(format!("base64: {e}"))),
        };
        let tls = tls(
            either(&cluster.certificate_authority_data, &cluster.certificate_authority)?,
            either(&user.client_certificate_data, &user.client_certificate)?,
            either(&user.client_key_data, &user.client_key)?,
            cluster,
        )
        .map_err(bad)?;
        let token = match (user.token.as_str(), user.token_file.as_str()) {
            ("", "") => None,
            ("", file) => Some(String::from_utf8_lossy(&read(&dir.join(file))?).trim().to_owned()),
            (token, _) => Some(token.to_owned()),
        };
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).no_proxy();
        let sink = Webhook { client: client.build().map_err(|e| bad(e.to_string()))?, url: cluster.server.clone(), token, backoff: self.initial_backoff };
        Ok(Outlet::start("webhook", self.mode, Form::Json, self.batching, self.truncation, sink))
    }
}

impl Kubeconfig {
    /// The cluster and the user of the current context; of a single one without a context.
    fn chosen(&self) -> Result<(&Cluster, &User), String> {
        static NOBODY: std::sync::LazyLock<User> = std::sync::LazyLock::new(User::default);
        let context = self.contexts.iter().find(|c| c.name == self.current_context).map(|c| &c.context);
        let named = |all: &'_ [Named], name: Option<&str>| all.iter().position(|n| name.is_none_or(|wanted| n.name == wanted));
        let cluster = named(&self.clusters, context.map(|c| c.cluster.as_str())).and_then(|i| self.clusters.get(i)).map(|n| &n.cluster);
        let cluster = cluster.filter(|c| !c.server.is_empty()).ok_or("it names no server")?;
        if cluster.insecure_skip_tls_verify {
            return Err("insecure-skip-tls-verify is not supported: give certificate-authority".into());
        }
        if !cluster.tls_server_name.is_empty() {
            return Err("tls-server-name is not supported: name the server as its certificate does".into());
        }
        let user = named(&self.users, context.map(|c| c.user.as_str())).and_then(|i| self.users.get(i)).map_or(&*NOBODY, |n| &n.user);
        Ok((cluster, user))
    }
}

fn tls(ca: Option<Vec<u8>>, certificate: Option<Vec<u8>>, key: Option<Vec<u8>>, cluster: &Cluster) -> Result<ClientConfig, String> {
    let authorities = match ca {
        Some(pem) => CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|e| format!("certificate-authority: {e}"))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    if authorities.is_empty() {
        return Err(format!("certificate-authority of {} holds no certificate", cluster.server));
    }
    let servers = skiff_pki::servers_of(authorities).map_err(|e| format!("certificate-authority: {e}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let builder = builder.dangerous().with_custom_certificate_verifier(servers);
    let (Some(certificate), Some(key)) = (certificate, key) else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>().map_err(|e| format!("client-certificate: {e}"))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| format!("client-key: {e}"))?;
    builder.with_client_auth_cert(chain, key).map_err(|e| format!("client-certificate: {e}"))
}

#[async_trait::async_trait]
impl Sink for Webhook {
    async fn take(&mut self, events: &[Bytes]) -> Result<(), OutletError> {
        let body = Bytes::from(event::list(events));
        let mut backoff = self.backoff;
        for attempt in 1.. {
            let why = match self.post(body.clone()).await {
                Ok(()) => return Ok(()),
                Err((why, false)) => return Err(OutletError::Webhook { url: self.url.clone(), why }),
                Err((why, true)) => why,
            };
            if attempt == TRIES {
                return Err(OutletError::Webhook { url: self.url.clone(), why });
            }
            tokio::time::sleep(backoff).await;
            backoff = backoff.mul_f64(FACTOR);
        }
        Ok(())
    }
}

impl Webhook {
    /// The error says whether another try may help.
    async fn post(&self, body: Bytes) -> Result<(), (String, bool)> {
        let mut request = self.client.post(&self.url).header("content-type", "application/json").body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|e| (e.to_string(), true))?;
        match response.status() {
            s if s.is_success() => Ok(()),
            s => Err((format!("it answered {s}"), s.is_server_error() || s.as_u16() == 429)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    const CONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'SERVER'}}]\nusers: [{name: u, user: {token: secret}}]\n";

    fn options(config: &Path) -> WebhookOptions {
        WebhookOptions {
            config: config.to_owned(),
            initial_backoff: Duration::from_millis(1),
            mode: Mode::Blocking,
            batching: Batching { wait: Duration::ZERO, ..Batching::WEBHOOK },
            truncation: None,
        }
    }

    #[tokio::test]
    async fn events_are_posted_again_until_they_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/audit", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut seen = Vec::new();
            for answer in ["500 Busy", "200 OK"] {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut text = Vec::new();
                let mut part = [0; 4096];
                while !text.ends_with(b"]}") {
                    let n = socket.read(&mut part).await.unwrap();
                    text.extend_from_slice(&part[..n]);
                }
                socket.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
                seen.push(String::from_utf8(text).unwrap());
            }
            seen
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.yaml");
        std::fs::write(&path, CONFIG.replace("SERVER", &url)).unwrap();
        let (outlet, _worker) = options(&path).open().unwrap();
        assert!(outlet.put(&event::Event::default(), crate::Stage::Panic, SystemTime::UNIX_EPOCH, &Default::default()).await);
        let seen = server.await.unwrap();
        for text in &seen {
            assert!(
                text.starts_with("POST /audit HTTP/1.1")
                    && text.contains("authorization: Bearer secret")
                    && text.contains(r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[{"level":"None""#),
                "{text}"
            );
        }
        assert_eq!(seen.len(), 2);
    }

    /// What comes while the sink hangs is kept up to the queue's length, and goes on as one batch once it answers again.
    #[tokio::test]
    async fn a_sink_that_hangs_holds_up_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/audit", listener.local_addr().unwrap());
        let (first, came) = tokio::sync::oneshot::channel();
        let (answer, wanted) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let (mut first, mut wanted, mut batches) = (Some(first), Some(wanted), Vec::new());
            for _ in 0..2 {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (mut text, mut part) = (Vec::new(), [0; 4096]);
                while !text.ends_with(b"]}") {
                    let n = socket.read(&mut part).await.unwrap();
                    text.extend_from_slice(&part[..n]);
                }
                batches.push(String::from_utf8(text).unwrap().matches("\"auditID\"").count());
                if let Some(first) = first.take() {
                    first.send(()).unwrap();
                }
                if let Some(wanted) = wanted.take() {
                    wanted.await.unwrap();
                }
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
            }
            batches
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.yaml");
        std::fs::write(&path, CONFIG.replace("SERVER", &url)).unwrap();
        let batching = Batching { buffer: 4, size: 10, wait: Duration::ZERO, throttle: None };
        let (outlet, _worker) = WebhookOptions { mode: Mode::Batch, batching, ..options(&path) }.open().unwrap();
        let put = || async { outlet.put(&event::Event::default(), crate::Stage::Panic, SystemTime::UNIX_EPOCH, &Default::default()).await };
        assert!(put().await);
        came.await.unwrap();
        let mut kept = 0;
        for _ in 0..6 {
            kept += usize::from(put().await);
        }
        assert_eq!((kept, outlet.errors.load(std::sync::atomic::Ordering::Relaxed)), (4, 2));
        answer.send(()).unwrap();
        assert_eq!(server.await.unwrap(), [1, 4]);
    }

    #[test]
    fn configurations_that_do_not_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.yaml");
        assert!(matches!(options(&path).open(), Err(WebhookError::Read { .. })));
        for (text, why) in [
            ("[", "no kubeconfig"),
            ("clusters: []", "names no server"),
            (&CONFIG.replace("server: 'SERVER'", "server: 'https://x', insecure-skip-tls-verify: true"), "not supported"),
            (&CONFIG.replace("server: 'SERVER'", "server: 'https://x', certificate-authority-data: eA=="), "holds no certificate"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = options(&path).open().err().unwrap().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
