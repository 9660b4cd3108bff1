//! What a cluster of ours has from its first start, beside what every API server makes: default roles, the storage
//! class, the DNS Service.
use crate::server::settings::Settings;
use anyhow::Context;
use futures::future::try_join5;
use skiff_auth::bootstrap::{self, Step};
use skiff_client::{Client, Target};
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionResource, Reason, Status};
use skiff_store::Store;
use std::net::IpAddr;
use tokio::task::JoinSet;

/// Makes what is missing; what a user has changed stays, but for the addresses of the `kubernetes` Service. All of it is
/// written at the same time: then it waits for the disk together. Returns where nodes answer DNS.
pub async fn ensure(client: &Client, store: &dyn Store, s: &Settings) -> anyhow::Result<IpAddr> {
    let mut steps: JoinSet<_> = bootstrap::plan(store).into_iter().map(|step| roles(client.clone(), step)).collect();
    let steps = async {
        while let Some(done) = steps.join_next().await {
            done?.context("write the default roles")?;
        }
        Ok(())
    };
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "local-path", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": skiff_cluster::PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"});
    let class = make(client, "storage.k8s.io", "storageclasses", class);
    futures::try_join!(steps, rights(client), class, dns(client, s)).map(|((), (), (), address)| address)
}

/// The rights of our own controllers, which upstream's default roles do not know, and of nodes to certificates, as
/// kubeadm grants them.
async fn rights(client: &Client) -> anyhow::Result<()> {
    const EVENTS: [&str; 2] = ["", "events.k8s.io"];
    let read = ["get", "list", "watch"];
    let provisioner = json!([
        {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"]},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims", "nodes", "pods"], "verbs": read},
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": read},
        {"apiGroups": EVENTS, "resources": ["events"], "verbs": ["create", "patch", "update"]}]);
    let provisioner = controller(client, "local-path-provisioner", provisioner);
    let approver = json!([
        {"apiGroups": [CERTIFICATES], "resources": ["certificatesigningrequests"], "verbs": read},
        {"apiGroups": [CERTIFICATES], "resources": ["certificatesigningrequests/approval"], "verbs": ["update"]},
        {"apiGroups": [CERTIFICATES], "resources": ["signers"], "resourceNames": ["kubernetes.io/kubelet-serving"], "verbs": ["approve"]}]);
    let approver = controller(client, skiff_cluster::SERVING_APPROVER, approver);
    let right = |name: &str| format!("system:certificates.k8s.io:certificatesigningrequests:{name}");
    let (first, renewed) = (right("nodeclient"), right("selfnodeclient"));
    let bootstrapper = bind(client, "skiff:node-bootstrapper", "system:node-bootstrapper", group(BOOTSTRAPPERS));
    let first = bind(client, "skiff:node-autoapprove-bootstrap", &first, group(BOOTSTRAPPERS));
    let renewed = bind(client, "skiff:node-autoapprove-certificate-rotation", &renewed, group("system:nodes"));
    try_join5(provisioner, approver, bootstrapper, first, renewed).await.map(drop)
}

const CERTIFICATES: &str = "certificates.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
/// Whom a bootstrap token for nodes makes.
pub const BOOTSTRAPPERS: &str = "system:bootstrappers:skiff:default-node-token";

fn group(name: &str) -> Value {
    json!({"apiGroup": RBAC, "kind": "Group", "name": name})
}

/// A role of a controller, bound to its account.
async fn controller(client: &Client, name: &str, rules: Value) -> anyhow::Result<()> {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    make(client, RBAC, "clusterroles", role).await?;
    bind(client, name, name, json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"})).await
}

async fn bind(client: &Client, name: &str, role: &str, subject: Value) -> anyhow::Result<()> {
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}, "subjects": [subject]});
    make(client, RBAC, "clusterrolebindings", binding).await
}

/// The Service of the cluster's DNS, which each node answers itself. Its address is kept through restarts with other flags:
/// running pods have it in their `resolv.conf`.
async fn dns(client: &Client, s: &Settings) -> anyhow::Result<IpAddr> {
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"clusterIP": s.dns, "ports": [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53}, {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53}]}});
    let there = target("", "services", &service);
    make(client, "", "services", service).await?;
    let bytes = client.get_bytes(there).await.context("read services kube-dns")?;
    let address = cluster_ip(&bytes).unwrap_or(s.dns);
    if address != s.dns {
        tracing::info!(target: "dns", %address, flags = %s.dns, "the Service kube-dns keeps its address, nodes answer there; delete the Service before a restart to move it");
    }
    Ok(address)
}

/// A Service's address; None of a headless one.
fn cluster_ip(service: &[u8]) -> Option<IpAddr> {
    skiff_json::from_slice::<Value>(service).ok()?.pointer("/spec/clusterIP")?.as_str()?.parse().ok()
}

fn target(group: &'static str, resource: &'static str, object: &Value) -> Target {
    let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    Target::new(GroupVersionResource::new(group, "v1", resource), text("/metadata/namespace"), text("/metadata/name"))
}

/// Creates the object if it is not there.
pub async fn make(client: &Client, group: &'static str, resource: &'static str, object: Value) -> anyhow::Result<()> {
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

async fn roles(client: Client, step: Step) -> Result<(), Status> {
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
