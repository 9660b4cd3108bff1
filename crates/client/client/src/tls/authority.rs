//! The certificate authority of a server of which one knows only how to recognise it.
use super::{Endpoint, HttpsError, connect::Connector};
use parking_lot::Mutex;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::Arc;

type Known = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// The authority (DER) that signed the certificate of `server`, which is to be sent with it and to satisfy `known`. Nothing but
/// the handshake is sent, so nobody in between learns anything. A server without such an authority is an error of
/// [`std::io::ErrorKind::InvalidData`].
pub async fn authority_of(server: &str, known: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Result<Vec<u8>, HttpsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Arc::new(Pinned { known: Box::new(known), provider: provider.clone(), found: Mutex::new(None) });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(HttpsError::Tls)?;
    let config = builder.dangerous().with_custom_certificate_verifier(pinned.clone()).with_no_client_auth();
    let endpoint = Endpoint { server: server.to_owned(), authorities: Vec::new(), server_name: None, identity: None, token: None };
    Connector::with(&endpoint, config)?.dial(false).await?;
    let found = pinned.found.lock().take();
    found.map(|c| c.to_vec()).ok_or(HttpsError::Empty("certificate authority"))
}

/// Believes a chain that ends at a certificate which it recognises.
struct Pinned {
    known: Known,
    provider: Arc<CryptoProvider>,
    found: Mutex<Option<CertificateDer<'static>>>,
}

impl std::fmt::Debug for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pinned")
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = chain.iter().find(|c| (self.known)(c)).ok_or(CertificateError::UnknownIssuer)?.clone().into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone()).build().map_err(|e| Error::General(e.to_string()))?;
        let verified = verifier.verify_server_cert(leaf, chain, name, ocsp, now)?;
        *self.found.lock() = Some(authority);
        Ok(verified)
    }
    fn verify_tls12_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(m, c, d, &self.provider.signature_verification_algorithms)
    }
    fn verify_tls13_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(m, c, d, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
