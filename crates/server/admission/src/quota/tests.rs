use super::ResourceQuota;
use crate::testing::{Request, World, text};
use skiff_json::{Value, json};
use skiff_policy::Admission;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

fn plugin() -> ResourceQuota {
    ResourceQuota::new(Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)))
}
fn quota(hard: Value, more: Value) -> (&'static str, Value) {
    let mut spec = more;
    spec["hard"] = hard;
    ("resourcequotas", json!({"metadata": {"name": "q", "namespace": "a"}, "spec": spec}))
}
fn pod(name: &str, spec: Value) -> Value {
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "a", "uid": format!("u-{name}")}, "spec": spec})
}
fn asking(name: &str, requests: Value) -> Value {
    pod(name, json!({"containers": [{"name": "c", "resources": {"requests": requests}}]}))
}

#[tokio::test]
async fn bounds_hold() {
    let p = plugin();
    let w = World::of(&[quota(json!({"pods": "2", "requests.cpu": "1"}), json!({}))]);
    w.put("pods", &asking("there", json!({"cpu": "600m"})));
    let mut done = asking("done", json!({"cpu": "5"}));
    done["status"] = json!({"phase": "Succeeded"});
    w.put("pods", &done);
    let mut stuck = asking("stuck", json!({"cpu": "5"}));
    stuck["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    stuck["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    w.put("pods", &stuck);
    assert_eq!(
        text(Request::create("pods", pod("x", json!({"containers": [{"name": "c"}]}))).admit(&p, &w).await),
        "pods \"x\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    assert_eq!(
        text(Request::create("pods", asking("x", json!({"cpu": "500m"}))).admit(&p, &w).await),
        "pods \"x\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    assert_eq!(text(Request::create("pods", asking("x", json!({"cpu": "400m"}))).admit(&p, &w).await), "ok");
    // The first is under way.
    assert_eq!(
        text(Request::create("pods", asking("y", json!({"cpu": "0"}))).admit(&p, &w).await),
        "pods \"y\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
}

#[tokio::test]
async fn a_failed_write_gives_its_share_back_and_a_committed_one_counts_once() {
    let p = plugin();
    let w = World::of(&[quota(json!({"pods": "1"}), json!({}))]);
    let first = Request::create("pods", pod("x", json!({})));
    let target = first.target();
    assert_eq!(text(first.admit(&p, &w).await), "ok");
    assert_ne!(text(Request::create("pods", pod("y", json!({}))).admit(&p, &w).await), "ok");
    p.settle(&target, "u-x", false);
    assert_eq!(text(Request::create("pods", pod("y", json!({}))).admit(&p, &w).await), "ok");
    w.put("pods", &pod("y", json!({})));
    let refusal = text(Request::create("pods", pod("z", json!({}))).admit(&p, &w).await);
    assert!(refusal.ends_with("requested: pods=1, used: pods=1, limited: pods=1"), "{refusal}");
    let dry = Request { dry_run: true, ..Request::create("pods", pod("z", json!({}))) };
    assert_ne!(text(dry.admit(&p, &w).await), "ok");
}

#[tokio::test]
async fn claims_count_by_their_attributes_class() {
    let selector = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "VolumeAttributesClass", "operator": operator, "values": values}]}});
    let claim = |class: Option<&str>| json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "a", "uid": "u-c"}, "spec": {"volumeAttributesClassName": class}});
    for (operator, values, bounded) in [
        ("In", json!(["gold"]), [false, true, false]),
        ("NotIn", json!(["gold"]), [true, false, true]),
        ("Exists", json!([]), [false, true, true]),
        ("DoesNotExist", json!([]), [true, false, false]),
    ] {
        let w = World::of(&[quota(json!({"persistentvolumeclaims": "0"}), selector(operator, values))]);
        for (class, bounded) in [None, Some("gold"), Some("silver")].into_iter().zip(bounded) {
            let said = text(Request::create("persistentvolumeclaims", claim(class)).admit(&plugin(), &w).await);
            assert_eq!(said != "ok", bounded, "{operator} {class:?}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_never_exceed() {
    let (p, w) = (Arc::new(plugin()), Arc::new(World::of(&[quota(json!({"pods": "10", "count/pods": "10"}), json!({}))])));
    let writers: Vec<_> = (0..64)
        .map(|i| {
            let (p, w) = (p.clone(), w.clone());
            tokio::spawn(async move {
                for round in 0..4 {
                    let object = pod(&format!("p{i}-{round}"), json!({}));
                    let r = Request::create("pods", object.clone());
                    // As a create with a generated name: the call's target has none.
                    let target = skiff_request::Target { name: String::new(), ..r.target() };
                    if r.admit(&*p, &w).await.is_ok() {
                        tokio::task::yield_now().await;
                        let commits = (i + round) % 3 != 0;
                        if commits {
                            w.put("pods", &object);
                        }
                        p.settle(&target, object["metadata"]["uid"].as_str().unwrap(), commits);
                    }
                }
            })
        })
        .collect();
    for t in writers {
        t.await.unwrap();
    }
    let stored = skiff_policy::Lookup::list(&*w, "pods", "a").len();
    assert!(stored <= 10, "{stored}");
    // Nothing stays reserved: what is free can be used to the last.
    for i in stored..10 {
        let object = pod(&format!("last{i}"), json!({}));
        let r = Request::create("pods", object.clone());
        let target = r.target();
        assert_eq!(text(r.admit(&*p, &w).await), "ok");
        w.put("pods", &object);
        p.settle(&target, object["metadata"]["uid"].as_str().unwrap(), true);
    }
    assert_ne!(text(Request::create("pods", pod("more", json!({}))).admit(&*p, &w).await), "ok");
}

#[tokio::test]
async fn scopes_choose() {
    let cases = [
        (json!({"scopes": ["BestEffort"]}), json!({"containers": [{"name": "c"}]}), false),
        (json!({"scopes": ["NotBestEffort"]}), json!({"containers": [{"name": "c"}]}), true),
        (json!({"scopes": ["Terminating"]}), json!({"activeDeadlineSeconds": 5}), false),
        (json!({"scopes": ["NotTerminating"]}), json!({"activeDeadlineSeconds": 5}), true),
        (
            json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}),
            json!({"priorityClassName": "high"}),
            false,
        ),
        (json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}), json!({}), true),
        (
            json!({"scopes": ["CrossNamespacePodAffinity"]}),
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["b"]}]}}}),
            false,
        ),
    ];
    for (scope, spec, passes) in cases {
        let w = World::of(&[quota(json!({"pods": "0"}), scope.clone())]);
        assert_eq!(text(Request::create("pods", pod("x", spec)).admit(&plugin(), &w).await) == "ok", passes, "{scope}");
    }
}

