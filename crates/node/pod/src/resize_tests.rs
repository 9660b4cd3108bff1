use super::*;
use crate::testpod::{container, pod, sandbox};
use skiff_cri::SandboxState;

fn one(requests: &str, limits: &str, policy: &str) -> Pod {
    pod(&format!(r#"{{"containers":[{{"name":"a","resources":{{"requests":{requests},"limits":{limits}}},"resizePolicy":{policy}}}]}}"#))
}
fn room() -> NodeRoom {
    NodeRoom { cpu: 2000, memory: 1 << 30, pods: 10, ..NodeRoom::default() }
}

#[test]
fn amounts_count_and_not_how_they_are_written() {
    let allotted = Allotment::of(&one(r#"{"cpu":"1"}"#, "{}", "[]"));
    let mut p = one(r#"{"cpu":"1000m"}"#, "{}", "[]");
    assert!(!allotted.apply(&mut p));
    let mut p = one(r#"{"cpu":"500m"}"#, "{}", "[]");
    assert!(allotted.apply(&mut p));
    assert_eq!(cgroup::pod_request(&p, "cpu").milli_value(), 1000);
}

#[test]
fn verdicts() {
    let allotted = Allotment::of(&one(r#"{"cpu":"500m"}"#, "{}", "[]"));
    let other = one(r#"{"cpu":"1200m"}"#, "{}", "[]");
    for (cpu, want) in [("500m", "settled"), ("800m", "accept"), ("900m", "Deferred"), ("3", "Infeasible"), ("100m", "accept")] {
        let p = one(&format!(r#"{{"cpu":"{cpu}"}}"#), "{}", "[]");
        let got = match judge(&p, &allotted, &[&other], &room()) {
            Verdict::Settled => "settled",
            Verdict::Accept => "accept",
            Verdict::Pending(p) => p.reason,
        };
        assert_eq!(got, want, "{cpu}");
    }
    let mut p = one(r#"{"cpu":"600m"}"#, "{}", "[]");
    p.metadata.annotations = Some(BTreeMap::from([(crate::names::CONFIG_SOURCE.to_owned(), "file".to_owned())]));
    assert!(matches!(judge(&p, &allotted, &[], &room()), Verdict::Pending(Pending { reason: "Infeasible", .. })));
}

#[test]
fn a_step_for_each_running_container_that_has_something_else() {
    let had = Allotment::of(&one(r#"{"cpu":"500m","memory":"10Mi"}"#, r#"{"memory":"20Mi"}"#, "[]"));
    let running = |name: &str| container(name, 0, ContainerState::Running, 0);
    let o = Observed::new(vec![sandbox(0, SandboxState::Ready)], vec![running("a")]);
    let actuated = |id: &str| Actuated::from([("a".to_owned(), (ContainerId::new(id), had.container("a").unwrap().clone()))]);
    let wants_memory = r#"[{"resourceName":"memory","restartPolicy":"RestartContainer"},{"resourceName":"cpu","restartPolicy":"NotRequired"}]"#;
    let cpu_only = one(r#"{"cpu":"1","memory":"10Mi"}"#, r#"{"memory":"20Mi"}"#, wants_memory);
    let step = steps(&cpu_only, &o, &actuated("a-0"), 1 << 30).pop().unwrap();
    assert_eq!((step.restart, step.resources.cpu_shares, step.resources.cpu_quota, step.resources.memory_limit), (false, 1024, -1, 20 << 20));
    let memory = one(r#"{"cpu":"500m","memory":"15Mi"}"#, r#"{"memory":"20Mi"}"#, wants_memory);
    assert!(steps(&memory, &o, &actuated("a-0"), 1 << 30).pop().unwrap().restart);
    assert!(steps(&memory, &o, &actuated("a-9"), 1 << 30).is_empty(), "another container began with the new values");
}

#[test]
fn a_group_holds_both_before_and_after() {
    let r = |quota, memory| Resources { cpu_quota: quota, memory_limit: memory, ..Resources::default() };
    let got = both(&r(50_000, 10), &r(20_000, 20));
    assert_eq!((got.cpu_quota, got.memory_limit), (50_000, 20));
    assert_eq!(both(&r(0, 10), &r(20_000, 20)).cpu_quota, -1);
}

#[test]
fn events_tell_what_is_asked_for() {
    let mut p = one(r#"{"cpu":"100m"}"#, r#"{"cpu":"200m"}"#, "[]");
    p.metadata.generation = Some(2);
    let text =
        r#"Pod resize Deferred: {"containers":[{"name":"a","resources":{"limits":{"cpu":"200m"},"requests":{"cpu":"100m"}}}],"generation":2,"error":"no"}"#;
    assert_eq!(event_text("Pod resize Deferred", &p, "no"), text);
    assert!(below_usage(Some("a"), 10, 20).is_some() && below_usage(None, 0, 20).is_none() && below_usage(None, 30, 20).is_none());
}
