//! The node's own object: registration, status, lease.
use crate::agent::Agent;
use crate::machine::{self, Machine};
use crate::{Config, kubelet};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use skiff_client::PatchBody;
use skiff_controller::{Regarding, lease::Heartbeat};
use skiff_json::{Value, json};
use skiff_meta::{Quantity, Reason, Status};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const CHECK: Duration = Duration::from_secs(10);
/// How often, and how many times, a node that comes back looks whether it is whole.
const BACK_PAUSE: Duration = Duration::from_millis(50);
const BACK_TRIES: usize = 100;
const MAX_IMAGES: usize = 50;

pub fn labels(config: &Config, machine: &Machine) -> BTreeMap<String, String> {
    let mut all = config.labels.clone();
    for (key, value) in [
        ("kubernetes.io/arch", machine.architecture),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("beta.kubernetes.io/arch", machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
    ] {
        all.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    all
}

pub fn spawn(agent: Arc<Agent>, server: Option<SocketAddr>) {
    tokio::spawn(async move {
        let shutdown = agent.shutdown.clone();
        shutdown.run_until_cancelled(run(agent, server)).await;
    });
}

async fn run(agent: Arc<Agent>, server: Option<SocketAddr>) {
    let mut wait = Duration::from_millis(100);
    let node = loop {
        match register(&agent, server).await {
            Ok(node) => break node,
            Err(e) => tracing::warn!(target: "node", node = agent.config.node_name, error = %e, "node not registered yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(7));
    };
    let about = Regarding { kind: "Node".into(), name: agent.config.node_name.clone(), uid: agent.config.node_name.clone(), ..Regarding::default() };
    agent.recorder.normal(&about, "Starting", "Starting kubelet.");
    let lease = Heartbeat {
        client: agent.client.clone(),
        clock: agent.clock.clone(),
        namespace: "kube-node-lease".into(),
        name: agent.config.node_name.clone(),
        holder: agent.config.node_name.clone(),
        duration_seconds: i32::try_from(agent.config.lease_period.as_secs() * 4).unwrap_or(40),
        owner: node.metadata.uid.clone().map(|uid| OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: agent.config.node_name.clone(),
            uid,
            ..Default::default()
        }),
    };
    tokio::spawn(lease.run(agent.config.lease_period, agent.shutdown.clone()));
    report_forever(&agent, server, node, &about).await;
}

/// A node that comes back and was ready says nothing until its runtime and network are there again, for a while: pods need
/// not learn of a moment.
async fn come_back(agent: &Agent, node: &Node) {
    let is_ready = |n: &Node| condition(n.status.as_ref(), "Ready").is_some_and(|c| c.status == "True");
    for _ in 0..BACK_TRIES {
        let well = agent.runtime.status().await.is_ok_and(|s| s.runtime_problem.is_none() && s.network_problem.is_none());
        if well || !is_ready(node) {
            return;
        }
        tokio::time::sleep(BACK_PAUSE).await;
    }
}

async fn report_forever(agent: &Agent, server: Option<SocketAddr>, node: Node, about: &Regarding) {
    come_back(agent, &node).await;
    let mut known = node;
    let mut sent_at = agent.now();
    let mut failures = 0u32;
    let mut first = true;
    loop {
        adopt(agent, &known);
        let was_ready = condition(known.status.as_ref(), "Ready").is_some_and(|c| c.status == "True");
        let old = if first { None } else { known.status.as_ref() };
        let wanted = status(agent, server, old.or(known.status.as_ref())).await;
        let period = i64::try_from(agent.config.status_period.as_secs()).unwrap_or(300);
        let due = first || agent.now().duration_since(sent_at).as_secs() >= period;
        if due || differs(known.status.as_ref(), &wanted) {
            match send(agent, known.status.as_ref(), &wanted).await {
                Ok(n) => {
                    let ready = condition(n.status.as_ref(), "Ready").is_some_and(|c| c.status == "True");
                    if ready != was_ready {
                        let reason = if ready { "NodeReady" } else { "NodeNotReady" };
                        agent.recorder.normal(about, reason, format!("Node {} status is now: {reason}", agent.config.node_name));
                    }
                    tell_network(agent, about, known.status.as_ref(), n.status.as_ref());
                    (known, sent_at, failures, first) = (n, agent.now(), 0, false);
                }
                Err(e) if e.is(Reason::NotFound) => {
                    if let Ok(n) = register(agent, server).await {
                        known = n;
                    }
                }
                Err(e) => {
                    tracing::warn!(target: "node", node = agent.config.node_name, error = %e, "node status not sent");
                    failures = (failures + 1).min(6);
                }
            }
        }
        let ready = condition(known.status.as_ref(), "Ready").is_some_and(|c| c.status == "True");
        let pause = match (failures, ready) {
            (0, true) => CHECK,
            (0, false) => Duration::from_millis(200),
            (n, _) => Duration::from_millis(100 << n),
        };
        tokio::time::sleep(pause).await;
    }
}

/// An event when the network fails or works again.
fn tell_network(agent: &Agent, about: &Regarding, before: Option<&NodeStatus>, after: Option<&NodeStatus>) {
    let kind = "NetworkUnavailable";
    let failed = |s| condition(s, kind).is_some_and(|c| c.status == "True");
    let message = condition(after, kind).and_then(|c| c.message.clone()).unwrap_or_default();
    match (failed(before), failed(after)) {
        (false, true) => agent.recorder.warning(about, kind, message),
        (true, false) => agent.recorder.normal(about, "NetworkAvailable", message),
        _ => {}
    }
}

/// Labels and taints as the API has them now, for admission.
pub(crate) fn adopt(agent: &Agent, node: &Node) {
    let mut room = kubelet::room(&agent.config, &agent.machine);
    if let Some(labels) = &node.metadata.labels {
        room.labels = labels.clone();
    }
    room.taints = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    *agent.room.lock() = room;
}

/// Creates the node, or brings labels and annotations of an existing one up to date.
async fn register(agent: &Agent, server: Option<SocketAddr>) -> Result<Node, Status> {
    let c = &agent.config;
    let labels = labels(c, &agent.machine);
    if let Some(found) = agent.client.find::<Node>("", &c.node_name).await? {
        let has = |have: &Option<BTreeMap<String, String>>, want: &BTreeMap<String, String>| {
            want.iter().all(|(k, v)| have.as_ref().and_then(|h| h.get(k)) == Some(v))
        };
        if !c.register_node || has(&found.metadata.labels, &labels) && has(&found.metadata.annotations, &c.annotations) {
            return Ok(found);
        }
        return agent.client.patch::<Node>("", &c.node_name, PatchBody::merge(&json!({"metadata": {"labels": labels, "annotations": c.annotations}}))).await;
    }
    if !c.register_node {
        return Err(Status::not_found(&skiff_meta::GroupResource::new("", "nodes"), &c.node_name));
    }
    let mut annotations = c.annotations.clone();
    // Volumes are attached by the controller manager, as upstream's kubelet has it by default.
    annotations.insert("volumes.kubernetes.io/controller-managed-attach-detach".into(), "true".into());
    let mut spec = json!({});
    if !c.taints.is_empty() {
        spec["taints"] = json!(c.taints);
    }
    if let Some(id) = &c.provider_id {
        spec["providerID"] = json!(id);
    }
    let body = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": c.node_name, "labels": labels, "annotations": annotations},
        "spec": spec,
        "status": status(agent, server, None).await,
    });
    let target = skiff_client::Target::new(skiff_client::resource_of::<Node>(), "", "");
    let bytes = agent.client.create_bytes(target, body.to_string()).await?;
    tracing::info!(target: "node", node = c.node_name, "node registered");
    skiff_client::decode(&bytes)
}

/// Conditions always (they carry the heartbeat), of the rest what differs.
async fn send(agent: &Agent, old: Option<&NodeStatus>, wanted: &NodeStatus) -> Result<Node, Status> {
    let mut value = skiff_json::to_value(wanted).map_err(Status::internal)?;
    let old = old.and_then(|o| skiff_json::to_value(o).ok()).unwrap_or_default();
    if let Some(o) = value.as_object_mut() {
        o.retain(|k, v| k == "conditions" || old.get(k.as_str()) != Some(v));
    }
    if let Some(list) = value.get_mut("addresses").and_then(Value::as_array_mut) {
        list.push(json!({"$patch": "replace"}));
    }
    agent.client.patch_status::<Node>("", &agent.config.node_name, PatchBody::strategic(&json!({"status": value}))).await
}

fn condition<'a>(s: Option<&'a NodeStatus>, kind: &str) -> Option<&'a NodeCondition> {
    s?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// Anything but the times of heartbeats.
