//! Certificates and keys of the server, made at the first start.
use crate::server::settings::Settings;
use skiff_apiserver::TlsMaterial;
use skiff_cluster::{Certify, Signer};
use skiff_pki::{Authority, Grant, Leaf, PkiError, Profile, Request, Usage};
use skiff_request::User;
use std::net::IpAddr;
use std::thread::ScopedJoinHandle;
use std::time::SystemTime;

pub struct Keys {
    /// Signs what servers show.
    pub server_ca: Authority,
    /// Signs who clients are.
    pub client_ca: Authority,
    /// Signs who speaks for others: this server towards the API servers behind it.
    pub request_header_ca: Authority,
    /// Signs service account tokens, PEM.
    pub tokens: String,
    pub api: Leaf,
    pub admin: Leaf,
    /// What the API server shows to node agents.
    pub kubelet_client: Leaf,
    /// What the API server shows to those behind it.
    pub proxy_client: Leaf,
}

/// The name that API servers behind this one believe.
pub const PROXY: &str = "system:auth-proxy";

impl Keys {
    /// `service`: the address of the `kubernetes` Service, where it has one already. It stays when the network is another.
    /// Each authority with its leaves on a thread of its own: at a first start nearly all the time is waiting for the disk.
    pub fn open(s: &Settings, service: Option<IpAddr>) -> anyhow::Result<Self> {
        let (dir, now) = (s.data.join("server/tls"), SystemTime::now());
        let client = |name: &str, groups: &[&str]| Profile {
            common_name: name.into(),
            organizations: groups.iter().map(|g| (*g).to_owned()).collect(),
            usage: Usage::Client,
            ..Default::default()
        };
        let make_tokens =
            || skiff_auth::token::Keys::generate().map_err(|e| skiff_pki::PkiError::Unusable { path: dir.join("service.key"), why: e.to_string() });
        let api = api_profile(s, service)?;
        let of_server = || -> Result<_, PkiError> {
            let ca = Authority::open(&dir, "server-ca", now)?;
            let leaf = ca.leaf("serving-kube-apiserver", &api, now)?;
            Ok((ca, leaf))
        };
        let of_clients = || -> Result<_, PkiError> {
            let ca = Authority::open(&dir, "client-ca", now)?;
            let admin = ca.leaf("client-admin", &client("system:admin", &[User::MASTERS]), now)?;
            let kubelet = ca.leaf("client-kube-apiserver", &client("kube-apiserver", &[User::MASTERS]), now)?;
            Ok((ca, admin, kubelet))
        };
        let of_proxy = || -> Result<_, PkiError> {
            let ca = Authority::open(&dir, "request-header-ca", now)?;
            let leaf = ca.leaf("client-auth-proxy", &client(PROXY, &[]), now)?;
            Ok((ca, leaf))
        };
        let ((server_ca, api), (client_ca, admin, kubelet_client), (request_header_ca, proxy_client), tokens) = std::thread::scope(|scope| {
            let (server, clients, proxy) = (scope.spawn(of_server), scope.spawn(of_clients), scope.spawn(of_proxy));
            let tokens = skiff_pki::read_or_make(&dir.join("service.key"), make_tokens)?;
            anyhow::Ok((joined(server)?, joined(clients)?, joined(proxy)?, tokens))
        })?;
        Ok(Self { server_ca, client_ca, request_header_ca, tokens, api, admin, kubelet_client, proxy_client })
    }
    pub fn tls(&self) -> TlsMaterial {
        // With the authority: a machine that joins finds it here, and recognises it by its token.
        let chain = format!("{}{}", self.api.certificate, self.server_ca.certificate());
        let clients = [self.client_ca.certificate(), self.request_header_ca.certificate()].join("\n");
        TlsMaterial { certificate: chain.into(), key: self.api.key.clone().into(), client_ca: clients.into_bytes() }
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, PkiError>>) -> anyhow::Result<T> {
    Ok(thread.join().map_err(|_| anyhow::anyhow!("making certificates broke off"))??)
}

impl Certify for Keys {
    /// What serves, and what nobody knows the purpose of, never comes from the authority that says who clients are.
    fn certify(&self, signer: Signer, request: &Request, grant: &Grant) -> Result<String, PkiError> {
        match signer {
            Signer::ApiClient | Signer::KubeletClient => self.client_ca.sign(request, grant),
            Signer::KubeletServing | Signer::LegacyUnknown => self.server_ca.sign(request, grant),
        }
    }
    /// Its first bit is 0: the number is positive and no longer than 16 bytes.
    fn serial(&self) -> [u8; 16] {
        (rand::random::<u128>() >> 1).to_be_bytes()
    }
}

fn api_profile(s: &Settings, service: Option<IpAddr>) -> anyhow::Result<Profile> {
    let mut dns_names: Vec<String> = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned).into();
    dns_names.push(format!("kubernetes.default.svc.{}", s.domain));
    let mut addresses: Vec<IpAddr> = vec![[127, 0, 0, 1].into(), s.advertise, s.api_service()?];
    addresses.extend(service.filter(|a| !addresses.contains(a)));
    if let Some(n) = &s.node {
        dns_names.push(n.name.clone());
        addresses.push(n.address);
    }
    for name in &s.san {
        match name.parse() {
            Ok(ip) => addresses.push(ip),
            Err(_) => dns_names.push(name.clone()),
        }
    }
    Ok(Profile { common_name: "kube-apiserver".into(), dns_names, addresses, usage: Usage::Server, ..Default::default() })
}
