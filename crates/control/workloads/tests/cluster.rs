//! All controllers against an API in memory, with a node that runs whatever is there.
use skiff_client::{Client, DeleteOptions, ListParams, PatchBody, Target, fake::Fake};
use skiff_controller::{HeldClock, Queue, Recorder};
use skiff_informer::{Informer, Informers, Selection, split_key};
use skiff_json::{Value, json};
use skiff_meta::GroupVersionResource;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn gvr(group: &'static str, resource: &'static str) -> GroupVersionResource {
    GroupVersionResource::new(group, "v1", resource)
}
fn pods() -> GroupVersionResource {
    gvr("", "pods")
}

struct Cluster {
    client: Client,
    stop: CancellationToken,
    clock: Arc<HeldClock>,
    pods: Arc<Informer>,
    changed: Arc<tokio::sync::Notify>,
}

impl Cluster {
    /// `exit` is what pods end with, if they end at all: their phase by name.
    async fn start(exit: fn(&str) -> &'static str) -> Self {
        let api = Fake::new();
        let client = api.client();
        let informers = Informers::new(client.clone());
        let clock = Arc::new(HeldClock::at(1_767_225_600));
        let stop = CancellationToken::new();
        let recorder = Recorder::new(client.clone(), "test", "", clock.clone());
        tokio::spawn(skiff_workloads::run(client.clone(), informers.clone(), recorder, clock.clone(), stop.clone()));
        let pods = informers.raw(Selection::of(pods()));
        informers.synced().await;
        let changed = Arc::new(tokio::sync::Notify::new());
        let queue = Queue::new();
        let (q, n) = (queue.clone(), changed.clone());
        pods.subscribe(move |c| {
            q.add(c.key());
            n.notify_one();
        });
        tokio::spawn(kubelet(client.clone(), queue, exit));
        Self { client, stop, clock, pods, changed }
    }
    async fn create(&self, resource: GroupVersionResource, object: Value) {
        self.client.create_bytes(Target::new(resource, "n", ""), object.to_string()).await.unwrap();
    }
    async fn get(&self, resource: GroupVersionResource, name: &str) -> Value {
        skiff_json::from_slice(&self.client.get_bytes(Target::new(resource, "n", name)).await.unwrap()).unwrap()
    }
    async fn list(&self, resource: GroupVersionResource) -> Vec<Value> {
        let page = self.client.list_bytes(resource, "n", &ListParams::default()).await.unwrap();
        page.items.iter().map(|b| skiff_json::from_slice(b).unwrap()).collect()
    }
    async fn patch(&self, resource: GroupVersionResource, name: &str, patch: Value) {
        self.client.patch_bytes(Target::new(resource, "n", name), PatchBody::merge(&patch)).await.unwrap();
    }
    /// Until the object looks as asked; the test's own time-out is the harness's.
    async fn until(&self, resource: GroupVersionResource, name: &str, done: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200_000 {
            if let Ok(bytes) = self.client.get_bytes(Target::new(resource.clone(), "n", name)).await {
                let v = skiff_json::from_slice(&bytes).unwrap();
                if done(&v) {
                    return v;
                }
            }
            tokio::task::yield_now().await;
        }
        panic!("{name} never looked so: {}; pods: {}", self.get(resource, name).await, Value::from(self.list(pods()).await));
    }
    async fn pod_names(&self) -> Vec<String> {
        self.list(pods()).await.iter().map(|p| p["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs every pod at once, ends those that are to end, and lets go of those that are deleted.
async fn kubelet(client: Client, queue: Queue, exit: fn(&str) -> &'static str) {
    while let Some(key) = queue.get().await {
        queue.done(&key);
        let (namespace, name) = split_key(&key);
        let target = Target::new(pods(), namespace, name);
        let Ok(bytes) = client.get_bytes(target.clone()).await else { continue };
        let mut pod: Value = skiff_json::from_slice(&bytes).unwrap();
        let phase = pod["status"]["phase"].as_str().unwrap_or_default().to_owned();
        let over = matches!(phase.as_str(), "Succeeded" | "Failed");
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            if !over {
                pod["status"]["phase"] = "Failed".into();
                let _ = client.update_bytes(target.clone().sub("status"), pod.to_string()).await;
            }
            let _ = client.delete_target(target, &DeleteOptions::default().grace(0)).await;
            continue;
        }
        if pod["spec"]["nodeName"].is_null() {
            pod["spec"]["nodeName"] = "n1".into();
            let _ = client.update_bytes(target, pod.to_string()).await;
            continue;
        }
        let wanted = match (phase.as_str(), exit(name)) {
            ("", _) => "Running",
            ("Running", "") => continue,
            ("Running", end) => end,
            _ => continue,
        };
        let ready = if wanted == "Running" { "True" } else { "False" };
        let code = if wanted == "Failed" { 3 } else { 0 };
        pod["status"] = json!({"phase": wanted, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        if wanted != "Running" {
            pod["status"]["containerStatuses"] = json!([{"name": "c", "state": {"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:00:00Z"}}}]);
        }
        let _ = client.update_bytes(target.sub("status"), pod.to_string()).await;
    }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Always", "containers": [{"name": "c", "image": image}]}})
}
fn forever(_: &str) -> &'static str {
    ""
}

#[tokio::test]
async fn a_deployment_rolls_out_scales_and_rolls_back() {
    let c = Cluster::start(forever).await;
    let d = || gvr("apps", "deployments");
    c.create(
        d(),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "n"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("a"), "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}}),
    )
    .await;
    let complete = |n: i64, generation: i64| {
        move |v: &Value| {
            let s = &v["status"];
            let progressing = s["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Progressing" && c["reason"] == "NewReplicaSetAvailable");
            s["observedGeneration"] == generation && s["availableReplicas"] == n && s["updatedReplicas"] == n && s["replicas"] == n && progressing
        }
    };
    c.until(d(), "web", complete(3, 1)).await;
    c.patch(d(), "web", json!({"spec": {"template": template("b")}})).await;
    let v = c.until(d(), "web", complete(3, 2)).await;
    assert_eq!(v["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    c.patch(d(), "web", json!({"spec": {"replicas": 5}})).await;
    c.until(d(), "web", complete(5, 3)).await;
    c.patch(d(), "web", json!({"spec": {"template": template("a")}})).await;
    let v = c.until(d(), "web", complete(5, 4)).await;
    assert_eq!(v["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    let sets = c.list(gvr("apps", "replicasets")).await;
    assert_eq!(sets.len(), 2);
    let mut sizes: Vec<i64> = sets.iter().map(|s| s["spec"]["replicas"].as_i64().unwrap()).collect();
    sizes.sort();
    assert_eq!(sizes, [0, 5]);
    let events = c.list(gvr("", "events")).await;
    assert!(events.iter().any(|e| e["reason"] == "ScalingReplicaSet" && e["message"].as_str().unwrap().starts_with("Scaled up replica set web-")));
}

#[tokio::test]
async fn a_recreated_deployment_has_no_old_and_new_pods_together() {
    let c = Cluster::start(forever).await;
    let d = || gvr("apps", "deployments");
    c.create(
        d(),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "n"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template("a"), "strategy": {"type": "Recreate"}}}),
    )
    .await;
    c.until(d(), "web", |v| v["status"]["availableReplicas"] == 2).await;
    c.patch(d(), "web", json!({"spec": {"template": template("b")}})).await;
    c.until(d(), "web", |v| v["status"]["observedGeneration"] == 2 && v["status"]["updatedReplicas"] == 2 && v["status"]["availableReplicas"] == 2).await;
    assert_eq!(c.pod_names().await.len(), 2);
}

#[tokio::test]
async fn a_replica_set_adopts_releases_and_replaces() {
    let c = Cluster::start(forever).await;
    c.create(pods(), json!({"metadata": {"name": "orphan", "namespace": "n", "labels": {"app": "web"}}, "spec": {}})).await;
    let r = || gvr("apps", "replicasets");
    c.create(
        r(),
        json!({"metadata": {"name": "rs", "namespace": "n"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template("a")}}),
    )
    .await;
    c.until(r(), "rs", |v| v["status"]["readyReplicas"] == 2).await;
    let orphan = c.get(pods(), "orphan").await;
    assert_eq!(orphan["metadata"]["ownerReferences"][0]["name"], "rs");
    c.patch(pods(), "orphan", json!({"metadata": {"labels": {"app": "other"}}})).await;
    c.until(pods(), "orphan", |v| v["metadata"]["ownerReferences"].is_null()).await;
    while c.pods.len() != 3 {
        c.changed.notified().await;
    }
    c.until(r(), "rs", |v| v["status"]["readyReplicas"] == 2).await;
}

#[tokio::test]
async fn a_stateful_set_keeps_order_names_and_claims() {
    let c = Cluster::start(forever).await;
    let s = || gvr("apps", "statefulsets");
    c.create(
        s(),
        json!({"metadata": {"name": "db", "namespace": "n"}, "spec": {
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "web"}}, "template": template("a"), "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Delete"},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}}),
    )
    .await;
    c.until(s(), "db", |v| v["status"]["readyReplicas"] == 3 && v["status"]["currentReplicas"] == 3).await;
    assert_eq!(c.pod_names().await, ["db-0", "db-1", "db-2"]);
    c.until(gvr("", "persistentvolumeclaims"), "data-db-2", |v| v["metadata"]["ownerReferences"][0]["name"] == "db").await;
    c.patch(s(), "db", json!({"spec": {"template": template("b")}})).await;
    let v = c
        .until(s(), "db", |v| {
            v["status"]["observedGeneration"] == 2
                && v["status"]["updatedReplicas"] == 3
                && v["status"]["readyReplicas"] == 3
                && v["status"]["currentRevision"] == v["status"]["updateRevision"]
        })
        .await;
    assert_eq!(c.get(pods(), "db-0").await["metadata"]["labels"]["controller-revision-hash"], v["status"]["updateRevision"]);
    assert_eq!(c.list(gvr("apps", "controllerrevisions")).await.len(), 2);
    c.patch(s(), "db", json!({"spec": {"replicas": 1}})).await;
    c.until(s(), "db", |v| v["status"]["replicas"] == 1).await;
    assert_eq!(c.pod_names().await, ["db-0"]);
    assert_eq!(c.list(gvr("", "persistentvolumeclaims")).await.len(), 3);
}

#[tokio::test]
async fn a_daemon_set_follows_nodes_and_updates() {
    let c = Cluster::start(forever).await;
    let d = || gvr("apps", "daemonsets");
    let node = |name: &str| json!({"metadata": {"name": name, "labels": {"on": "yes"}}, "spec": {}});
    c.client.create_bytes(Target::new(gvr("", "nodes"), "", ""), node("n1").to_string()).await.unwrap();
    c.create(
        d(),
        json!({"metadata": {"name": "agent", "namespace": "n"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}}, "template": template("a"),
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}}}),
    )
    .await;
    c.until(d(), "agent", |v| v["status"]["numberReady"] == 1).await;
    c.patch(d(), "agent", json!({"spec": {"template": template("b")}})).await;
    c.until(d(), "agent", |v| v["status"]["observedGeneration"] == 2 && v["status"]["updatedNumberScheduled"] == 1 && v["status"]["numberAvailable"] == 1)
        .await;
    assert_eq!(c.list(pods()).await[0]["spec"]["containers"][0]["image"], "b");
    c.client
        .patch_bytes(Target::new(gvr("", "nodes"), "", "n1"), PatchBody::merge(&json!({"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}})))
        .await
        .unwrap();
    c.until(d(), "agent", |v| v["status"]["desiredNumberScheduled"] == 0 && v["status"]["numberMisscheduled"] == 0).await;
}

fn job(spec: Value) -> Value {
    let mut spec = spec;
    spec["template"] = template("a");
    spec["template"]["spec"]["restartPolicy"] = "Never".into();
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    json!({"metadata": {"name": "j", "namespace": "n"}, "spec": spec})
}
fn ended(v: &Value, kind: &str) -> bool {
    v["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True")
}

#[tokio::test]
async fn a_job_completes_and_counts_each_pod_once() {
    let c = Cluster::start(|_| "Succeeded").await;
    let j = || gvr("batch", "jobs");
    c.create(j(), job(json!({"parallelism": 2, "completions": 5, "backoffLimit": 6}))).await;
    let v = c.until(j(), "j", |v| ended(v, "Complete")).await;
    assert_eq!((&v["status"]["succeeded"], &v["status"]["failed"]), (&json!(5), &Value::Null));
    assert!(ended(&v, "SuccessCriteriaMet") && v["status"]["completionTime"].is_string());
    let pods = c.list(pods()).await;
    assert_eq!(pods.len(), 5);
    assert!(pods.iter().all(|p| p["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)));
}

#[tokio::test]
async fn an_indexed_job_names_its_pods() {
    let c = Cluster::start(|_| "Succeeded").await;
    let j = || gvr("batch", "jobs");
    c.create(j(), job(json!({"parallelism": 3, "completions": 4, "completionMode": "Indexed", "backoffLimit": 6}))).await;
    let v = c.until(j(), "j", |v| ended(v, "Complete")).await;
    assert_eq!((&v["status"]["succeeded"], &v["status"]["completedIndexes"]), (&json!(4), &json!("0-3")));
    let hosts: std::collections::BTreeSet<String> = c.list(pods()).await.iter().map(|p| p["spec"]["hostname"].as_str().unwrap().to_owned()).collect();
    assert_eq!(hosts.len(), 4);
}

#[tokio::test]
async fn a_job_fails_and_expires() {
    let c = Cluster::start(|_| "Failed").await;
    let j = || gvr("batch", "jobs");
    c.create(j(), job(json!({"parallelism": 1, "completions": 1, "backoffLimit": 0, "ttlSecondsAfterFinished": 100}))).await;
    let v = c.until(j(), "j", |v| ended(v, "Failed")).await;
    let failed = v["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Failed").unwrap();
    assert_eq!((&failed["reason"], &v["status"]["failed"]), (&json!("BackoffLimitExceeded"), &json!(1)));
    // Long enough for its time to live; a touch wakes the controller.
    c.clock.set(1_767_225_600 + 101);
    c.patch(j(), "j", json!({"metadata": {"labels": {"x": "y"}}})).await;
    while c.client.get_bytes(Target::new(j(), "n", "j")).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cron_job_makes_a_job_that_runs() {
    let c = Cluster::start(|_| "Succeeded").await;
    let cj = || gvr("batch", "cronjobs");
    let template = json!({"spec": job(json!({"parallelism": 1, "completions": 1, "backoffLimit": 6}))["spec"]});
    c.clock.set(1_767_225_600 + 65);
    c.create(cj(), json!({"metadata": {"name": "tick", "namespace": "n"}, "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 3, "jobTemplate": template}})).await;
    let v = c.until(cj(), "tick", |v| v["status"]["lastSuccessfulTime"].is_string()).await;
    assert_eq!(v["status"]["lastScheduleTime"], "2026-01-01T00:01:00Z");
    c.until(cj(), "tick", |v| v["status"]["active"].as_array().is_none_or(Vec::is_empty)).await;
    assert_eq!(c.list(gvr("batch", "jobs")).await.len(), 1);
}

#[tokio::test]
async fn a_budget_follows_its_pods() {
    let c = Cluster::start(forever).await;
    c.create(
        gvr("apps", "replicasets"),
        json!({"metadata": {"name": "rs", "namespace": "n"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("a")}}),
    )
    .await;
    let b = || gvr("policy", "poddisruptionbudgets");
    c.create(b(), json!({"metadata": {"name": "pdb", "namespace": "n"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}})).await;
    let v = c.until(b(), "pdb", |v| v["status"]["currentHealthy"] == 3 && v["status"]["disruptionsAllowed"] == 1).await;
    assert_eq!((&v["status"]["expectedPods"], &v["status"]["desiredHealthy"]), (&json!(3), &json!(2)));
}
