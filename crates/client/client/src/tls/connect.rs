//! Connections: TCP, TLS, HTTP.
use super::HttpsError;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    client::conn::{http1, http2},
    header::{HOST, HeaderValue},
    http::uri::{Authority, PathAndQuery},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::RwLock;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;

pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;
/// Asked before each request, so that a token can be renewed. None sends no token.
pub type TokenSource = Arc<dyn Fn() -> Option<String> + Send + Sync>;

const CONNECT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes back for so long is given up.
const ALIVE: Duration = Duration::from_secs(20);

/// A client certificate and its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// Where the server is, what proves it, and who asks.
#[derive(Clone)]
pub struct Endpoint {
    /// `https://host:port`, perhaps with a path in front of all others.
    pub server: String,
    /// The certificate authorities that may vouch for the server, PEM.
    pub authorities: Vec<u8>,
    /// What the server's certificate must name, when it is not the host.
    pub server_name: Option<String>,
    pub identity: Option<Identity>,
    pub token: Option<TokenSource>,
}

pub(super) struct Connector {
    authority: Authority,
    host: String,
    port: u16,
    prefix: String,
    name: ServerName<'static>,
    configs: RwLock<Configs>,
    token: Option<TokenSource>,
}

/// With HTTP/2 offered, and without.
struct Configs {
    h2: Arc<ClientConfig>,
    h1: Arc<ClientConfig>,
}

impl From<ClientConfig> for Configs {
    fn from(h1: ClientConfig) -> Self {
        let mut h2 = h1.clone();
        h2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { h2: Arc::new(h2), h1: Arc::new(h1) }
    }
}

fn url(server: &str) -> Result<(Uri, Authority), HttpsError> {
    let wrong = || HttpsError::Url(server.to_owned());
    let uri: Uri = server.parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|a| uri.scheme_str() == Some("https") && !a.host().is_empty()).cloned().ok_or_else(wrong)?;
    Ok((uri, authority))
}

/// Fails for what is not the URL of a server; nothing is asked of it.
pub fn check_url(server: &str) -> Result<(), HttpsError> {
    url(server).map(drop)
}

impl Connector {
    pub(super) fn new(e: &Endpoint) -> Result<Self, HttpsError> {
        Self::with(e, config(e)?)
    }
    /// With a TLS configuration of one's own; that which the endpoint would give is not looked at.
    pub(super) fn with(e: &Endpoint, config: ClientConfig) -> Result<Self, HttpsError> {
        let wrong = || HttpsError::Url(e.server.clone());
        let (uri, authority) = url(&e.server)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let name = e.server_name.clone().unwrap_or_else(|| host.clone());
        Ok(Self {
            port: authority.port_u16().unwrap_or(443),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            name: ServerName::try_from(name).map_err(|_| wrong())?,
            authority,
            host,
            configs: RwLock::new(config.into()),
            token: e.token.clone(),
        })
    }
    /// New connections use what the endpoint says now of authorities and identity.
    pub(super) fn reload(&self, e: &Endpoint) -> Result<(), HttpsError> {
        *self.configs.write() = config(e)?.into();
        Ok(())
    }
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }
    pub(super) fn token(&self) -> Option<HeaderValue> {
        let token = self.token.as_ref()?()?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
    pub(super) fn broken(&self, source: hyper::Error) -> HttpsError {
        HttpsError::Http { address: self.authority.to_string(), source }
    }
    /// The URI as HTTP/2 wants it.
    pub(super) fn absolute(&self, uri: &Uri) -> Result<Uri, hyper::http::Error> {
        Uri::builder().scheme("https").authority(self.authority.clone()).path_and_query(self.path(uri)?).build()
    }
    fn path(&self, uri: &Uri) -> Result<PathAndQuery, hyper::http::Error> {
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Ok(PathAndQuery::try_from(format!("{}{path}", self.prefix))?)
    }
    pub(super) async fn dial(&self, h2: bool) -> Result<TlsStream, HttpsError> {
        let address = self.authority.to_string();
        let config = {
            let all = self.configs.read();
            if h2 { all.h2.clone() } else { all.h1.clone() }
        };
        let connect = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
            tcp.set_nodelay(true)?;
            tokio_rustls::TlsConnector::from(config).connect(self.name.clone(), tcp).await
        };
        match tokio::time::timeout(CONNECT, connect).await {
            Ok(done) => done.map_err(|source| HttpsError::Connect { address, source }),
            Err(_) => Err(HttpsError::Silent { address, seconds: CONNECT.as_secs() }),
        }
    }
    /// None when the server chose HTTP/1.1.
    pub(super) async fn http2(&self) -> Result<Option<http2::SendRequest<Full<Bytes>>>, HttpsError> {
        let stream = self.dial(true).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Ok(None);
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(ALIVE).keep_alive_timeout(ALIVE).keep_alive_while_idle(true);
        builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(e))?;
        // Its end shows at the sender.
        tokio::spawn(async move { connection.await.unwrap_or_default() });
        Ok(Some(sender))
    }
    /// One request on a connection of its own.
    pub(super) async fn once(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HttpsError> {
        let stream = self.dial(false).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(e))?;
        tokio::spawn(async move { connection.await.unwrap_or_default() });
        let host = HeaderValue::try_from(self.authority.as_str()).map_err(|e| HttpsError::Request(e.into()))?;
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = Uri::from(self.path(request.uri()).map_err(HttpsError::Request)?);
        sender.send_request(request).await.map_err(|e| self.broken(e))
    }
}

fn config(e: &Endpoint) -> Result<ClientConfig, HttpsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(&e.authorities, "certificate authorities")? {
        roots.add(authority).map_err(HttpsError::Tls)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(HttpsError::Tls)?.with_root_certificates(roots);
    match &e.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(id) => {
            let key = PrivateKeyDer::from_pem_slice(&id.key).map_err(|source| HttpsError::Pem { what: "client key", source })?;
            builder.with_client_auth_cert(certificates(&id.certificate, "client certificate")?, key).map_err(HttpsError::Tls)
        }
    }
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, HttpsError> {
    let all: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|source| HttpsError::Pem { what, source })?;
    if all.is_empty() { Err(HttpsError::Empty(what)) } else { Ok(all) }
}
