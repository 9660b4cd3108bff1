//! Datastore, registry and API server, put together.
use crate::server::access::Access;
use crate::server::account_tokens::AccountTokens;
use crate::server::encryption::{self, Encryption};
use crate::server::health::Health;
use crate::server::identity::{Keys, PROXY};
use crate::server::settings::Settings;
use crate::server::{backends, bootstrap, kubeconfig};
use anyhow::Context;
use skiff_apiserver::{Config, Document, Handle, KubeletTls, Server, Tls};
use skiff_audit::{Audited, Auditor};
use skiff_auth::{BootstrapTokens, Certificates, Chain, FrontProxy, Guard, Impersonator, Union, token::Issuer};
use skiff_client::{Client, Local};
use skiff_policy::{Authenticator, Authorizer};
use skiff_registry::{Options, Ranges, Registry, RowIndexer, table::Table};
use skiff_request::{Service, User};
use skiff_store::Store;
use skiff_telemetry::metrics::Exposition;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// The running API.
pub struct Api {
    pub keys: Arc<Keys>,
    pub tokens: Arc<AccountTokens>,
    pub store: Arc<dyn Store>,
    pub encryption: Encryption,
    pub access: Arc<Access>,
    pub registry: Arc<Registry>,
    pub authenticator: Arc<dyn Authenticator>,
    /// What health checks are told of the process.
    pub health: Arc<Health>,
    /// Serves custom resources.
    pub definitions: Arc<skiff_crd::Definitions>,
    /// The registry as components of this process ask it: their calls are recorded, too.
    pub service: Arc<dyn Service>,
    /// Where nodes answer DNS: the address of the Service `kube-dns`.
    pub dns: IpAddr,
    auditor: Option<Arc<Auditor>>,
    handle: Handle,
    /// Ends what keeps the objects of the server itself.
    stop: CancellationToken,
}

pub async fn start(s: &Settings) -> anyhow::Result<Api> {
    // First of all: who has the port may be another cluster's server, whose kubeconfig is to stay as it is.
    let listener = Server::listen(s.listen)
        .await
        .with_context(|| format!("serve the API on {} (is another server running? choose another --https-listen-port)", s.listen))?;
    let table = Arc::new(Table::builtin());
    let indexer = Arc::new(RowIndexer::new(table.clone()));
    let sealer = encryption::open(s).await?;
    let config = skiff_sqlite::Config { sealing: sealer.clone(), ..skiff_sqlite::Config::new(s.data.join("server/db")) };
    let store: Arc<dyn Store> =
        Arc::new(tokio::task::spawn_blocking(move || skiff_sqlite::Sqlite::open(config, indexer)).await?.context("open the datastore")?);
    let service = service_address(&*store);
    let keys = Arc::new(tokio::task::block_in_place(|| Keys::open(s, service))?);
    let now: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(SystemTime::now);
    let unique = Arc::new(|| token_id(rand::random()));
    let signing = skiff_auth::token::Keys::new(&keys.tokens, &[]).context("read the key of service account tokens")?;
    let issuer = Arc::new(Issuer::new(signing, s.issuer(), vec![s.issuer()], store.clone(), now.clone(), unique));
    let chain = Arc::new(Chain::new(store.clone()));
    let access = Access::new(&s.outside, chain.clone(), vec![s.issuer()], now.clone())?;
    let mut others: Vec<Arc<dyn Authenticator>> = vec![Arc::new(BootstrapTokens { store: store.clone(), now: now.clone() })];
    others.extend(access.authenticators());
    let tokens = Arc::new(AccountTokens { issuer: issuer.clone(), others: others.clone(), audiences: vec![s.issuer()] });
    let rbac = chain.rbac.clone();
    let random: Arc<dyn Fn() -> u32 + Send + Sync> = Arc::new(rand::random::<u32>);
    let webhooks = Arc::new(skiff_webhook::Client::new(Arc::new(backends::Backends(store.clone()))));
    let mut admission = skiff_admission::defaults(&skiff_admission::Options {
        random: random.clone(),
        now: now.clone(),
        authorizer: chain.clone(),
        webhooks: webhooks.clone(),
    });
    admission.push(Arc::new(Guard::new(rbac, chain.clone())));
    let options = Options {
        authorizer: chain,
        admission,
        now: now.clone(),
        random,
        tokens: Some(tokens.clone()),
        services: Ranges { networks: s.services.clone(), ports: s.node_ports },
    };
    let registry = Registry::new(store.clone(), table, options);
    let auditor = s.audit.as_ref().map(|a| Auditor::start(a, Arc::new(SystemTime::now))).transpose().context("set up audit")?;
    let service: Arc<dyn Service> = match &auditor {
        Some(a) => Arc::new(Audited::new(registry.clone(), a.clone())),
        None => registry.clone(),
    };
    let mut union: Vec<Arc<dyn Authenticator>> = vec![Arc::new(FrontProxy { allowed: vec![PROXY.to_owned()] }), Arc::new(Certificates), issuer.clone()];
    union.extend(others);
    let authenticator: Arc<dyn Authenticator> = Arc::new(Union(union));
    let kubelets = KubeletTls::new(keys.kubelet_client.certificate.as_bytes(), keys.kubelet_client.key.as_bytes(), keys.server_ca.certificate().as_bytes())?;
    let proxy = skiff_apiserver::ProxyIdentity { certificate: keys.proxy_client.certificate.clone().into(), key: keys.proxy_client.key.clone().into() };
    let tls = Tls::new(&keys.tls())?;
    let (counted, health) = (issuer.clone(), Arc::new(Health::default()));
    let config = Config {
        address: s.listen,
        tls,
        registry: registry.clone(),
        authenticators: vec![authenticator.clone()],
        anonymous: access.anonymous(),
        impersonation: Arc::new(Impersonator(registry.authorizer().clone())),
        checks: health.checks(&store, &registry),
        documents: documents(&issuer, s),
        proxy: Some((proxy, keys.request_header_ca.certificate().as_bytes().to_vec())),
        kubelets: Some(kubelets),
        audit: auditor.clone(),
        metrics: vec![
            Arc::new(skiff_controller::metrics),
            Arc::new(skiff_client::metrics),
            Arc::new(skiff_cel::metrics),
            Arc::new(move |out: &mut Exposition| counted.metrics(out)),
        ],
        flags: s.flags.clone(),
        seats: s.seats,
    };
    let facts = skiff_apiserver::Facts {
        address: s.advertise,
        port: s.listen.port(),
        service_address: s.api_service()?,
        networks: s.services.iter().map(ToString::to_string).collect(),
        now: SystemTime::now,
        authentication: authentication(&keys),
    };
    skiff_apiserver::bootstrap(&*registry, &facts).await.context("make the objects of a new cluster")?;
    let definitions = skiff_crd::Definitions::load(registry.clone(), webhooks);
    let dns = bootstrap::ensure(&client(service.clone(), master(), "kube-apiserver"), &*store, s).await?;
    kubeconfig::write(s, &keys)?;
    let handle = Server::start_on(config, listener).with_context(|| format!("serve the API on {}", s.listen))?;
    let stop = CancellationToken::new();
    tokio::spawn(skiff_apiserver::keep(registry.clone(), facts, stop.clone()));
    tokio::spawn(crate::server::token_uses::record(issuer, client(service.clone(), master(), "kube-apiserver"), stop.clone()));
    let encryption = Encryption::new(sealer, store.clone(), s);
    Ok(Api { keys, tokens, store, encryption, access, registry, authenticator, health, definitions, service, dns, auditor, handle, stop })
}

