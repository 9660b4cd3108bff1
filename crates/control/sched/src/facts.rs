//! What the scheduler remembers of a pod and of a node.
use crate::affinity::Terms;
use crate::resources::{Resources, of_pod};
use crate::selector;
use k8s_openapi::api::core::v1::{Container, Node, NodeSelectorTerm, Pod, PodSpec, PodStatus, Taint, Toleration};
use skiff_meta::LabelSelector;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// The same port and protocol, on the same address or one of them on all.
    pub fn clashes(&self, o: &HostPort) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
        self.port == o.port && self.protocol == o.protocol && (any(&self.ip) || any(&o.ip) || self.ip == o.ip)
    }
}

/// A topology spread constraint with its selector read.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    /// A cluster's default: nodes without the label count, too.
    pub default: bool,
    pub key: String,
    pub max_skew: i32,
    pub min_domains: i32,
    pub hard: bool,
    pub selector: LabelSelector,
    pub honor_affinity: bool,
    pub honor_taints: bool,
}

#[derive(Clone, Debug, Default)]
pub struct PodFacts {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub priority: i32,
    /// `Never` or `PreemptLowerPriority`.
    pub never_preempts: bool,
    /// Where it is bound, or empty.
    pub node: String,
    pub nominated: String,
    pub scheduler: String,
    pub gates: Vec<String>,
    /// Seconds since 1970; i64::MAX when it has not started.
    pub started: i64,
    pub terminating: bool,
    /// Terminating because this scheduler preempted it.
    pub preempted: bool,
    pub requests: Resources,
    pub scored: Resources,
    pub ports: Vec<HostPort>,
    pub node_selector: BTreeMap<String, String>,
    /// The only nodes that the required node affinity names, if all its terms name one.
    pub(crate) pinned: Option<Vec<String>>,
    /// Required node affinity: any term; None when there is none.
    pub(crate) node_terms: Option<Vec<NodeSelectorTerm>>,
    pub(crate) preferred_nodes: Vec<(i32, NodeSelectorTerm)>,
    pub(crate) terms: Terms,
    pub tolerations: Vec<Toleration>,
    pub(crate) spread: Vec<Spread>,
    /// Names of its persistent volume claims, ephemeral ones included.
    pub claims: Vec<String>,
    /// Those of them that the pod's own volumes make.
    pub ephemeral_claims: Vec<String>,
    pub images: Vec<String>,
}

