//! What the node agent's server shows.
use crate::{IdentityError, kept::read};
use parking_lot::RwLock;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use skiff_pki::Leaf;
use std::path::Path;
use std::sync::Arc;

const CLIENTS: &str = "authority of client certificates";

fn unusable<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> IdentityError {
    move |e| IdentityError::Unusable { what, why: e.to_string() }
}

/// What the node agent's server shows: nothing until there is a certificate, then the newest.
#[derive(Debug, Default)]
pub struct Serving(RwLock<Option<Arc<CertifiedKey>>>);

impl Serving {
    /// With the kept certificate, if there is one.
    pub fn open(path: &Path) -> Arc<Self> {
        let serving = Arc::new(Self::default());
        if let Ok(Some(leaf)) = read(path)
            && let Err(e) = serving.replace(&leaf)
        {
            tracing::warn!(target: "skiff", error = %e, "the kept serving certificate is of no use");
        }
        serving
    }
    pub(crate) fn replace(&self, leaf: &Leaf) -> Result<(), IdentityError> {
        let chain = CertificateDer::pem_slice_iter(leaf.certificate.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(unusable("serving certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).map_err(unusable("serving key"))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(unusable("serving key"))?;
        *self.0.write() = Some(Arc::new(CertifiedKey::new(chain, key)));
        Ok(())
    }
    /// HTTP/1.1 alone, for upgrades; clients may come without a certificate.
    pub fn config(self: &Arc<Self>, client_ca: &str) -> Result<Arc<ServerConfig>, IdentityError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(client_ca.as_bytes()) {
            roots.add(ca.map_err(unusable(CLIENTS))?).map_err(unusable(CLIENTS))?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).allow_unauthenticated().build().map_err(unusable(CLIENTS))?;
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unusable("versions of TLS"))?;
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kept::write, serving_profile};
    use std::time::SystemTime;

    #[test]
    fn a_leaf_is_kept_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let ca = skiff_pki::Authority::open(dir.path(), "ca", SystemTime::now()).unwrap();
        let profile = serving_profile("a", "10.0.0.2".parse().unwrap());
        let leaf = ca.issue(&profile, SystemTime::now()).unwrap();
        let path = dir.path().join("x.pem");
        assert!(read(&path).unwrap().is_none());
        write(&path, &leaf).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let back = read(&path).unwrap().unwrap();
        assert_eq!((back.common_name(), back.key.trim()), (Some("system:node:a".into()), leaf.key.trim()));
        assert!(back.names(&profile) && !back.names(&serving_profile("a", "10.0.0.3".parse().unwrap())));
        let serving = Serving::open(&path);
        assert!(serving.0.read().is_some());
        serving.config(ca.certificate()).unwrap();
        std::fs::write(&path, "torn").unwrap();
        assert!(read(&path).unwrap().is_none());
    }
}
