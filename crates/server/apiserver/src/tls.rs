//! The server's certificates, swapped live.
use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::sync::Arc;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("the server's certificate cannot be read")]
    Certificate(#[source] rustls::pki_types::pem::Error),
    #[error("the server's key cannot be read")]
    Key(#[source] rustls::pki_types::pem::Error),
    #[error("the client certificate authority cannot be read")]
    ClientCa(#[source] rustls::pki_types::pem::Error),
    #[error("the client certificate authority is of no use")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    #[error("certificate and key do not make a server")]
    Config(#[source] rustls::Error),
}

/// What a server shows and whom it believes, as PEM.
#[derive(Clone)]
pub struct TlsMaterial {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    /// Signs client certificates; a client may come without one.
    pub client_ca: Vec<u8>,
}

/// Live TLS configuration: connections that are accepted after [`Tls::replace`] use the new one.
#[derive(Clone)]
pub struct Tls {
    current: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    pub fn new(material: &TlsMaterial) -> Result<Self, TlsError> {
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(config(material)?)) })
    }
    pub fn replace(&self, material: &TlsMaterial) -> Result<(), TlsError> {
        self.current.store(Arc::new(config(material)?));
        Ok(())
    }
    /// The present configuration for a server that speaks HTTP/1.1 alone (upgrades of node agents).
    pub fn config_without_http2(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.current.load());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

fn config(m: &TlsMaterial) -> Result<ServerConfig, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&m.certificate).collect::<Result<Vec<_>, _>>().map_err(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&m.key).map_err(TlsError::Key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(&m.client_ca) {
        roots.add(ca.map_err(TlsError::ClientCa)?).map_err(TlsError::Config)?;
    }
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(TlsError::Config)?;
    let builder = if roots.is_empty() {
        builder.with_no_client_auth()
    } else {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build().map_err(TlsError::Verifier)?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Config)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
