//! What lets further nodes join: their rights (those to certificates are granted in `bootstrap`), the facts that they read, the
//! token that they come with.
use crate::facts::{self, Facts};
use crate::server::api::Api;
use crate::server::bootstrap::make;
use crate::server::tokens::Tokens;
use anyhow::Context;
use k8s_openapi::api::core::v1::ConfigMap;
use skiff_client::{Client, PatchBody};
use skiff_json::json;
use std::path::Path;

const RBAC: &str = "rbac.authorization.k8s.io";

pub async fn ensure(api: &Api, facts: &Facts, data: &Path, tokens: &Tokens) -> anyhow::Result<()> {
    let client = &api.master();
    let network_right = bind(client, "skiff:node-network", "system:node-proxier", "system:nodes");
    let storage_right = bind(client, "skiff:node-storage", "skiff:node-storage", "system:nodes");
    // NodeRestriction keeps a node to the volumes that were made on it.
    let storage = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "skiff:node-storage"},
        "rules": [{"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch", "delete"]}]});
    let storage = make(client, RBAC, "clusterroles", storage);
    futures::try_join!(network_right, storage_right, storage, publish(client, facts), tokens.keep(data)).map(drop)
}

async fn bind(client: &Client, name: &str, role: &str, group: &str) -> anyhow::Result<()> {
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}, "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": group}]});
    make(client, RBAC, "clusterrolebindings", binding).await
}

/// The facts as they are at this start, for nodes alone to read.
async fn publish(client: &Client, facts: &Facts) -> anyhow::Result<()> {
    let meta = json!({"name": facts::NAME, "namespace": facts::NAMESPACE});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta,
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [facts::NAME], "verbs": ["get"]}]});
    let role = make(client, RBAC, "roles", role);
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": facts::NAME}, "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": "system:nodes"}]});
    let binding = make(client, RBAC, "rolebindings", binding);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": facts.data()});
    let map = make(client, "", "configmaps", map);
    futures::try_join!(role, binding, map)?;
    let patch = PatchBody::merge(&json!({"data": facts.data()}));
    client.patch::<ConfigMap>(facts::NAMESPACE, facts::NAME, patch).await.map(drop).context("publish the cluster's facts")
}
