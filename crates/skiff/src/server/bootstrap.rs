//! What a cluster has from its first start.
use crate::server::api::Api;
use crate::server::settings::Settings;
use anyhow::Context;
use serde_json::{Value, json};
use skiff_auth::bootstrap::{self, Step};
use skiff_client::{Client, PatchBody, Target};
use skiff_meta::{GroupVersionResource, Reason, Status};

/// Makes what is missing; what a user has changed stays, but for the addresses of the `kubernetes` Service.
pub async fn ensure(api: &Api, s: &Settings) -> anyhow::Result<()> {
    let client = api.master();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        make(&client, "", "namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
    }
    for step in bootstrap::plan(&*api.store) {
        roles(&client, step).await.context("write the default roles")?;
    }
    for (name, value, note) in [
        ("system-cluster-critical", 2_000_000_000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
        ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
    ] {
        make(&client, "scheduling.k8s.io", "priorityclasses", json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value, "description": note})).await?;
    }
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "local-path", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": skiff_cluster::PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"});
    make(&client, "storage.k8s.io", "storageclasses", class).await?;
    let cidrs: Vec<String> = s.services.iter().map(ToString::to_string).collect();
    make(&client, "networking.k8s.io", "servicecidrs", json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}, "spec": {"cidrs": cidrs}})).await?;
    services(&client, s).await
}

/// The `kubernetes` Service with its endpoints, and the Service of the cluster's DNS.
async fn services(client: &Client, s: &Settings) -> anyhow::Result<()> {
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let ports = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": s.listen.port()}]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": s.api_service()?, "sessionAffinity": "None", "ports": ports}});
    make(client, "", "services", service).await?;
    let family = if s.advertise.is_ipv4() { "IPv4" } else { "IPv6" };
    let endpoint_port = json!([{"name": "https", "port": s.listen.port(), "protocol": "TCP"}]);
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": s.advertise}], "ports": endpoint_port}]});
    put(client, "", "endpoints", endpoints).await?;
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": family, "endpoints": [{"addresses": [s.advertise], "conditions": {"ready": true}}], "ports": endpoint_port});
    put(client, "discovery.k8s.io", "endpointslices", slice).await?;
    let dns = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"clusterIP": s.dns, "ports": [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53}, {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53}]}});
    make(client, "", "services", dns).await
}

fn target(group: &'static str, resource: &'static str, object: &Value) -> Target {
    let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    Target::new(GroupVersionResource::new(group, "v1", resource), text("/metadata/namespace"), text("/metadata/name"))
}

/// Creates the object if it is not there.
async fn make(client: &Client, group: &'static str, resource: &'static str, object: Value) -> anyhow::Result<()> {
    let mut target = target(group, resource, &object);
    let name = std::mem::take(&mut target.name);
    match client.get_bytes(Target { name: name.clone(), ..target.clone() }).await {
        Ok(_) => return Ok(()),
        Err(e) if e.is(Reason::NotFound) => {}
        Err(e) => return Err(e).with_context(|| format!("read {resource} {name}")),
    }
    match client.create_bytes(target, object.to_string()).await {
        Err(e) if !e.is(Reason::AlreadyExists) => Err(e).with_context(|| format!("create {resource} {name}")),
        _ => Ok(()),
    }
}

/// Makes the object say what it is to say.
async fn put(client: &Client, group: &'static str, resource: &'static str, object: Value) -> anyhow::Result<()> {
    let target = target(group, resource, &object);
    let name = target.name.clone();
    make(client, group, resource, object.clone()).await?;
    client.patch_bytes(target, PatchBody::merge(&object)).await.map(drop).with_context(|| format!("write {resource} {name}"))
}

async fn roles(client: &Client, step: Step) -> Result<(), Status> {
    let created = |r: Result<_, Status>| match r {
        Err(e) if e.is(Reason::AlreadyExists) => Ok(()),
        other => other.map(drop),
    };
    let nameless = |target: Target| Target { name: String::new(), ..target };
    match step {
        Step::Create { target, object } => created(client.create_bytes(nameless(target), object.to_string()).await),
        Step::Update { target, object } => client.update_bytes(target, object.to_string()).await.map(drop),
        Step::Replace { target, object } => {
            client.delete_target(target.clone(), &Default::default()).await?;
            created(client.create_bytes(nameless(target), object.to_string()).await)
        }
    }
}
