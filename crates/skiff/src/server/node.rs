//! The node of this process: images, runtime, network, agent.
use crate::server::api::Api;
use crate::server::gate::NodeGate;
use crate::server::network;
use crate::server::settings::{NodeSettings, Settings};
use anyhow::Context;
use k8s_openapi::api::core::v1::Taint;
use skiff_controller::SystemClock;
use skiff_cri::{Network, Runtime, Snapshots};
use skiff_images::{ImageService, Options, limits::Limits, manifest::Platform};
use skiff_informer::Informers;
use skiff_kubelet::{Handle, ImageMounts, Kubelet, NodeVolumes, Parts};
use skiff_meta::Quantity;
use skiff_pki::{Profile, Usage};
use skiff_request::User;
use skiff_runtime::EmbeddedRuntime;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The kubelet of the Kubernetes that this is.
const VERSION: &str = concat!("v1.37.2+skiff", env!("CARGO_PKG_VERSION"));

/// What `skiff image` and the server both open. Blocking.
pub fn images(data: &std::path::Path, registries: &std::path::Path) -> anyhow::Result<ImageService> {
    let clock = Arc::new(|| skiff_meta::Timestamp::from_system(SystemTime::now()).0);
    let options = Options { dir: data.join("agent/images-store"), registries: registries.to_owned(), limits: Limits::default(), platform: Platform::host(), clock };
    ImageService::open(options).context("open the image store")
}

/// The running node.
pub struct Agent {
    pub handle: Handle,
    pub images: ImageService,
}

pub async fn start(api: &Api, s: &Settings, n: &NodeSettings, informers: &Informers, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<Agent> {
    let (data, registries) = (s.data.clone(), n.registries.clone());
    let images = tokio::task::spawn_blocking(move || images(&data, &registries)).await??;
    import(&images, n).await;
    let net = network::open(s, n)?;
    let config = skiff_runtime::Config { run: s.run.join("containers"), cgroup_root: n.cgroup.clone(), ..Default::default() };
    let (snapshots, network): (Arc<dyn Snapshots>, Arc<dyn Network>) = (Arc::new(images.clone()), Arc::new(net.clone()));
    let mounts = ImageMounts { images: Arc::new(images.clone()), snapshots: snapshots.clone() };
    let runtime: Arc<dyn Runtime> = Arc::new(EmbeddedRuntime::open(config, snapshots, network).await.context("open the container runtime")?);
    network::start(s, n, &net, informers, tasks, stop)?;
    let client = api.client(User::new(format!("system:node:{}", n.name), ["system:nodes", User::AUTHENTICATED]), "kubelet");
    let clock = Arc::new(SystemClock);
    let allocatable = (Quantity::units(std::thread::available_parallelism().map_or(1, |c| c.get() as i64)), Quantity::bytes(memory()));
    let parts = Parts {
        client: client.clone(),
        runtime,
        images: Arc::new(images.clone()),
        volumes: Arc::new(NodeVolumes::new(client, clock.clone(), vec![n.address], allocatable, mounts)),
        clock,
        gate: Arc::new(NodeGate { node: n.name.clone(), authenticator: api.authenticator.clone(), authorizer: api.authorizer() }),
    };
    let handle = Kubelet::start(config_of(api, s, n)?, parts).await.context("start the node agent")?;
    let reclaim = api.client(User::new("system:serviceaccount:kube-system:local-path-provisioner", [User::AUTHENTICATED]), "local-path-provisioner");
    tasks.spawn(skiff_cluster::reclaim_on_node(reclaim, informers.clone(), n.name.clone(), n.storage.clone(), stop.clone()));
    Ok(Agent { handle, images })
}

/// Imports the archives of the images folder; a bad one is told and left out.
async fn import(images: &ImageService, n: &NodeSettings) {
    if !n.images.is_dir() {
        return;
    }
    match images.import_folder(&n.images).await {
        Ok(all) => {
            for (file, imported) in all {
                match imported {
                    Ok(list) => tracing::info!(target: "images", file = %file.display(), count = list.len(), "imported"),
                    Err(e) => tracing::warn!(target: "images", file = %file.display(), error = %e, "not imported"),
                }
            }
        }
        Err(e) => tracing::warn!(target: "images", folder = %n.images.display(), error = %e, "images folder not read"),
    }
}

/// Bytes of memory of this machine.
fn memory() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|l| l.strip_prefix("MemTotal:")).and_then(|l| l.trim().trim_end_matches(" kB").parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

fn config_of(api: &Api, s: &Settings, n: &NodeSettings) -> anyhow::Result<skiff_kubelet::Config> {
    let mut c = skiff_kubelet::Config::new(n.name.clone(), vec![n.address], s.data.join("agent/kubelet"));
    c.log_dir.clone_from(&n.logs);
    if n.logs != std::path::Path::new("/var/log/pods") {
        c.container_log_links = None;
    }
    c.run_dir = s.run.join("kubelet");
    c.cluster_dns = vec![s.dns];
    c.cluster_domain.clone_from(&s.domain);
    c.max_pods = n.max_pods;
    c.listen = Some(SocketAddr::new(s.listen.ip(), n.port));
    c.labels = n.labels.iter().cloned().collect();
    c.taints = n.taints.iter().map(|t| taint(t)).collect::<anyhow::Result<_>>()?;
    c.manifests = Some(s.data.join("agent/pod-manifests"));
    c.version = VERSION.into();
    let profile = Profile {
        common_name: format!("system:node:{}", n.name),
        organizations: vec!["system:nodes".into()],
        dns_names: vec![n.name.clone(), "localhost".into()],
        addresses: vec![n.address, [127, 0, 0, 1].into()],
        usage: Usage::Server,
    };
    let leaf = api.keys.server_ca.leaf("serving-kubelet", &profile, SystemTime::now())?;
    let tls = skiff_apiserver::TlsMaterial { certificate: leaf.certificate.into(), key: leaf.key.into(), client_ca: api.keys.client_ca.certificate().as_bytes().to_vec() };
    c.tls = Some(skiff_apiserver::Tls::new(&tls)?.config_without_http2());
    Ok(c)
}

/// `key=value:effect`, `key:effect`.
fn taint(text: &str) -> anyhow::Result<Taint> {
    let (left, effect) = text.rsplit_once(':').with_context(|| format!("--node-taint {text:?} is not of the form key=value:effect"))?;
    anyhow::ensure!(["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect), "--node-taint {text:?}: the effect is one of NoSchedule, PreferNoSchedule, NoExecute");
    let (key, value) = left.split_once('=').map_or((left, None), |(k, v)| (k, Some(v.to_owned())));
    Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
}