fn differs(old: Option<&NodeStatus>, new: &NodeStatus) -> bool {
    let Some(old) = old else { return true };
    let still = |a: &NodeCondition| condition(Some(old), &a.type_).is_some_and(|b| a.status == b.status && a.reason == b.reason && a.message == b.message);
    !new.conditions.iter().flatten().all(still)
        || old.capacity != new.capacity
        || old.allocatable != new.allocatable
        || old.addresses != new.addresses
        || old.node_info != new.node_info
        || old.images != new.images
        || old.daemon_endpoints != new.daemon_endpoints
}

fn quantities(map: BTreeMap<String, Quantity>) -> BTreeMap<String, ApiQuantity> {
    map.into_iter().map(|(k, q)| (k, ApiQuantity(q.to_string()))).collect()
}

async fn status(agent: &Agent, server: Option<SocketAddr>, old: Option<&NodeStatus>) -> NodeStatus {
    let disk = machine::disk(&agent.config.root_dir).unwrap_or_default();
    let capacity = agent.machine.capacity(disk.size, agent.config.max_pods);
    let mut allocatable = capacity.clone();
    for (name, kept) in &agent.config.reserved {
        if let Some(q) = allocatable.get_mut(name) {
            *q = *q - *kept;
        }
    }
    let m = &agent.machine;
    let info = json!({
        "machineID": m.machine_id, "systemUUID": m.system_uuid, "bootID": m.boot_id, "kernelVersion": m.kernel, "osImage": m.os_image,
        "containerRuntimeVersion": format!("{}://{}", agent.runtime_name, agent.runtime_version),
        "kubeletVersion": agent.config.version, "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": m.architecture,
    });
    let addresses: Vec<Value> = agent
        .config
        .node_ips
        .iter()
        .map(|ip: &IpAddr| json!({"type": "InternalIP", "address": ip.to_string()}))
        .chain([json!({"type": "Hostname", "address": agent.config.node_name})])
        .collect();
    let value = json!({
        "capacity": quantities(capacity), "allocatable": quantities(allocatable), "addresses": addresses, "nodeInfo": info,
        "conditions": conditions(agent, &disk, old).await, "images": images(agent).await,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": server.map_or(0, |s| i32::from(s.port()))}},
        "features": {"supplementalGroupsPolicy": true},
        "runtimeHandlers": [{"name": "", "features": {"recursiveReadOnlyMounts": true, "userNamespaces": false}}],
    });
    skiff_client::view(&value).unwrap_or_default()
}

