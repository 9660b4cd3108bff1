use super::*;
use crate::facts::NodeFacts;
use crate::preempt::preempt;
use crate::volumes::{Claim, ClaimState};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

fn node(name: &str, extra: Value) -> NodeFacts {
    let mut v = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "zone": if name < "c" { "z1" } else { "z2" }}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}});
    for (k, x) in extra.as_object().into_iter().flatten() {
        v[k.as_str()] = x.clone();
    }
    NodeFacts::of(&serde_json::from_value::<Node>(v).unwrap())
}
fn pod(name: &str, spec: Value) -> PodFacts {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c", "image": "i"}]);
    }
    let v = json!({"metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "x"}}, "spec": spec});
    PodFacts::of(&serde_json::from_value::<Pod>(v).unwrap())
}
fn cpu(n: &str) -> Value {
    json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": n}}}])
}
fn cluster(names: &[&str]) -> Snapshot {
    let mut s = Snapshot::default();
    names.iter().for_each(|n| s.set_node(node(n, json!({}))));
    s
}
fn run(p: &PodFacts, s: &Snapshot) -> Decision {
    schedule(p, s, &VolumeView::new(), &[], 0)
}
fn unfit(d: Decision) -> String {
    match d {
        Decision::Unfit(e) => e.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_emptier_node_wins_and_full_ones_say_why() {
    let mut s = cluster(&["a", "b"]);
    let mut big = pod("big", json!({"containers": cpu("1500m")}));
    big.node = "a".into();
    s.set_pod(big);
    assert_eq!(run(&pod("p", json!({"containers": cpu("1")})), &s), Decision::Bind("b".into()));
    assert_eq!(unfit(run(&pod("p", json!({"containers": cpu("3")})), &s)), "0/2 nodes are available: 2 Insufficient cpu.");
    assert_eq!(unfit(run(&pod("p", json!({})), &Snapshot::default())), "no nodes available to schedule pods");
}

#[test]
fn taints_selectors_and_cordons() {
    let mut s = Snapshot::default();
    s.set_node(node("a", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}})));
    s.set_node(node("b", json!({"spec": {"unschedulable": true}})));
    assert_eq!(unfit(run(&pod("p", json!({})), &s)), "0/2 nodes are available: 1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable.");
    let tolerant = pod("p", json!({"tolerations": [{"key": "k", "operator": "Exists"}]}));
    assert_eq!(run(&tolerant, &s), Decision::Bind("a".into()));
    let s = cluster(&["a", "b"]);
    assert_eq!(run(&pod("p", json!({"nodeSelector": {"kubernetes.io/hostname": "b"}})), &s), Decision::Bind("b".into()));
    let pinned = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]}}}});
    assert_eq!(run(&pod("p", pinned), &s), Decision::Bind("a".into()));
    assert_eq!(unfit(run(&pod("p", json!({"nodeSelector": {"x": "y"}})), &s)), "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.");
}

#[test]
fn pods_keep_apart_and_together() {
    let mut s = cluster(&["a", "b", "c"]);
    let mut first = pod("first", json!({}));
    first.node = "a".into();
    s.set_pod(first);
    let term = json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}]);
    let apart = pod("p", json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}}));
    assert_eq!(run(&apart, &s), Decision::Bind("c".into()));
    let near = pod("p", json!({"containers": cpu("1"), "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}]}}}));
    assert_eq!(run(&near, &s), Decision::Bind("a".into()));
    let alone = pod("p", json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}]}}}));
    assert!(matches!(run(&alone, &cluster(&["a"])), Decision::Bind(_)));
}

#[test]
fn spread_keeps_the_skew() {
    let mut s = cluster(&["a", "c"]);
    for (n, on) in [("p1", "a"), ("p2", "a")] {
        let mut p = pod(n, json!({}));
        p.node = on.into();
        s.set_pod(p);
    }
    let p = pod("p", json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "x"}}}]}));
    assert_eq!(run(&p, &s), Decision::Bind("c".into()));
}

#[test]
fn ports_gates_and_claims() {
    let mut s = cluster(&["a"]);
    let ports = json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let mut there = pod("there", ports.clone());
    there.node = "a".into();
    s.set_pod(there);
    assert!(unfit(run(&pod("p", ports), &s)).contains("free ports"));
    assert_eq!(run(&pod("p", json!({"schedulingGates": [{"name": "g"}]})), &s), Decision::Gated);
    let claimer = pod("p", json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}));
    assert!(unfit(run(&claimer, &s)).contains("persistentvolumeclaim \"data\" not found"));
    let view = VolumeView::from([("default/data".to_owned(), Claim { state: ClaimState::Bound { terms: None }, exclusive: false })]);
    assert_eq!(schedule(&claimer, &s, &view, &[], 0), Decision::Bind("a".into()));
}

#[test]
fn preemption_takes_the_least_important() {
    let mut s = cluster(&["a", "b"]);
    for (name, on, priority) in [("low", "a", 1), ("high", "b", 5)] {
        let mut p = pod(name, json!({"containers": cpu("2"), "priority": priority}));
        p.node = on.into();
        s.set_pod(p);
    }
    let p = pod("p", json!({"containers": cpu("1"), "priority": 10}));
    let Decision::Unfit(e) = run(&p, &s) else { panic!() };
    let plan = preempt(&p, &s, &VolumeView::new(), &e.candidates, &[]).unwrap();
    assert_eq!((plan.node.as_str(), plan.victims[0].name.as_str()), ("a", "low"));
    assert!(preempt(&pod("q", json!({"containers": cpu("1")})), &s, &VolumeView::new(), &e.candidates, &[]).is_none());
}
