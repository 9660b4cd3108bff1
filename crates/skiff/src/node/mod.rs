//! A node: images, runtime, network, agent. The same in a server's process and in an agent's; what differs (who asks whom, by
//! which certificates) is handed in.

pub mod door;
pub mod settings;

use crate::facts::Facts;
use anyhow::Context;
use settings::NodeSettings;
use skiff_client::Client;
use skiff_controller::SystemClock;
use skiff_cri::{Network, Runtime, Snapshots};
use skiff_images::{ImageService, Options, limits::Limits, manifest::Platform};
use skiff_informer::Informers;
use skiff_kubelet::{Gate, Handle, ImageMounts, Kubelet, NodeVolumes, Parts};
use skiff_meta::Quantity;
use skiff_runtime::EmbeddedRuntime;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The kubelet of the Kubernetes that this is.
const VERSION: &str = concat!("v1.37.2+skiff", env!("CARGO_PKG_VERSION"));

/// Where images are kept.
pub fn image_store(data: &std::path::Path) -> std::path::PathBuf {
    data.join("agent/images-store")
}

/// What `skiff image` and the server both open. Blocking.
pub fn images(data: &std::path::Path, registries: &std::path::Path) -> anyhow::Result<ImageService> {
    let clock = Arc::new(|| skiff_meta::Timestamp::from_system(SystemTime::now()).0);
    let options = Options { dir: image_store(data), registries: registries.to_owned(), limits: Limits::default(), platform: Platform::host(), clock };
    ImageService::open(options).context("open the image store")
}

/// The running node.
pub struct Agent {
    pub handle: Handle,
    pub images: ImageService,
    pub runtime: Arc<dyn Runtime>,
}

/// What a node gets from the role that it runs in.
pub struct Wiring {
    /// Speaks as `system:node:<name>`.
    pub client: Client,
    /// Removes released local-path volumes.
    pub reclaim: Client,
    /// See nodes, Services, endpoints and volumes of the whole cluster.
    pub informers: Informers,
    pub gate: Arc<dyn Gate>,
    /// Of the node agent's server.
    pub tls: Arc<rustls::ServerConfig>,
}

pub async fn start(n: &NodeSettings, facts: &Facts, w: Wiring, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<Agent> {
    let (data, registries) = (n.data.clone(), n.registries.clone());
    let images = tokio::task::spawn_blocking(move || images(&data, &registries)).await??;
    // Beside everything else: a pod whose image is about to come waits for it.
    if n.images.is_dir() {
        let importing = images.import_folder(&n.images);
        let folder = n.images.clone();
        // What is broken off at the end leaves nothing but temporary files, which the next start removes.
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { told(&folder, importing.await) }));
    }
    let net = n.network(facts)?;
    let config = skiff_runtime::Config { run: n.run.join("containers"), cgroup_root: n.cgroup.clone(), ..Default::default() };
    let (snapshots, network): (Arc<dyn Snapshots>, Arc<dyn Network>) = (Arc::new(images.clone()), Arc::new(net.pods().clone()));
    let mounts = ImageMounts { images: Arc::new(images.clone()), snapshots: snapshots.clone() };
    let runtime: Arc<dyn Runtime> = Arc::new(EmbeddedRuntime::open(config, snapshots, network).await.context("open the container runtime")?);
    let health = net.start(&facts.domain, &w.informers, tasks, stop)?;
    let clock = Arc::new(SystemClock);
    let allocatable = (Quantity::units(std::thread::available_parallelism().map_or(1, |c| c.get() as i64)), Quantity::bytes(memory()));
    let parts = Parts {
        client: w.client.clone(),
        runtime: runtime.clone(),
        images: Arc::new(images.clone()),
        volumes: Arc::new(NodeVolumes::new(w.client, clock.clone(), vec![n.address], allocatable, mounts)),
        clock,
        gate: w.gate,
    };
    let handle = Kubelet::start(skiff_kubelet::Config { network: health, ..config_of(n, facts, w.tls)? }, parts)
        .await
        .with_context(|| format!("start the node agent with --kubelet-port {}", n.port))?;
    tasks.spawn(skiff_cluster::reclaim_on_node(w.reclaim, w.informers, n.name.clone(), n.storage.clone(), stop.clone()));
    Ok(Agent { handle, images, runtime })
}

/// Says what became of the archives of the images folder; a bad one is left out.
fn told(folder: &std::path::Path, imported: skiff_images::Result<Vec<(std::path::PathBuf, skiff_images::Result<Vec<skiff_cri::Image>>)>>) {
    match imported {
        Ok(all) => {
            for (file, imported) in all {
                match imported {
                    Ok(list) => tracing::info!(target: "images", file = %file.display(), count = list.len(), "imported"),
                    Err(e) => tracing::warn!(target: "images", file = %file.display(), error = %e, "not imported"),
                }
            }
        }
        Err(e) => tracing::warn!(target: "images", folder = %folder.display(), error = %e, "images folder not read"),
    }
}

/// Bytes of memory of this machine.
fn memory() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|l| l.strip_prefix("MemTotal:")).and_then(|l| l.trim().trim_end_matches(" kB").parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

fn config_of(n: &NodeSettings, facts: &Facts, tls: Arc<rustls::ServerConfig>) -> anyhow::Result<skiff_kubelet::Config> {
    let mut c = skiff_kubelet::Config::new(n.name.clone(), vec![n.address], settings::kubelet(&n.data));
    c.log_dir.clone_from(&n.logs);
    if n.logs != std::path::Path::new("/var/log/pods") {
        c.container_log_links = None;
    }
    c.run_dir = n.run.join("kubelet");
    c.cluster_dns = vec![facts.dns];
    c.cluster_domain.clone_from(&facts.domain);
    c.max_pods = n.max_pods;
    c.listen = Some(SocketAddr::new(n.listen, n.port));
    c.labels = n.labels.iter().cloned().collect();
    c.taints.clone_from(&n.taints);
    c.annotations = [(skiff_cluster::STORAGE_PATH.to_owned(), n.storage.display().to_string())].into();
    c.manifests = Some(n.data.join("agent/pod-manifests"));
    c.version = VERSION.into();
    c.tls = Some(tls);
    // The Lease tells that the node lives; a status without news is worth a write to disk no more often than this.
    c.status_period = std::time::Duration::from_secs(3600);
    Ok(c)
}

/// Common name and organisations of a certificate that TLS has verified.
pub fn subject(der: &[u8]) -> Option<(String, Vec<String>)> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let name = cert.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    Some((name, cert.subject().iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect()))
}
