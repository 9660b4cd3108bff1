//! Serves the API from memory, with certificates made on the spot, for trials with kubectl.
//!
//!     cargo run -p skiff-apiserver --example dev -- 127.0.0.1:7443 /tmp/dev.kubeconfig
use skiff_apiserver::{Config, Server, Tls, TlsMaterial};
use skiff_meta::Status;
use skiff_policy::{Action, Authenticator, Authorizer, Credentials, Decision};
use skiff_registry::{Options, Registry, RowIndexer, table::Table};
use skiff_request::User;
use std::{sync::Arc, time::SystemTime};

struct Certificates;
#[async_trait::async_trait]
impl Authenticator for Certificates {
    async fn authenticate(&self, c: &Credentials) -> Result<Option<User>, Status> {
        Ok(c.certificate.as_ref().map(|(name, groups)| User::new(name.clone(), groups.clone())))
    }
}

struct Everything;
#[async_trait::async_trait]
impl Authorizer for Everything {
    async fn authorize(&self, _: &User, _: &Action) -> Decision {
        Decision::Allow
    }
    async fn rules(&self, _: &User, _: &str) -> (Vec<skiff_json::Value>, Vec<skiff_json::Value>) {
        (vec![skiff_json::json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})], vec![])
    }
}

fn certificates() -> anyhow::Result<(TlsMaterial, String, String, String)> {
    use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(vec![])?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "dev-ca");
    let ca_cert = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);
    let (server_key, client_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut server = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_cert = server.signed_by(&server_key, &issuer)?;
    let mut client = CertificateParams::new(vec![])?;
    client.distinguished_name.push(DnType::CommonName, "admin");
    client.distinguished_name.push(DnType::OrganizationName, User::MASTERS);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client_cert = client.signed_by(&client_key, &issuer)?;
    let material = TlsMaterial { certificate: server_cert.pem().into(), key: server_key.serialize_pem().into(), client_ca: ca_cert.pem().into() };
    Ok((material, ca_cert.pem(), client_cert.pem(), client_key.serialize_pem()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    tracing_subscriber::fmt().with_env_filter("info").init();
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:7443".into()).parse()?;
    let kubeconfig = args.next().unwrap_or_else(|| "dev.kubeconfig".into());
    let table = Arc::new(Table::builtin());
    let store = Arc::new(skiff_store::memory::Memory::new(Arc::new(RowIndexer::new(table.clone()))));
    let options = Options {
        authorizer: Arc::new(Everything),
        admission: vec![],
        now: Arc::new(SystemTime::now),
        random: Arc::new(rand::random::<u32>),
        tokens: None,
        services: Default::default(),
    };
    let registry = Registry::new(store, table, options);
    let facts = skiff_apiserver::Facts {
        now: std::time::SystemTime::now,
        authentication: Default::default(),
        address: "192.0.2.1".parse()?,
        port: 6443,
        service_address: "10.43.0.1".parse()?,
        networks: vec!["10.43.0.0/16".into()],
    };
    skiff_apiserver::bootstrap(&*registry, &facts).await?;
    let (material, ca, cert, key) = certificates()?;
    let config = Config {
        address,
        tls: Tls::new(&material)?,
        registry,
        authenticators: vec![Arc::new(Certificates)],
        anonymous: Arc::new(|_| None),
        impersonation: Arc::new(skiff_auth::Impersonator(Arc::new(Everything))),
        checks: vec![],
        documents: vec![],
        proxy: None,
        kubelets: None,
        audit: None,
        metrics: vec![],
        flags: Default::default(),
        seats: 400,
    };
    let handle = Server::start(config).await?;
    let b64 = |s: &str| STANDARD.encode(s);
    std::fs::write(
        &kubeconfig,
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: dev\nclusters:\n- name: dev\n  cluster: {{server: 'https://{}', certificate-authority-data: {}}}\nusers:\n- name: dev\n  user: {{client-certificate-data: {}, client-key-data: {}}}\ncontexts:\n- name: dev\n  context: {{cluster: dev, user: dev}}\n",
            handle.address,
            b64(&ca),
            b64(&cert),
            b64(&key)
        ),
    )?;
    tokio::signal::ctrl_c().await?;
    handle.stop(std::time::Duration::from_secs(5)).await;
    Ok(())
}