#[tokio::test]
async fn other_kinds() {
    let w = World::of(&[quota(
        json!({"services.nodeports": "1", "requests.storage": "3Gi", "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "0", "count/deployments.apps": "0", "configmaps": "0"}),
        json!({}),
    )]);
    let named = |spec: Value| json!({"metadata": {"name": "x", "namespace": "a", "uid": "u"}, "spec": spec});
    let claim = |class: &str, size: &str| named(json!({"storageClassName": class, "resources": {"requests": {"storage": size}}}));
    let cases = [
        (
            Request::create("services", named(json!({"type": "NodePort", "ports": [{}, {}]}))),
            "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1",
        ),
        (Request::create("services", named(json!({"type": "ClusterIP", "ports": [{}, {}]}))), "ok"),
        (
            Request::create("persistentvolumeclaims", claim("", "4Gi")),
            "exceeded quota: q, requested: requests.storage=4Gi, used: requests.storage=0, limited: requests.storage=3Gi",
        ),
        (
            Request::create("persistentvolumeclaims", claim("gold", "1Gi")),
            "exceeded quota: q, requested: gold.storageclass.storage.k8s.io/persistentvolumeclaims=1, used: gold.storageclass.storage.k8s.io/persistentvolumeclaims=0, limited: gold.storageclass.storage.k8s.io/persistentvolumeclaims=0",
        ),
        (
            Request::create("deployments.apps", named(json!({}))),
            "exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=0, limited: count/deployments.apps=0",
        ),
        (Request::update("configmaps", named(json!({})), named(json!({}))), "ok"),
    ];
    for (r, want) in cases {
        let got = text(r.admit(&plugin(), &w).await);
        assert!(got.ends_with(want), "{got}");
    }
    // An expansion is charged for what it adds.
    w.put("persistentvolumeclaims", &claim("", "2Gi"));
    for (size, ok) in [("3Gi", true), ("4Gi", false)] {
        assert_eq!(text(Request::update("persistentvolumeclaims", claim("", "2Gi"), claim("", size)).admit(&plugin(), &w).await) == "ok", ok);
    }
}
