//! What all parts of the node agent share.
use crate::pods::Pods;
use crate::pull::Puller;
use crate::references::References;
use crate::{Config, Volumes, machine::Machine};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use skiff_client::Client;
use skiff_controller::{Clock, Recorder, Regarding};
use skiff_cri::{Images, Runtime};
use skiff_informer::Typed;
use skiff_pod::{admit::NodeRoom, dns::NodeDns};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub struct Agent {
    pub config: Config,
    pub client: Client,
    pub runtime: Arc<dyn Runtime>,
    pub images: Arc<dyn Images>,
    pub volumes: Arc<dyn Volumes>,
    pub clock: Arc<dyn Clock>,
    pub recorder: Recorder,
    pub services: Typed<Service>,
    pub machine: Machine,
    pub pods: Pods,
    pub puller: Puller,
    pub references: References,
    /// Devices that pods claim.
    pub devices: crate::devices::Devices,
    /// The scheme of container ids, as the runtime names itself.
    pub runtime_name: String,
    pub runtime_version: String,
    /// What the API says about this node: labels and taints for admission.
    pub room: Mutex<NodeRoom>,
    pub shutdown: CancellationToken,
}

impl Agent {
    pub fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.now().0).unwrap_or(Timestamp::UNIX_EPOCH)
    }
    pub fn about(&self, pod: &Pod) -> Regarding {
        Regarding::of(pod)
    }
    /// An event about one container of a pod.
    pub fn about_container(&self, pod: &Pod, name: &str) -> Regarding {
        let list = match skiff_pod::view::find_container(pod, name) {
            Some((skiff_pod::view::Role::Init | skiff_pod::view::Role::Sidecar, _)) => "initContainers",
            Some((skiff_pod::view::Role::Ephemeral, _)) => "ephemeralContainers",
            _ => "containers",
        };
        Regarding::of(pod).at(format!("spec.{list}{{{name}}}"))
    }
    /// The resolver settings that pods start from; the node's file is read anew each time.
    pub async fn dns(&self) -> NodeDns {
        let host = match &self.config.resolv_conf {
            Some(path) => tokio::fs::read_to_string(path).await.map(|t| skiff_pod::dns::parse(&t)).unwrap_or_default(),
            None => skiff_cri::DnsConfig { servers: vec!["127.0.0.1".into()], searches: Vec::new(), options: Vec::new() },
        };
        NodeDns { cluster: self.config.cluster_dns.iter().map(|ip| ip.to_string()).collect(), cluster_domain: self.config.cluster_domain.clone(), host }
    }
}
