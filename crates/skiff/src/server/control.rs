//! Controllers and the scheduler, each under its own identity.
use crate::server::api::Api;
use crate::server::settings::Settings;
use skiff_client::Client;
use skiff_controller::{Clock, Recorder, SystemClock};
use skiff_informer::Informers;
use skiff_meta::GroupVersionResource;
use skiff_registry::table::{Resource, Table};
use skiff_request::User;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const MANAGER: &str = "kube-controller-manager";
const MANAGER_USER: &str = "system:kube-controller-manager";
const ACCOUNTS: [&str; 3] = ["system:serviceaccounts", "system:serviceaccounts:kube-system", User::AUTHENTICATED];

/// Returns the informers that all share.
pub fn start(api: &Api, s: &Settings, tasks: &TaskTracker, stop: &CancellationToken) -> Informers {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let master = api.master();
    // One watch a kind for the whole process; it reads with the controller manager's rights.
    let informers = Informers::new(api.client(User::new(MANAGER_USER, [User::AUTHENTICATED]), MANAGER));
    let recorder = Recorder::new(master.named(MANAGER), MANAGER, "", clock.clone());
    let service = api.service.clone();
    let clients = move |name: &str| -> Client {
        let user = match name {
            // As upstream: it makes what the other controllers' identities are proven with.
            "tokens-controller" => User::new(MANAGER_USER, [User::AUTHENTICATED]),
            _ => User::new(format!("system:serviceaccount:kube-system:{name}"), ACCOUNTS),
        };
        // Fields are the manager's, whichever of its controllers wrote them.
        let agent = format!("{MANAGER}/skiff {name}");
        Client::new(Arc::new(skiff_client::Local::new(service.clone(), user)), &agent)
    };
    if s.scheduler {
        let scheduler = api.client(User::new("system:kube-scheduler", [User::AUTHENTICATED]), "kube-scheduler");
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let recorder = Recorder::new(scheduler.clone(), skiff_scheduler::NAME, &host, clock.clone());
        tasks.spawn(skiff_scheduler::run(scheduler, informers.clone(), recorder, clock.clone(), stop.clone()));
    }
    if !s.controllers {
        return informers;
    }
    tasks.spawn(skiff_workloads::run(clients.clone(), informers.clone(), recorder.clone(), clock.clone(), stop.clone()));
    let table = api.registry.table().clone();
    let (kinds_of, kind_of) = (table.clone(), table.clone());
    let resources = move || -> Vec<(GroupVersionResource, bool)> { collectable(&table) };
    let settings = skiff_cluster::Settings {
        root_ca: api.keys.server_ca.certificate().to_owned(),
        cluster_cidrs: s.pods.clone(),
        node_prefix: (24, 64),
        local_path: s.node.as_ref().map_or_else(|| PathBuf::from("/var/lib/skiff/storage"), |n| n.storage.clone()),
        resources: Arc::new(resources),
        kind_of: Arc::new(move |r| Some(kind_of.at(&r.group, &r.resource, &r.version)?.kind.to_string())),
        kinds: Arc::new(move |group, kind| serving(&kinds_of, group, kind)),
        tokens: api.tokens.clone(),
        certify: api.keys.clone(),
        reserved: s.services.iter().copied().chain(s.node.is_none().then(|| s.advertise.into())).collect(),
    };
    tasks.spawn(skiff_cluster::run(clients, informers.clone(), recorder, clock, settings, stop.clone()));
    informers
}

fn serving(table: &Table, group: &str, kind: &str) -> Vec<GroupVersionResource> {
    let rows = table.rows();
    let serves = rows.of_group(group).filter(|r| *r.kind == *kind);
    serves.filter_map(|r| Some(GroupVersionResource::new(r.group.clone(), r.versions.first()?.clone(), r.plural.clone()))).collect()
}

/// What can be listed, watched and deleted, each under one group only.
fn collectable(table: &Table) -> Vec<(GroupVersionResource, bool)> {
    let rows = table.rows();
    let whole = |r: &&Arc<Resource>| r.computed.is_none() && ["delete", "list", "watch"].iter().all(|v| r.allows(v));
    // The two Event resources share their storage.
    let own = |r: &&Arc<Resource>| r.storage == r.group_resource().to_string();
    rows.all()
        .filter(whole)
        .filter(own)
        .filter_map(|r| Some((GroupVersionResource::new(r.group.clone(), r.versions.first()?.clone(), r.plural.clone()), r.namespaced)))
        .collect()
}
