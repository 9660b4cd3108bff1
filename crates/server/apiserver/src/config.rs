//! What a server is made of.
use crate::{aggregation::ProxyIdentity, connect::KubeletTls, health::Check, tls::Tls};
use skiff_audit::Auditor;
use skiff_json::Value;
use skiff_policy::{Authenticator, Impersonation};
use skiff_registry::Registry;
use skiff_request::User;
use skiff_telemetry::metrics::Exposition;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

/// The parts and the settings of a server.
pub struct Config {
    pub address: SocketAddr,
    pub tls: Tls,
    pub registry: Arc<Registry>,
    /// Asked in order.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Who asks without credentials, by path; None refuses.
    pub anonymous: Arc<dyn Fn(&str) -> Option<User> + Send + Sync>,
    pub impersonation: Arc<dyn Impersonation>,
    pub checks: Vec<Check>,
    /// Further documents by path, such as those of OpenID discovery; authorised as any path.
    pub documents: Vec<Document>,
    /// What API servers behind this one (APIService) see of it, and the authority that signed it, PEM: certificates of this
    /// authority speak for others by `X-Remote-*` headers. Without it there is no aggregation.
    pub proxy: Option<(ProxyIdentity, Vec<u8>)>,
    /// The way to kubelets; without it logs and streams are unavailable.
    pub kubelets: Option<KubeletTls>,
    /// Records requests; None does not.
    pub audit: Option<Arc<Auditor>>,
    /// What others of this process count, for `/metrics`.
    pub metrics: Vec<Arc<dyn Fn(&mut Exposition) + Send + Sync>>,
    /// The command line's flags and their values, for `/flagz`.
    pub flags: BTreeMap<String, String>,
    /// Seats that priority and fairness shares out: so many requests of one seat are served at once.
    pub seats: u64,
}

/// A JSON document that is served at a path.
#[derive(Clone)]
pub struct Document {
    pub path: &'static str,
    pub media_type: &'static str,
    pub make: Arc<dyn Fn() -> Value + Send + Sync>,
}
