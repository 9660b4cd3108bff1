//! An API server behind a Service, as an APIService object names it.
use rustls::{
    ClientConfig,
    client::danger::ServerCertVerifier,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use skiff_json::Value;
use std::sync::Arc;
use thiserror::Error;

/// Group and version.
pub(crate) type Place = (String, String);

/// What an APIService with a Service says. Local ones have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// `v1alpha1.wardle.example.com`.
    pub name: String,
    pub place: Place,
    pub namespace: String,
    pub service: String,
    pub port: u16,
    pub trust: Trust,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Anyone,
    /// PEM.
    Bundle(Vec<u8>),
}

#[derive(Debug, Error)]
pub(crate) enum RemoteError {
    #[error("spec.caBundle holds no certificate that can be read")]
    Bundle,
    #[error("this server's proxy certificate cannot be used: {0}")]
    Identity(String),
}

impl Remote {
    pub fn of(object: &Value) -> Option<Self> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let spec = &object["spec"];
        let service = spec.get("service").filter(|s| s.is_object())?;
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let trust = match spec["insecureSkipTLSVerify"].as_bool() {
            Some(true) => Trust::Anyone,
            _ => Trust::Bundle(STANDARD.decode(text(&spec["caBundle"])).unwrap_or_default()),
        };
        Some(Self {
            name: text(&object["metadata"]["name"]),
            place: (text(&spec["group"]), text(&spec["version"])),
            namespace: text(&service["namespace"]),
            service: text(&service["name"]),
            port: service["port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or(443),
            trust,
        })
    }

    /// What its certificate must be for.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    /// `/apis/GROUP/VERSION`.
    pub fn root(&self) -> String {
        format!("/apis/{}/{}", self.place.0, self.place.1)
    }
}

/// The certificate that this server shows to the API servers behind it, as PEM; its authority is published in the
/// ConfigMap `kube-system/extension-apiserver-authentication`.
#[derive(Clone)]
pub struct ProxyIdentity {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl ProxyIdentity {
    pub(crate) fn tls(&self, trust: &Trust) -> Result<ClientConfig, RemoteError> {
        let bad = |e: &dyn std::fmt::Display| RemoteError::Identity(e.to_string());
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>().map_err(|e| bad(&e))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|e| bad(&e))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|e| bad(&e))?;
        let builder = match trust {
            Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(crate::connect::anyone()),
            Trust::Bundle(pem) => builder.dangerous().with_custom_certificate_verifier(servers(pem)?),
        };
        builder.with_client_auth_cert(chain, key).map_err(|e| bad(&e))
    }
}

fn servers(pem: &[u8]) -> Result<Arc<dyn ServerCertVerifier>, RemoteError> {
    let authorities = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| RemoteError::Bundle)?;
    skiff_pki::servers_of(authorities).map_err(|_| RemoteError::Bundle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn only_services_make_remotes() {
        let local = json!({"metadata": {"name": "v1.apps"}, "spec": {"group": "apps", "version": "v1"}});
        assert_eq!(Remote::of(&local), None);
        let far = json!({"metadata": {"name": "v1.x.io"}, "spec": {"group": "x.io", "version": "v1", "service": {"namespace": "ns", "name": "api"}, "caBundle": "cGVt"}});
        let r = Remote::of(&far).unwrap();
        assert_eq!((r.host().as_str(), r.port, r.root().as_str()), ("api.ns.svc", 443, "/apis/x.io/v1"));
        assert_eq!(r.trust, Trust::Bundle(b"pem".to_vec()));
        assert!(matches!(servers(b"pem"), Err(RemoteError::Bundle)));
    }
}
