//! Datastore, registry and API server, put together.
use crate::server::identity::Keys;
use crate::server::settings::Settings;
use crate::server::account_tokens::AccountTokens;
use anyhow::Context;
use skiff_apiserver::{Config, Document, Handle, KubeletTls, Server, Tls};
use skiff_auth::{BootstrapTokens, Certificates, Chain, FrontProxy, Guard, Rbac, Union, token::Issuer};
use skiff_client::{Client, Local};
use skiff_policy::{Authenticator, Authorizer};
use skiff_registry::{Options, Ranges, Registry, RowIndexer, table::Table};
use skiff_request::{Service, User};
use skiff_store::Store;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The running API.
pub struct Api {
    pub keys: Arc<Keys>,
    pub store: Arc<dyn Store>,
    pub registry: Arc<Registry>,
    pub authenticator: Arc<dyn Authenticator>,
    handle: Handle,
}

pub async fn start(s: &Settings) -> anyhow::Result<Api> {
    let keys = Arc::new(Keys::open(s)?);
    let table = Arc::new(Table::builtin());
    let indexer = Arc::new(RowIndexer::new(table.clone()));
    let config = skiff_sqlite::Config::new(s.data.join("server/db"));
    let store: Arc<dyn Store> = Arc::new(tokio::task::spawn_blocking(move || skiff_sqlite::Sqlite::open(config, indexer)).await?.context("open the datastore")?);
    let now: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(SystemTime::now);
    let unique = Arc::new(|| format!("{:032x}", rand::random::<u128>()));
    let signing = skiff_auth::token::Keys::new(&keys.tokens, &[]).context("read the key of service account tokens")?;
    let issuer = Arc::new(Issuer::new(signing, s.issuer(), vec![s.issuer()], store.clone(), now.clone(), unique));
    let chain = Arc::new(Chain::new(store.clone()));
    let rbac = Arc::new(Rbac::new(store.clone()));
    let random: Arc<dyn Fn() -> u32 + Send + Sync> = Arc::new(rand::random::<u32>);
    let mut admission = skiff_admission::defaults(&skiff_admission::Options { random: random.clone(), now: now.clone(), authorizer: chain.clone() });
    admission.push(Arc::new(Guard::new(rbac, chain.clone())));
    let options = Options {
        authorizer: chain,
        admission,
        now: now.clone(),
        random,
        tokens: Some(Arc::new(AccountTokens(issuer.clone()))),
        services: Ranges { networks: s.services.clone(), ports: s.node_ports },
    };
    let registry = Registry::new(store.clone(), table, options);
    let union: Vec<Arc<dyn Authenticator>> =
        vec![Arc::new(FrontProxy { allowed: Vec::new() }), Arc::new(Certificates), issuer.clone(), Arc::new(BootstrapTokens { store: store.clone(), now })];
    let authenticator: Arc<dyn Authenticator> = Arc::new(Union(union));
    let kubelets = KubeletTls::new(keys.kubelet_client.certificate.as_bytes(), keys.kubelet_client.key.as_bytes(), keys.server_ca.certificate().as_bytes())?;
    let tls = Tls::new(&keys.tls())?;
    let config = Config {
        address: s.listen,
        tls,
        registry: registry.clone(),
        authenticators: vec![authenticator.clone()],
        anonymous: skiff_auth::anonymous,
        checks: Vec::new(),
        documents: documents(&issuer, s),
        kubelets: Some(kubelets),
        max_in_flight: 600,
    };
    let facts = skiff_apiserver::Facts { address: s.advertise, port: s.listen.port(), service_address: s.api_service()?, networks: s.services.iter().map(ToString::to_string).collect() };
    skiff_apiserver::bootstrap(&*registry, &facts).await.context("make the objects of a new cluster")?;
    let handle = Server::start(config)
        .await
        .with_context(|| format!("serve the API on {} (is another server running? choose another --https-listen-port)", s.listen))?;
    Ok(Api { keys, store, registry, authenticator, handle })
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

impl Api {
    /// A client in this process under an identity of its own.
    pub fn client(&self, user: User, agent: &str) -> Client {
        let service: Arc<dyn Service> = self.registry.clone();
        Client::new(Arc::new(Local::new(service, user)), agent)
    }
    /// The server's own hand: everything is allowed.
    pub fn master(&self) -> Client {
        self.client(User::new("system:apiserver", [User::MASTERS, User::AUTHENTICATED]), "skiff")
    }
    pub fn authorizer(&self) -> Arc<dyn Authorizer> {
        self.registry.authorizer().clone()
    }
    pub async fn stop(self, grace: Duration) -> anyhow::Result<()> {
        self.handle.stop(grace).await;
        self.store.close().await.context("close the datastore")
    }
}
