//! What a cluster of ours has from its first start, beside what every API server makes: default roles, the storage
//! class, the DNS Service.
use crate::server::api::Api;
use crate::server::settings::Settings;
use anyhow::Context;
use serde_json::{Value, json};
use skiff_auth::bootstrap::{self, Step};
use skiff_client::{Client, Target};
use skiff_meta::{GroupVersionResource, Reason, Status};

/// Makes what is missing; what a user has changed stays, but for the addresses of the `kubernetes` Service.
pub async fn ensure(api: &Api, s: &Settings) -> anyhow::Result<()> {
    let client = api.master();
    for step in bootstrap::plan(&*api.store) {
        roles(&client, step).await.context("write the default roles")?;
    }
    provisioner(&client).await?;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "local-path", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": skiff_cluster::PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"});
    make(&client, "storage.k8s.io", "storageclasses", class).await?;
    dns(&client, s).await
}

/// The rights of the local-path provisioner, which upstream's default roles do not know.
async fn provisioner(client: &Client) -> anyhow::Result<()> {
    const NAME: &str = "local-path-provisioner";
    let rules = json!([
        {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"]},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims", "nodes", "pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]}]);
    let meta = json!({"name": NAME});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules});
    make(client, "rbac.authorization.k8s.io", "clusterroles", role).await?;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": meta,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": "kube-system"}]});
    make(client, "rbac.authorization.k8s.io", "clusterrolebindings", binding).await
}

/// The Service of the cluster's DNS, which each node answers itself.
async fn dns(client: &Client, s: &Settings) -> anyhow::Result<()> {
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
