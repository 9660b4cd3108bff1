//! Requests against a fake world, the answers as upstream gives them.
use crate::{testing::{Request, World, text}, *};
use serde_json::{Value, json};

fn world() -> World {
    World::of(&[
        ("namespaces", json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}})),
        ("namespaces", json!({"metadata": {"name": "gone"}, "status": {"phase": "Terminating"}})),
        ("serviceaccounts", json!({"metadata": {"name": "default", "namespace": "a"}, "imagePullSecrets": [{"name": "pull"}]})),
        ("serviceaccounts", json!({"metadata": {"name": "quiet", "namespace": "a"}, "automountServiceAccountToken": false})),
        ("serviceaccounts", json!({"metadata": {"name": "strict", "namespace": "a", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}, "secrets": [{"name": "mine"}]})),
        ("priorityclasses.scheduling.k8s.io", json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"})),
        ("priorityclasses.scheduling.k8s.io", json!({"metadata": {"name": "usual"}, "value": 7, "globalDefault": true})),
        ("storageclasses.storage.k8s.io", json!({"metadata": {"name": "old", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}})),
        ("storageclasses.storage.k8s.io", json!({"metadata": {"name": "new", "creationTimestamp": "2026-02-01T00:00:00Z", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "allowVolumeExpansion": true})),
        ("runtimeclasses.node.k8s.io", json!({"metadata": {"name": "box"}, "overhead": {"podFixed": {"cpu": "100m"}}, "scheduling": {"nodeSelector": {"box": "yes"}}})),
        ("nodes", json!({"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z", "other": "x"}}})),
    ])
}

fn pod(spec: Value) -> Value {
    json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "a"}, "spec": spec})
}

fn account() -> ServiceAccount {
    ServiceAccount { random: Arc::new(|| 0) }
}

#[tokio::test]
async fn namespaces() {
    let w = world();
    let in_namespace = |n: &str| json!({"metadata": {"name": "p", "namespace": n}});
    let cases = [
        (Request::create("configmaps", in_namespace("a")), "ok"),
        (Request::create("configmaps", in_namespace("nowhere")), "namespaces \"nowhere\" not found"),
        (Request::create("deployments.apps", in_namespace("gone")), "deployments.apps \"p\" is forbidden: unable to create new content in namespace gone because it is being terminated"),
        (Request::update("configmaps", in_namespace("gone"), in_namespace("gone")), "ok"),
        (Request::delete("namespaces", json!({"metadata": {"name": "kube-system"}})), "namespaces \"kube-system\" is forbidden: this namespace may not be deleted"),
        (Request::delete("namespaces", json!({"metadata": {"name": "a"}})), "ok"),
    ];
    for (r, want) in cases {
        assert_eq!(text(r.admit(&NamespaceLifecycle, &w).await), want);
    }
    let refusal = Request::create("pods", in_namespace("gone")).admit(&NamespaceLifecycle, &w).await.unwrap_err();
    assert_eq!((refusal.code, refusal.details.unwrap().causes[0].reason.as_str()), (403, "NamespaceTerminating"));
}