impl PodFacts {
    pub fn of(pod: &Pod) -> Self {
        let (m, default) = (&pod.metadata, PodSpec::default());
        let spec = pod.spec.as_ref().unwrap_or(&default);
        let no_status = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&no_status);
        let name = m.name.clone().unwrap_or_default();
        let affinity = spec.affinity.as_ref();
        let nodes = affinity.and_then(|a| a.node_affinity.as_ref());
        let namespace = m.namespace.clone().unwrap_or_default();
        let labels = m.labels.clone().unwrap_or_default();
        Self {
            terms: Terms::of(affinity, &namespace, &labels),
            uid: m.uid.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
            node: spec.node_name.clone().unwrap_or_default(),
            nominated: pod.status.as_ref().and_then(|s| s.nominated_node_name.clone()).unwrap_or_default(),
            scheduler: spec.scheduler_name.clone().unwrap_or_else(|| "default-scheduler".into()),
            gates: spec.scheduling_gates.iter().flatten().map(|g| g.name.clone()).collect(),
            started: pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map_or(i64::MAX, |t| t.0.as_second()),
            terminating: m.deletion_timestamp.is_some(),
            preempted: m.deletion_timestamp.is_some()
                && pod
                    .status
                    .iter()
                    .flat_map(|s| s.conditions.iter().flatten())
                    .any(|c| c.type_ == "DisruptionTarget" && c.status == "True" && c.reason.as_deref() == Some("PreemptionByScheduler")),
            requests: of_pod(spec, status, false),
            scored: of_pod(spec, status, true),
            ports: containers(spec).flat_map(host_ports).collect(),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            node_terms: nodes.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref()).map(|s| s.node_selector_terms.clone()),
            pinned: nodes.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref()).and_then(|s| pinned(&s.node_selector_terms)),
            preferred_nodes: nodes
                .and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref())
                .map(|p| p.iter().map(|p| (p.weight, p.preference.clone())).collect())
                .unwrap_or_default(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            spread: spreads(spec, &labels),
            claims: claims(spec, &name),
            ephemeral_claims: spec.volumes.iter().flatten().filter(|v| v.ephemeral.is_some()).map(|v| format!("{name}-{}", v.name)).collect(),
            images: containers(spec).filter_map(|c| c.image.as_deref().map(tagged)).collect(),
            namespace,
            labels,
            name,
        }
    }
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// An image's name with its tag: `latest` when it names none.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(sidecars)
}
fn host_ports(c: &Container) -> Vec<HostPort> {
    let with_port = c.ports.iter().flatten().filter_map(|p| Some((p, p.host_port.filter(|&h| h > 0)?)));
    with_port
        .map(|(p, port)| HostPort { ip: p.host_ip.clone().unwrap_or_default(), protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()), port })
        .collect()
}
fn claims(spec: &PodSpec, pod: &str) -> Vec<String> {
    let of = |v: &k8s_openapi::api::core::v1::Volume| match (&v.persistent_volume_claim, &v.ephemeral) {
        (Some(c), _) => Some(c.claim_name.clone()),
        (None, Some(_)) => Some(format!("{pod}-{}", v.name)),
        _ => None,
    };
    spec.volumes.iter().flatten().filter_map(of).collect()
}
/// Each term must name one node by `metadata.name`; names that a term contradicts are nobody's.
fn pinned(terms: &[NodeSelectorTerm]) -> Option<Vec<String>> {
    let one = |t: &NodeSelectorTerm| {
        let named = t.match_fields.iter().flatten().filter(|r| r.key == "metadata.name" && r.operator == "In");
        named.filter_map(|r| r.values.as_deref()?.first().cloned()).next()
    };
    if terms.is_empty() { None } else { terms.iter().map(one).collect() }
}

fn spreads(spec: &PodSpec, own: &BTreeMap<String, String>) -> Vec<Spread> {
    let of = |c: &k8s_openapi::api::core::v1::TopologySpreadConstraint| {
        let mut selector = selector::labels(c.label_selector.as_ref());
        for key in c.match_label_keys.iter().flatten() {
            if let Some(v) = own.get(key) {
                selector.requirements.push(skiff_meta::Requirement { key: key.clone(), op: skiff_meta::SetOp::In, values: vec![v.clone()] });
            }
        }
        Spread {
            default: false,
            key: c.topology_key.clone(),
            max_skew: c.max_skew,
            min_domains: c.min_domains.unwrap_or(1),
            hard: c.when_unsatisfiable == "DoNotSchedule",
            selector,
            honor_affinity: c.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: c.node_taints_policy.as_deref() == Some("Honor"),
        }
    };
    spec.topology_spread_constraints.iter().flatten().map(of).collect()
}

#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Resources,
    pub max_pods: i64,
    /// Image names and their size in bytes.
    pub images: BTreeMap<String, i64>,
}

impl NodeFacts {
    pub fn of(node: &Node) -> Self {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|s| s.allocatable.clone().or_else(|| s.capacity.clone())).unwrap_or_default();
        let pods = allocatable.get("pods").and_then(|q| q.0.parse::<skiff_meta::Quantity>().ok()).map_or(0, |q| q.value());
        let images = status.and_then(|s| s.images.as_ref()).into_iter().flatten();
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default(),
            unschedulable: node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false),
            allocatable: Resources::of(&allocatable),
            max_pods: pods,
            images: images.flat_map(|i| i.names.iter().flatten().map(move |n| (n.clone(), i.size_bytes.unwrap_or(0)))).collect(),
        }
    }
}
