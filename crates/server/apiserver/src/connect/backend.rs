//! What is at the other end.
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use skiff_json::Value;
use skiff_meta::{Reason, Status};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;

const DIAL: Duration = Duration::from_secs(10);

/// How kubelets are reached: the server's client certificate, and the authority that signs theirs.
#[derive(Clone)]
pub struct KubeletTls {
    config: Arc<ClientConfig>,
}

impl KubeletTls {
    /// All as PEM.
    pub fn new(certificate: &[u8], key: &[u8], ca: &[u8]) -> Result<Self, crate::TlsError> {
        use crate::TlsError;
        let mut roots = RootCertStore::empty();
        for c in CertificateDer::pem_slice_iter(ca) {
            roots.add(c.map_err(TlsError::ClientCa)?).map_err(TlsError::Config)?;
        }
        let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>().map_err(TlsError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Config)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(TlsError::Config)?;
        Ok(Self { config: Arc::new(config) })
    }
}

/// An address to dial.
pub(crate) struct Backend {
    pub host: String,
    pub port: u16,
    /// None: plain text.
    pub tls: Option<Arc<ClientConfig>>,
    /// What its certificate must be for.
    pub name: String,
}

pub(crate) trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for S {}

/// The kubelet of a Node object.
pub(crate) fn kubelet(node: &Value, name: &str, tls: &KubeletTls) -> Result<Backend, Status> {
    let addresses = node["status"]["addresses"].as_array().map_or(&[][..], Vec::as_slice);
    let host = ["InternalIP", "ExternalIP", "InternalDNS", "Hostname"]
        .iter()
        .find_map(|kind| addresses.iter().find(|a| a["type"] == *kind)?["address"].as_str())
        .ok_or_else(|| Status::internal(format!("no preferred addresses found; known addresses: [] of node {name}")))?;
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0).unwrap_or(10250);
    Ok(Backend { host: host.to_owned(), port, tls: Some(tls.config.clone()), name: host.to_owned() })
}

impl Backend {
    pub fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    pub async fn dial(&self) -> Result<TokioIo<Box<dyn Stream>>, Status> {
        let failed = |why: String| Status::new(Reason::ServiceUnavailable, format!("error trying to reach service: dial tcp {}: {why}", self.authority()));
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let socket = tokio::time::timeout(DIAL, connect).await.map_err(|_| failed("i/o timeout".into()))?.map_err(|e| failed(e.to_string()))?;
        let _ = socket.set_nodelay(true);
        let Some(config) = &self.tls else { return Ok(TokioIo::new(Box::new(socket))) };
        let name = ServerName::try_from(self.name.clone()).map_err(|e| failed(e.to_string()))?;
        let tls = tokio::time::timeout(DIAL, tokio_rustls::TlsConnector::from(config.clone()).connect(name, socket)).await;
        let tls = tls.map_err(|_| failed("TLS handshake timeout".into()))?.map_err(|e| failed(e.to_string()))?;
        Ok(TokioIo::new(Box::new(tls)))
    }
}

/// Backends behind `https:` are whatever the workload serves: upstream does not verify them either.
pub(super) fn unverified() -> Arc<ClientConfig> {
    static CONFIG: std::sync::LazyLock<Arc<ClientConfig>> = std::sync::LazyLock::new(|| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = anyone();
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        match builder {
            Ok(b) => Arc::new(b.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()),
            // The ring provider has cipher suites for both versions.
            Err(e) => unreachable!("{e}"),
        }
    });
    CONFIG.clone()
}

/// Believes any certificate.
pub(crate) fn anyone() -> Arc<dyn rustls::client::danger::ServerCertVerifier> {
    Arc::new(Anyone(Arc::new(rustls::crypto::ring::default_provider())))
}

#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
