//! Who vouches for a webhook's certificate: the bundle of its declaration, or the machine's trust store.
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider, pki_types::{CertificateDer, pem::PemObject}};
use std::sync::{Arc, LazyLock};

pub(super) fn config(ca: &[u8]) -> Result<Arc<ClientConfig>, String> {
    if ca.is_empty() {
        static SYSTEM: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            with(roots)
        });
        return SYSTEM.clone();
    }
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(ca).filter_map(Result::ok);
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err("unable to load root certificates: unable to parse bytes as PEM block".into());
    }
    with(roots)
}

fn with(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