/// Where the `kubernetes` Service is, if it was made already.
fn service_address(store: &dyn Store) -> Option<IpAddr> {
    let entry = store.get("services/default/kubernetes")?;
    let service: skiff_json::Value = skiff_json::from_slice(&entry.bytes).ok()?;
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

/// What API servers behind this one must know to believe it.
fn authentication(keys: &Keys) -> BTreeMap<String, String> {
    let list = |name: &str| format!("[{name:?}]");
    let facts = [
        ("client-ca-file", keys.client_ca.certificate().to_owned()),
        ("requestheader-client-ca-file", keys.request_header_ca.certificate().to_owned()),
        ("requestheader-allowed-names", list(PROXY)),
        ("requestheader-username-headers", list("X-Remote-User")),
        ("requestheader-uid-headers", list("X-Remote-Uid")),
        ("requestheader-group-headers", list("X-Remote-Group")),
        ("requestheader-extra-headers-prefix", list("X-Remote-Extra-")),
    ];
    facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// OpenID discovery of the service account issuer.
fn documents(issuer: &Arc<Issuer>, s: &Settings) -> Vec<Document> {
    let uri = format!("https://{}:{}/openid/v1/jwks", s.advertise, s.listen.port());
    let (a, b) = (issuer.clone(), issuer.clone());
    vec![
        Document { path: "/.well-known/openid-configuration", media_type: "application/json", make: Arc::new(move || a.discovery(&uri)) },
        Document { path: "/openid/v1/jwks", media_type: "application/jwk-set+json", make: Arc::new(move || b.jwks()) },
    ]
}

fn client(service: Arc<dyn Service>, user: User, agent: &str) -> Client {
    Client::new(Arc::new(Local::new(service, user)), agent)
}

/// The server itself.
fn master() -> User {
    User::new("system:apiserver", [User::MASTERS, User::AUTHENTICATED])
}

impl Api {
    /// A client in this process under an identity of its own.
    pub fn client(&self, user: User, agent: &str) -> Client {
        client(self.service.clone(), user, agent)
    }
    /// The server's own hand: everything is allowed.
    pub fn master(&self) -> Client {
        self.client(master(), "kube-apiserver")
    }
    pub fn authorizer(&self) -> Arc<dyn Authorizer> {
        self.registry.authorizer().clone()
    }
    pub async fn stop(self, grace: Duration) -> anyhow::Result<()> {
        self.stop.cancel();
        self.handle.stop(grace).await;
        if let Some(a) = &self.auditor {
            a.stop(grace).await;
        }
        self.store.close().await.context("close the datastore")
    }
}

/// A random UUID, as the ids of tokens are.
fn token_id(random: u128) -> String {
    let n = (random & !(0xf_u128 << 76) & !(0x3_u128 << 62)) | (0x4_u128 << 76) | (0x2_u128 << 62);
    let part = |from: u32, bits: u32| (n >> from) & ((1_u128 << bits) - 1);
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(96, 32), part(80, 16), part(64, 16), part(48, 16), part(0, 48))
}

#[cfg(test)]
mod tests {
    #[test]
    fn token_ids_are_uuids() {
        assert_eq!(super::token_id(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(super::token_id(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