async fn images(agent: &Agent) -> Vec<Value> {
    let mut all = agent.images.list().await.unwrap_or_default();
    all.sort_by_key(|i| std::cmp::Reverse(i.size));
    let names = |i: &skiff_cri::Image| i.digests.iter().chain(&i.tags).take(5).cloned().collect::<Vec<_>>();
    all.iter().take(MAX_IMAGES).filter(|i| !names(i).is_empty()).map(|i| json!({"names": names(i), "sizeBytes": i.size})).collect()
}

async fn conditions(agent: &Agent, disk: &machine::Disk, old: Option<&NodeStatus>) -> Vec<NodeCondition> {
    let problem = match agent.runtime.status().await {
        Ok(s) => {
            let runtime = s.runtime_problem.map(|p| format!("container runtime is down: {p}"));
            let network =
                s.network_problem.map(|p| format!("container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{p}"));
            runtime.or(network)
        }
        Err(e) => Some(format!("container runtime is down: {}", e.full_message())),
    };
    let low_memory = machine::memory_available().is_some_and(|m| m < agent.config.eviction.memory_available);
    let low_disk = disk.size > 0 && disk.free * 100 / disk.size < agent.config.eviction.disk_available;
    let low_pids = machine::pids_available().is_some_and(|n| n < agent.config.eviction.pids_available);
    let ready = match &problem {
        None => ("True", "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(p) => ("False", "KubeletNotReady", p.clone()),
    };
    let pressure = |bad: bool, yes: (&'static str, &str), no: (&'static str, &str)| {
        if bad { ("True", yes.0, yes.1.to_owned()) } else { ("False", no.0, no.1.to_owned()) }
    };
    let memory = pressure(
        low_memory,
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    );
    let disk = pressure(low_disk, ("KubeletHasDiskPressure", "kubelet has disk pressure"), ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"));
    let pids = pressure(
        low_pids,
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    );
    let network = agent.config.network.condition();
    let now = Time(k8s_openapi::jiff::Timestamp::from_second(agent.now().as_second()).unwrap_or_default());
    let own = [("MemoryPressure", memory), ("DiskPressure", disk), ("PIDPressure", pids), ("Ready", ready)];
    let own = own.into_iter().map(|(kind, (status, reason, message))| NodeCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        ..NodeCondition::default()
    });
    network.into_iter().chain(own).map(|c| dated(c, &now, old)).collect()
}

/// The time of the last change stays as long as the status does.
fn dated(mut c: NodeCondition, now: &Time, old: Option<&NodeStatus>) -> NodeCondition {
    let before = condition(old, &c.type_).filter(|b| b.status == c.status).and_then(|b| b.last_transition_time.clone());
    c.last_heartbeat_time = Some(now.clone());
    c.last_transition_time = before.or_else(|| Some(now.clone()));
    c
}