#[tokio::test]
async fn accounts_and_their_tokens() {
    let w = world();
    let (v, _) = Request::create("pods", pod(json!({"containers": [{"name": "c"}]}))).admit(&account(), &w).await.unwrap();
    assert_eq!(v["spec"]["serviceAccountName"], "default");
    assert_eq!(v["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    let volume = &v["spec"]["volumes"][0];
    assert!(volume["name"].as_str().unwrap().starts_with("kube-api-access-"));
    assert_eq!(volume["projected"]["sources"][0], json!({"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}));
    assert_eq!(v["spec"]["containers"][0]["volumeMounts"][0]["name"], volume["name"]);

    let quiet = pod(json!({"serviceAccountName": "quiet", "containers": [{"name": "c"}]}));
    let (v, _) = Request::create("pods", quiet).admit(&account(), &w).await.unwrap();
    assert_eq!(v["spec"].get("volumes"), None);

    let secret = |name: &str| json!({"serviceAccountName": "strict", "automountServiceAccountToken": false, "containers": [{"name": "c"}], "volumes": [{"name": "v", "secret": {"secretName": name}}]});
    assert_eq!(text(Request::create("pods", pod(secret("mine"))).admit(&account(), &w).await), "ok");
    assert_eq!(
        text(Request::create("pods", pod(secret("yours"))).admit(&account(), &w).await),
        "pods \"p\" is forbidden: volume with secret.secretName=\"yours\" is not allowed because service account strict does not reference that secret"
    );
    assert_eq!(
        text(Request::create("pods", pod(json!({"serviceAccountName": "nobody"}))).admit(&account(), &w).await),
        "pods \"p\" is forbidden: error looking up service account a/nobody: serviceaccount \"nobody\" not found"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_the_default_account() {
    let w = Arc::new(World::default());
    let later = w.clone();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        later.put("serviceaccounts", &json!({"metadata": {"name": "default", "namespace": "a"}}));
    });
    assert_eq!(text(Request::create("pods", pod(json!({}))).admit(&account(), &w).await), "ok");
}

#[tokio::test]
async fn priorities() {
    let w = world();
    let cases = [
        (json!({}), json!(["usual", 7, null])),
        (json!({"priorityClassName": "high"}), json!(["high", 1000, "Never"])),
        (json!({"priorityClassName": "system-node-critical"}), json!(["system-node-critical", 2_000_001_000, "PreemptLowerPriority"])),
    ];
    for (spec, want) in cases {
        let (v, _) = Request::create("pods", pod(spec)).admit(&Priority, &w).await.unwrap();
        let s = &v["spec"];
        assert_eq!(json!([s["priorityClassName"], s["priority"], s["preemptionPolicy"]]), want);
    }
    assert_eq!(text(Request::create("pods", pod(json!({"priorityClassName": "x"}))).admit(&Priority, &w).await), "pods \"p\" is forbidden: no PriorityClass with name x was found");
    let wrong = Request::create("pods", pod(json!({"priority": 5}))).admit(&Priority, &w).await;
    assert!(text(wrong).contains("the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 7"));
    let second = json!({"metadata": {"name": "b"}, "value": 1, "globalDefault": true});
    assert_eq!(
        text(Request::create("priorityclasses.scheduling.k8s.io", second).admit(&Priority, &w).await),
        "priorityclasses.scheduling.k8s.io \"b\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"
    );
}

#[tokio::test]
async fn what_is_filled_in() {
    let w = world();
    let (v, _) = Request::create("pods", pod(json!({"tolerations": [{"key": "node.kubernetes.io/unreachable"}]}))).admit(&DefaultTolerationSeconds::default(), &w).await.unwrap();
    let keys: Vec<&str> = v["spec"]["tolerations"].as_array().unwrap().iter().filter_map(|t| t["key"].as_str()).collect();
    assert_eq!(keys, ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"]);

    let (v, _) = Request::create("nodes", json!({"metadata": {"name": "n"}, "spec": {}})).admit(&TaintNodesByCondition, &w).await.unwrap();
    assert_eq!(v["spec"]["taints"], json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]));

    let claim = json!({"metadata": {"name": "c", "namespace": "a"}, "spec": {}});
    let (v, _) = Request::create("persistentvolumeclaims", claim.clone()).admit(&DefaultStorageClass, &w).await.unwrap();
    assert_eq!(v["spec"]["storageClassName"], "new");
    let (v, _) = Request::create("persistentvolumeclaims", json!({"metadata": {"name": "c"}, "spec": {"storageClassName": ""}})).admit(&DefaultStorageClass, &w).await.unwrap();
    assert_eq!(v["spec"]["storageClassName"], "");
    let (v, _) = Request::create("persistentvolumeclaims", claim).admit(&StorageObjectInUseProtection, &w).await.unwrap();
    assert_eq!(v["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));

    let (v, _) = Request::create("pods", pod(json!({"nodeName": "n"}))).admit(&PodTopologyLabels, &w).await.unwrap();
    assert_eq!(v["metadata"]["labels"], json!({"topology.kubernetes.io/zone": "z"}));

    let (v, _) = Request::create("pods", pod(json!({"runtimeClassName": "box"}))).admit(&RuntimeClass, &w).await.unwrap();
    assert_eq!((&v["spec"]["overhead"], &v["spec"]["nodeSelector"]), (&json!({"cpu": "100m"}), &json!({"box": "yes"})));
    assert_eq!(text(Request::create("pods", pod(json!({"runtimeClassName": "x"}))).admit(&RuntimeClass, &w).await), "pods \"p\" is forbidden: pod rejected: RuntimeClass \"x\" not found");
    assert!(text(Request::create("pods", pod(json!({"overhead": {"cpu": "1"}}))).admit(&RuntimeClass, &w).await).contains("without corresponding RuntimeClass"));
}

#[tokio::test]
async fn claims_grow_where_their_class_lets_them() {
    let w = world();
    let claim = |class: &str, size: &str, phase: &str| json!({"metadata": {"name": "c", "namespace": "a"}, "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}, "status": {"phase": phase}});
    for (class, phase, want) in [
        ("new", "Bound", "ok"),
        ("old", "Bound", "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"),
        ("new", "Pending", "persistentvolumeclaims \"c\" is forbidden: Only bound persistent volume claims can be expanded"),
    ] {
        let r = Request::update("persistentvolumeclaims", claim(class, "1Gi", phase), claim(class, "2Gi", phase));
        assert_eq!(text(r.admit(&PersistentVolumeClaimResize, &w).await), want);
    }
}
