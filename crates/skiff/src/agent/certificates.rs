//! This node's certificates: asked for by requests to the cluster's signers, renewed before they end, used without a restart.
use crate::agent::join::identity;
use anyhow::{Context, bail};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use parking_lot::RwLock;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use skiff_client::{Client, tls::Https};
use skiff_meta::Reason;
use skiff_pki::{Leaf, Profile, Usage};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A kind of certificate: who signs it, for which usages.
pub struct Kind {
    signer: &'static str,
    usages: &'static [&'static str],
}

pub const CLIENT: Kind = Kind { signer: "kubernetes.io/kube-apiserver-client-kubelet", usages: &["digital signature", "client auth"] };
const SERVING: Kind = Kind { signer: "kubernetes.io/kubelet-serving", usages: &["digital signature", "server auth"] };

/// How long a request may lie there before another one is made.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const PAUSE: Duration = Duration::from_secs(5);
/// The clock is looked at this often: machines sleep, clocks are set.
const LOOK: Duration = Duration::from_secs(60);

pub fn user(node: &str) -> String {
    format!("system:node:{node}")
}

pub fn client_profile(node: &str) -> Profile {
    Profile { common_name: user(node), organizations: vec!["system:nodes".into()], usage: Usage::Client, ..Profile::default() }
}

fn serving_profile(node: &str, address: IpAddr) -> Profile {
    Profile { dns_names: vec![node.to_owned()], addresses: vec![address], usage: Usage::Server, ..client_profile(node) }
}

/// A certificate for a new key. Waits for a server that does not answer; a request that is denied is an error.
pub async fn obtain(client: &Client, kind: &Kind, profile: &Profile) -> anyhow::Result<Leaf> {
    let key = skiff_pki::new_key()?;
    let request = skiff_pki::request(&key, profile)?;
    loop {
        let name = submit(client, kind, &request).await?;
        if let Some(certificate) = wait(client, &name).await? {
            return Ok(Leaf { certificate, key });
        }
        tracing::warn!(target: "skiff", request = name, signer = kind.signer, "certificate not signed in time, asking again");
    }
}

async fn submit(client: &Client, kind: &Kind, request: &str) -> anyhow::Result<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let csr = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"generateName": "csr-"},
        "spec": {"request": STANDARD.encode(request), "signerName": kind.signer, "usages": kind.usages}});
    let csr: CertificateSigningRequest = serde_json::from_value(csr)?;
    let mut pause = Duration::from_millis(200);
    loop {
        match client.create(&csr).await {
            Ok(made) => return made.metadata.name.context("the certificate request has no name"),
            Err(e) if [Reason::Unauthorized, Reason::Forbidden, Reason::Invalid].iter().any(|r| e.is(*r)) => return Err(e).context("the server refuses the certificate request"),
            Err(e) => tracing::warn!(target: "skiff", error = %e, "certificate not asked for yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}

/// The signed certificate, PEM; None when it did not come in time or the request is gone.
async fn wait(client: &Client, name: &str) -> anyhow::Result<Option<String>> {
    let mut pause = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        match client.find::<CertificateSigningRequest>("", name).await {
            Ok(None) => return Ok(None),
            Ok(Some(csr)) => {
                if let Some(done) = outcome(&csr).with_context(|| format!("certificate request {name}"))? {
                    return Ok(Some(done));
                }
            }
            Err(e) => tracing::debug!(target: "skiff", request = name, error = %e, "certificate request not read"),
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(PAUSE);
    }
    Ok(None)
}

/// What has become of a request: nothing yet, a certificate, or a refusal.
fn outcome(csr: &CertificateSigningRequest) -> anyhow::Result<Option<String>> {
    let Some(status) = &csr.status else { return Ok(None) };
    if let Some(no) = status.conditions.iter().flatten().find(|c| matches!(c.type_.as_str(), "Denied" | "Failed")) {
        bail!("{}: {}", no.type_, no.message.as_deref().or(no.reason.as_deref()).unwrap_or_default());
    }
    let Some(bytes) = status.certificate.as_ref().filter(|c| !c.0.is_empty()) else { return Ok(None) };
    String::from_utf8(bytes.0.clone()).map(Some).context("the certificate is no text")
}

/// The leaf in a file of certificate and key; None when there is no whole one.
pub fn read(path: &Path) -> anyhow::Result<Option<Leaf>> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("read {}", path.display()))?,
    };
    // The key is last.
    let Some(at) = text.rfind("-----BEGIN PRIVATE KEY-----") else { return Ok(None) };
    let (certificate, key) = text.split_at(at);
    Ok(Some(Leaf { certificate: certificate.into(), key: key.into() }).filter(Leaf::is_whole))
}

