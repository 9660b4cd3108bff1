use super::*;
use crate::facts::NodeFacts;
use crate::preempt::{Budget, preempt};
use crate::volumes::{Claim, ClaimState};
use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_json::{Value, json};

fn node(name: &str, extra: Value) -> NodeFacts {
    let mut v = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "zone": if name < "c" { "z1" } else { "z2" }}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}});
    for (k, x) in extra.as_object().into_iter().flatten() {
        v[k.as_str()] = x.clone();
    }
    NodeFacts::of(&skiff_json::from_value::<Node>(v).unwrap())
}
fn pod(name: &str, spec: Value) -> PodFacts {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c", "image": "i"}]);
    }
    let v = json!({"metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "x"}}, "spec": spec});
    PodFacts::of(&skiff_json::from_value::<Pod>(v).unwrap())
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
    schedule(p, &scene(s, &VolumeView::new()), 0)
}
fn scene<'a>(snapshot: &'a Snapshot, volumes: &'a VolumeView) -> Scene<'a> {
    static NONE: std::sync::LazyLock<Devices> = std::sync::LazyLock::new(Devices::default);
    Scene { snapshot, volumes, devices: &NONE, nominated: &[] }
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
    assert_eq!(unfit(run(&pod("p", json!({})), &s)), "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.");
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
    let near = pod(
        "p",
        json!({"containers": cpu("1"), "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}]}}}),
    );
    assert_eq!(run(&near, &s), Decision::Bind("a".into()));
    let alone = pod(
        "p",
        json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}]}}}),
    );
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
    let p = pod(
        "p",
        json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "x"}}}]}),
    );
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
    let view = VolumeView::from([("default/data".to_owned(), Claim { state: ClaimState::Bound { terms: None, zones: Vec::new() }, exclusive: false })]);
    assert_eq!(schedule(&claimer, &scene(&s, &view), 0), Decision::Bind("a".into()));
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
    let none = VolumeView::new();
    let plan = preempt(&p, &scene(&s, &none), &e, &[]).unwrap();
    assert_eq!((plan.node.as_str(), plan.victims[0].name.as_str()), ("a", "low"));
    let why = |p: &PodFacts| preempt(p, &scene(&s, &none), &e, &[]).unwrap_err().to_string();
    assert_eq!(why(&pod("q", json!({"containers": cpu("1")}))), "0/2 nodes are available: 2 No preemption victims found for incoming pod.");
    assert_eq!(why(&pod("q", json!({"preemptionPolicy": "Never"}))), "not eligible due to preemptionPolicy=Never.");
}

#[test]
fn budgets_are_spared() {
    let mut s = cluster(&["a", "b"]);
    for on in ["a", "b"] {
        let mut p = pod(&format!("p-{on}"), json!({"containers": cpu("2"), "priority": 1}));
        p.node = on.into();
        p.labels = [("on".to_owned(), on.to_owned())].into();
        s.set_pod(p);
    }
    let p = pod("p", json!({"containers": cpu("1"), "priority": 10}));
    let Decision::Unfit(e) = run(&p, &s) else { panic!() };
    let budget = Budget { namespace: "default".into(), selector: skiff_meta::LabelSelector::parse("on=a").unwrap(), allowed: 0, disrupted: vec![] };
    assert_eq!(preempt(&p, &scene(&s, &VolumeView::new()), &e, &[budget]).unwrap().node, "b");
}

#[test]
fn a_promised_node_counts_as_taken() {
    let s = cluster(&["a"]);
    let mut promised = pod("promised", json!({"containers": cpu("2"), "priority": 10}));
    promised.nominated = "a".into();
    let p = pod("p", json!({"containers": cpu("1")}));
    let with = |nominated: &[PodFacts]| schedule(&p, &Scene { nominated, ..scene(&s, &VolumeView::new()) }, 0);
    assert_eq!(unfit(with(std::slice::from_ref(&promised))), "0/1 nodes are available: 1 Insufficient cpu.");
    promised.priority = -1;
    assert_eq!(with(&[promised]), Decision::Bind("a".into()));
}

#[test]
fn all_terms_of_an_affinity_hold_for_one_pod() {
    let mut s = cluster(&["a"]);
    for (name, labels) in [("x", [("k".to_owned(), "1".to_owned())]), ("y", [("l".to_owned(), "1".to_owned())])] {
        let mut p = pod(name, json!({}));
        p.node = "a".into();
        p.labels = labels.into();
        s.set_pod(p);
    }
    let term = |k: &str| json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {k: "1"}}});
    let both = pod("p", json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("k"), term("l")]}}}));
    assert_eq!(unfit(run(&both, &s)), "0/1 nodes are available: 1 node(s) didn't match pod affinity rules.");
}

#[test]
fn volumes_that_wait_for_their_pod() {
    let s = cluster(&["a", "c"]);
    let p = pod("p", json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}));
    let on =
        |node: &str| skiff_json::from_value(json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}])).unwrap();
    let view = |provisions, volumes| {
        VolumeView::from([("default/data".to_owned(), Claim { state: ClaimState::WaitsForPod { provisions, topologies: vec![], volumes }, exclusive: false })])
    };
    let local = view(false, vec![crate::volumes::Candidate { volume: "pv".into(), terms: Some(on("c")) }]);
    assert_eq!(schedule(&p, &scene(&s, &local), 0), Decision::Bind("c".into()));
    let node_c = s.node("c").unwrap().facts.clone();
    assert_eq!(crate::choose(&p, &node_c, &local).unwrap(), [("data".to_owned(), Some("pv".to_owned()))]);
    assert_eq!(
        unfit(schedule(&p, &scene(&s, &view(false, vec![])), 0)),
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
    );
    assert_eq!(crate::choose(&p, &node_c, &view(true, vec![])).unwrap(), [("data".to_owned(), None)]);
}

#[test]
fn a_pod_for_one_node_hears_of_the_others_at_once() {
    let mut s = cluster(&["a", "b", "c"]);
    s.set_node(node("b", json!({"spec": {"unschedulable": true}})));
    let pinned = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}}}});
    assert_eq!(unfit(run(&pod("p", pinned), &s)), "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].");
}

#[test]
fn replicas_keep_apart_by_default() {
    let mut s = cluster(&["a", "c"]);
    let mut there = pod("there", json!({}));
    there.node = "a".into();
    s.set_pod(there);
    let mut heavy = pod("heavy", json!({"containers": cpu("1")}));
    heavy.node = "c".into();
    heavy.labels.clear();
    s.set_pod(heavy);
    assert_eq!(run(&pod("p", json!({})), &s), Decision::Bind("a".into()));
    let of_a_service = crate::with_defaults(pod("p", json!({})), &[skiff_meta::LabelSelector::parse("app=x").unwrap()]);
    assert_eq!(run(&of_a_service, &s), Decision::Bind("c".into()));
}

#[test]
fn what_could_help() {
    let s = cluster(&["a"]);
    let wakes = |spec| match run(&pod("p", spec), &s) {
        Decision::Unfit(e) => e.wakes,
        other => panic!("{other:?}"),
    };
    let short = wakes(json!({"containers": cpu("9")}));
    assert!(short.meets(Wakes::POD_GONE) && short.meets(Wakes::NODE) && !short.meets(Wakes::POD_PLACED) && !short.meets(Wakes::STORAGE));
    assert!(!wakes(json!({"nodeSelector": {"x": "y"}})).meets(Wakes::POD_GONE));
}
