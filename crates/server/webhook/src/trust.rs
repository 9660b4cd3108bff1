//! Who vouches for a webhook's certificate: the bundle of its declaration, or the machine's trust store.
use rustls::{
    CertificateError, ClientConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::sync::{Arc, LazyLock};

pub(super) fn config(ca: &[u8]) -> Result<Arc<ClientConfig>, String> {
    if ca.is_empty() {
        static SYSTEM: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| with(rustls_native_certs::load_native_certs().certs));
        return SYSTEM.clone();
    }
    with(CertificateDer::pem_slice_iter(ca).filter_map(Result::ok).collect())
        .map_err(|_| "unable to load root certificates: unable to parse bytes as PEM block".into())
}

fn with(authorities: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let servers = skiff_pki::servers_of(authorities).map_err(|e| e.to_string())?;
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(servers).with_no_client_auth()))
}

/// Why a connection was not trusted, as Go says it.
pub(super) fn failure(e: &std::io::Error, name: &str) -> String {
    let Some(rustls::Error::InvalidCertificate(why)) = e.get_ref().and_then(|e| e.downcast_ref()) else { return format!("tls: {e}") };
    let why = match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired or is not yet valid".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate has expired or is not yet valid".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let mut names: Vec<&str> =
                presented.iter().map(|p| p.split_once('(').map_or(p.as_str(), |(_, n)| n.trim_end_matches(')').trim_matches('"'))).collect();
            names.sort_unstable();
            format!("certificate is valid for {}, not {name}", names.join(", "))
        }
        CertificateError::NotValidForName => format!("certificate is not valid for {name}"),
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}