pub fn write(path: &Path, leaf: &Leaf) -> anyhow::Result<()> {
    let text = format!("{}\n{}", leaf.certificate.trim_end(), leaf.key);
    skiff_pki::write_private(path, text.as_bytes()).context("keep this node's certificate")
}

/// Sleeps until the leaf is to be renewed. One without a readable end is to be renewed at once.
async fn ripe(leaf: &Leaf) {
    let Some((from, until)) = leaf.validity() else { return };
    let at = skiff_pki::renew_at(from, until, rand::random());
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

/// Renews the client certificate in time, for ever.
pub async fn keep_client(client: Client, https: Arc<Https>, node: String, path: PathBuf) {
    loop {
        if let Ok(Some(leaf)) = read(&path) {
            ripe(&leaf).await;
        }
        let renewed = async {
            let leaf = obtain(&client, &CLIENT, &client_profile(&node)).await?;
            write(&path, &leaf)?;
            https.renew(identity(&leaf)).context("use the renewed certificate")
        };
        match renewed.await {
            Ok(()) => tracing::info!(target: "skiff", "client certificate renewed"),
            Err(e) => {
                tracing::error!(target: "skiff", error = %format!("{e:#}"), "client certificate not renewed, trying again");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Gets the certificate of the node agent's server and renews it in time, for ever.
pub async fn keep_serving(client: Client, serving: Arc<Serving>, node: String, address: IpAddr, path: PathBuf) {
    let profile = serving_profile(&node, address);
    loop {
        let usable = |l: &Leaf| l.common_name() == Some(user(&node)) && l.names(&profile);
        if let Some(leaf) = read(&path).ok().flatten().filter(usable) {
            ripe(&leaf).await;
        }
        registered(&client, &node, address).await;
        let renewed = async {
            let leaf = obtain(&client, &SERVING, &profile).await?;
            write(&path, &leaf)?;
            serving.replace(&leaf)
        };
        match renewed.await {
            Ok(()) => tracing::info!(target: "skiff", "serving certificate renewed"),
            Err(e) => {
                tracing::error!(target: "skiff", error = %format!("{e:#}"), "serving certificate not renewed, trying again");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Waits until the node has told the API its address: only then is a request for that address approved.
async fn registered(client: &Client, node: &str, address: IpAddr) {
    let mut pause = Duration::from_millis(50);
    let told = |n: Node| n.status.and_then(|s| s.addresses).unwrap_or_default().iter().any(|a| a.address.parse() == Ok(address));
    while !client.find::<Node>("", node).await.is_ok_and(|n| n.is_some_and(told)) {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
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
            tracing::warn!(target: "skiff", error = %format!("{e:#}"), "the kept serving certificate is of no use");
        }
        serving
    }
    fn replace(&self, leaf: &Leaf) -> anyhow::Result<()> {
        let chain = CertificateDer::pem_slice_iter(leaf.certificate.as_bytes()).collect::<Result<Vec<_>, _>>().context("read the certificate")?;
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).context("read the key")?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).context("use the key")?;
        *self.0.write() = Some(Arc::new(CertifiedKey::new(chain, key)));
        Ok(())
    }
    /// HTTP/1.1 alone, for upgrades; clients may come without a certificate.
    pub fn config(self: &Arc<Self>, client_ca: &str) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(client_ca.as_bytes()) {
            roots.add(ca.context("read the client certificate authority")?).context("use the client certificate authority")?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).allow_unauthenticated().build().context("use the client certificate authority")?;
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().context("set up TLS")?;
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

    #[test]
    fn what_becomes_of_a_request() {
        let csr = |status| serde_json::from_value::<CertificateSigningRequest>(json!({"metadata": {}, "spec": {"request": "", "signerName": "s"}, "status": status})).unwrap();
        assert_eq!(outcome(&csr(json!({}))).unwrap(), None);
        assert_eq!(outcome(&csr(json!({"certificate": "cGVt"}))).unwrap().as_deref(), Some("pem"));
        let e = outcome(&csr(json!({"conditions": [{"type": "Denied", "status": "True", "message": "no"}]}))).unwrap_err();
        assert_eq!(e.to_string(), "Denied: no");
    }
}
