//! Wiring: starts the parts and feeds them.
use crate::agent::Agent;
use crate::machine::{self, Machine};
use crate::pods::Pods;
use crate::pull::Puller;
use crate::references::References;
use crate::server::{self, Gate};
use crate::{Config, Volumes, keep, node, rotate, static_pods};
use k8s_openapi::api::core::v1::{Pod, Service};
use skiff_client::{Client, resource_of};
use skiff_controller::{Clock, Recorder};
use skiff_cri::{Images, Runtime, RuntimeError, RuntimeEvent};
use skiff_informer::{Informers, Selection};
use skiff_meta::LabelSelector;
use skiff_pod::admit::NodeRoom;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// What a node agent is made of.
pub struct Parts {
    /// Speaks as `system:node:<name>`.
    pub client: Client,
    pub runtime: Arc<dyn Runtime>,
    pub images: Arc<dyn Images>,
    pub volumes: Arc<dyn Volumes>,
    pub clock: Arc<dyn Clock>,
    /// Who may use the server.
    pub gate: Arc<dyn Gate>,
}

pub struct Kubelet;

/// Dropping it lets the node agent run on; [`Handle::stop`] ends it and leaves all containers running.
pub struct Handle {
    agent: Arc<Agent>,
    address: Option<SocketAddr>,
}

impl Handle {
    pub fn stop(&self) {
        self.agent.shutdown.cancel();
    }
    /// Where the server really listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
    /// How many pods have a slot now.
    pub fn pods(&self) -> usize {
        self.agent.pods.all().len()
    }
    /// The node's statistics in the form of `/stats/summary`, for a metrics API in the same process.
    pub async fn summary(&self) -> skiff_json::Value {
        crate::stats::summary(&self.agent).await
    }
    /// Waits until the node agent has been told to stop.
    pub async fn stopped(&self) {
        self.agent.shutdown.cancelled().await;
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("ask the runtime for its version")]
    Runtime(#[source] RuntimeError),
    #[error("make the folder {path}")]
    Folder { path: String, source: std::io::Error },
    #[error("listen on {address} for the node's server")]
    Listen { address: SocketAddr, source: std::io::Error },
}

impl Kubelet {
    /// Starts everything; returns when the server listens and the loops run.
    pub async fn start(config: Config, parts: Parts) -> Result<Handle, StartError> {
        for dir in [&config.root_dir, &config.log_dir] {
            std::fs::create_dir_all(dir).map_err(|source| StartError::Folder { path: dir.display().to_string(), source })?;
        }
        let version = parts.runtime.version().await.map_err(StartError::Runtime)?;
        let informers = Informers::new(parts.client.clone());
        let machine = Machine::read();
        let agent = Arc::new(Agent {
            recorder: Recorder::new(parts.client.clone(), "kubelet", &config.node_name, parts.clock.clone()),
            services: informers.of::<Service>(),
            pods: Pods::default(),
            puller: Puller::new(config.max_parallel_pulls),
            references: References::new(parts.client.clone()),
            devices: crate::devices::Devices::open(&config.root_dir),
            runtime_name: version.name,
            runtime_version: version.version,
            room: parking_lot::Mutex::new(room(&config, &machine)),
            shutdown: CancellationToken::new(),
            machine,
            client: parts.client,
            runtime: parts.runtime,
            images: parts.images,
            volumes: parts.volumes,
            clock: parts.clock,
            config,
        });
        let address = match agent.config.listen {
            Some(at) => Some(server::listen(agent.clone(), at, parts.gate).await.map_err(|source| StartError::Listen { address: at, source })?),
            None => None,
        };
        node::spawn(agent.clone(), address);
        follow_runtime(agent.clone());
        follow_api(agent.clone(), informers);
        static_pods::spawn(agent.clone());
        keep::spawn(agent.clone());
        crate::devices::spawn(agent.clone());
        rotate::spawn(agent.clone());
        Ok(Handle { agent, address })
    }
}

/// What the node has to give, before the API has said anything about its labels.
pub(crate) fn room(config: &Config, machine: &Machine) -> NodeRoom {
    let disk = machine::disk(&config.root_dir).unwrap_or_default();
    let total = machine.capacity(disk.size, config.max_pods);
    let left = |name: &str| {
        let all = total.get(name).copied().unwrap_or_default();
        let kept = config.reserved.get(name).copied().unwrap_or_default();
        all - kept
    };
    NodeRoom {
        name: config.node_name.clone(),
        labels: node::labels(config, machine),
        taints: Vec::new(),
        cpu: left("cpu").milli_value(),
        memory: left("memory").value(),
        ephemeral_storage: left("ephemeral-storage").value(),
        pods: i64::from(config.max_pods),
    }
}

/// Wakes the worker of each pod that something happened to.
fn follow_runtime(agent: Arc<Agent>) {
    let mut events = agent.runtime.events();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                e = events.recv() => e,
                () = agent.shutdown.cancelled() => return,
            };
            match event {
                Ok(RuntimeEvent::ContainerCreated { .. } | RuntimeEvent::ContainerStarted { .. } | RuntimeEvent::SandboxReady { .. }) => {}
                Ok(e) => {
                    if let Some(slot) = agent.pods.of_sandbox(e.sandbox()) {
                        slot.wake();
                    }
                }
                Err(RecvError::Lagged(_)) => agent.pods.all().iter().for_each(|s| s.wake()),
                Err(RecvError::Closed) => return,
            }
        }
    });
}

/// Pods of this node from the API. Orphans are looked for once the first full state is there.
fn follow_api(agent: Arc<Agent>, informers: Informers) {
    tokio::spawn(async move {
        let selection = Selection::of(resource_of::<Pod>()).fields(&format!("spec.nodeName={}", agent.config.node_name));
        let pods = informers.select::<Pod>(selection);
        let (to, mut changes) = tokio::sync::mpsc::unbounded_channel();
        pods.subscribe(move |change| {
            let _ = to.send(change.clone());
        });
        let orphans = {
            let (agent, pods) = (agent.clone(), pods.clone());
            async move {
                pods.synced().await;
                let uids = || pods.rows("", &LabelSelector::everything()).iter().map(|r| r.uid.to_string()).collect();
                keep::remove_orphans(&agent, uids).await;
            }
        };
        tokio::spawn(orphans);
        loop {
            tokio::select! {
                Some(change) = changes.recv() => agent.pod_changed(&change),
                () = agent.shutdown.cancelled() => break,
            }
        }
        informers.stop();
    });
}
