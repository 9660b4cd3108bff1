//! What clusters have where `metrics.k8s.io` is served: its APIService, which somebody may have given to a server of their
//! own, and the role that lets people who may look at things look at these, too.
use super::Bootstrap;
use skiff_json::json;
use skiff_meta::Status;

impl Bootstrap<'_> {
    pub(super) async fn usage(&self) -> Result<(), Status> {
        let spec = json!({"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100});
        let labels = json!({"kube-aggregator.kubernetes.io/automanaged": "onstart"});
        let service = json!({"kind": "APIService", "metadata": {"name": "v1beta1.metrics.k8s.io", "labels": labels}, "spec": spec});
        self.create("apiregistration.k8s.io", "v1", "apiservices", "", service).await?;
        let aggregate = |to: &str| (format!("rbac.authorization.k8s.io/aggregate-to-{to}"), json!("true"));
        let labels: skiff_json::Map = ["admin", "edit", "view"].map(aggregate).into_iter().collect();
        let rule = json!({"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]});
        let role = json!({"kind": "ClusterRole", "metadata": {"name": "system:aggregated-metrics-reader", "labels": labels}, "rules": [rule]});
        self.create("rbac.authorization.k8s.io", "v1", "clusterroles", "", role).await
    }
}
