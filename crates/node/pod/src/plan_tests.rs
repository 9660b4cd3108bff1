use super::*;
use crate::testpod::{container, observed, pod, sandbox};
use ContainerState::*;

/// A plan in one line: `kill-pod sandbox#1 init[0] start[1] eph[] kill(a)`.
fn line(p: &Plan) -> String {
    let mut out = Vec::new();
    if p.kill_pod {
        out.push("kill-pod".to_owned());
    }
    if p.create_sandbox {
        out.push(format!("sandbox#{}", p.attempt));
    }
    for (word, list) in [("init", &p.start_init), ("start", &p.start), ("eph", &p.start_ephemeral)] {
        if !list.is_empty() {
            out.push(format!("{word}{list:?}"));
        }
    }
    out.extend(p.kill.iter().map(|k| format!("kill({})", k.name)));
    out.join(" ")
}

const TWO: &str = r#"{"restartPolicy":"POLICY","containers":[{"name":"a"},{"name":"b"}]}"#;
const INIT: &str =
    r#"{"restartPolicy":"POLICY","initContainers":[{"name":"i"},{"name":"s","restartPolicy":"Always"},{"name":"j"}],"containers":[{"name":"a"}]}"#;

#[test]
fn restart_policies() {
    for (policy, states, want) in [
        ("Always", vec![("a", Running, 0), ("b", Running, 0)], ""),
        ("Always", vec![("a", Running, 0), ("b", Exited, 0)], "start[1]"),
        ("OnFailure", vec![("a", Exited, 0), ("b", Exited, 1)], "start[1]"),
        ("OnFailure", vec![("a", Exited, 0), ("b", Exited, 0)], "kill-pod"),
        ("Never", vec![("a", Exited, 1), ("b", Running, 0)], ""),
        ("Never", vec![("a", Exited, 1), ("b", Exited, 0)], "kill-pod"),
        ("Never", vec![("a", Running, 0)], "start[1]"),
        ("Always", vec![("a", Running, 0), ("b", Unknown, 0)], "start[1] kill(b)"),
        ("Always", vec![("a", Running, 0), ("b", Created, 0)], "start[1]"),
    ] {
        let p = pod(&TWO.replace("POLICY", policy));
        assert_eq!(line(&plan(&p, &observed(&states), &ProbeResults::default(), &[])), want, "{policy} {states:?}");
    }
}

#[test]
fn init_containers_one_by_one_and_sidecars_beside_them() {
    for (policy, states, want) in [
        ("Always", vec![], "init[0]"),
        ("Always", vec![("i", Running, 0)], ""),
        ("Always", vec![("i", Exited, 1)], "init[0]"),
        ("Never", vec![("i", Exited, 1)], "kill-pod"),
        ("Always", vec![("i", Exited, 0)], "init[1]"),
        ("Always", vec![("i", Exited, 0), ("s", Running, 0)], "init[2]"),
        ("Always", vec![("i", Exited, 0), ("s", Exited, 1), ("j", Running, 0)], "init[1]"),
        ("Always", vec![("i", Exited, 0), ("s", Running, 0), ("j", Exited, 0)], "start[0]"),
        ("Always", vec![("s", Running, 0), ("a", Running, 0)], ""),
        ("Always", vec![("s", Exited, 0), ("a", Running, 0)], "init[1]"),
        ("Never", vec![("i", Exited, 0), ("s", Running, 0), ("j", Exited, 0), ("a", Exited, 0)], "kill-pod"),
    ] {
        let p = pod(&INIT.replace("POLICY", policy));
        assert_eq!(line(&plan(&p, &observed(&states), &ProbeResults::default(), &[])), want, "{policy} {states:?}");
    }
}

#[test]
fn sandboxes() {
    let p = pod(&TWO.replace("POLICY", "Always"));
    let never = pod(&TWO.replace("POLICY", "Never"));
    let none = ProbeResults::default();
    assert_eq!(line(&plan(&p, &Observed::default(), &none, &[])), "kill-pod sandbox#0 start[0, 1]");
    let lost = || Observed::new(vec![sandbox(0, SandboxState::NotReady)], vec![container("a", 0, Exited, 137), container("b", 0, Exited, 137)]);
    assert_eq!(line(&plan(&p, &lost(), &none, &[])), "kill-pod sandbox#1 start[0, 1]");
    assert_eq!(line(&plan(&never, &lost(), &none, &[])), "kill-pod");
    let failed_before_any = Observed::new(vec![sandbox(0, SandboxState::NotReady)], vec![]);
    assert_eq!(line(&plan(&never, &failed_before_any, &none, &[])), "kill-pod sandbox#1 start[0, 1]");
    let two = Observed::new(vec![sandbox(0, SandboxState::Ready), sandbox(1, SandboxState::Ready)], vec![]);
    assert_eq!(line(&plan(&p, &two, &none, &[])), "kill-pod sandbox#2 start[0, 1]");
}

#[test]
fn probes_and_definitions() {
    let p = pod(r#"{"restartPolicy":"Always","containers":[{"name":"a","image":"x","livenessProbe":{}}]}"#);
    let o = observed(&[("a", Running, 0)]);
    let mut probes = ProbeResults::default();
    probes.set(&ContainerId::new("a-0"), ProbeKind::Liveness, Verdict::Failure);
    let got = plan(&p, &o, &probes, &[]);
    assert_eq!(line(&got), "start[0] kill(a)");
    assert_eq!(got.kill[0].message, "Container a failed liveness probe, will be restarted");
    let mut c = container("a", 0, Running, 0);
    c.annotations.insert(crate::names::CONTAINER_HASH.into(), "other".into());
    let got = plan(&p, &Observed::new(vec![sandbox(0, SandboxState::Ready)], vec![c]), &ProbeResults::default(), &[]);
    assert_eq!(got.kill[0].message, "Container a definition changed, will be restarted");
}

#[test]
fn a_sidecar_waits_for_its_startup_probe() {
    let p = pod(r#"{"restartPolicy":"Always","initContainers":[{"name":"s","restartPolicy":"Always","startupProbe":{}}],"containers":[{"name":"a"}]}"#);
    let o = observed(&[("s", Running, 0)]);
    let mut probes = ProbeResults::default();
    assert_eq!(line(&plan(&p, &o, &probes, &[])), "");
    probes.set(&ContainerId::new("s-0"), ProbeKind::Startup, Verdict::Success);
    assert_eq!(line(&plan(&p, &o, &probes, &[])), "start[0]");
    probes.set(&ContainerId::new("s-0"), ProbeKind::Startup, Verdict::Failure);
    assert_eq!(line(&plan(&p, &o, &probes, &[])), "init[0] kill(s)");
}

#[test]
fn ephemeral_containers_start_once() {
    let p = pod(r#"{"restartPolicy":"Always","containers":[{"name":"a"}],"ephemeralContainers":[{"name":"d"}]}"#);
    assert_eq!(line(&plan(&p, &observed(&[("a", Running, 0)]), &ProbeResults::default(), &[])), "eph[0]");
    assert_eq!(line(&plan(&p, &observed(&[("a", Running, 0), ("d", Exited, 1)]), &ProbeResults::default(), &[])), "");
}

#[test]
fn a_resize_that_wants_it_restarts_the_container() {
    let p = pod(r#"{"restartPolicy":"Always","initContainers":[{"name":"s","restartPolicy":"Always"}],"containers":[{"name":"a"},{"name":"b"}]}"#);
    let o = observed(&[("s", Running, 0), ("a", Running, 0), ("b", Running, 0)]);
    let step = |name: &str, restart| resize::Step { container: name.into(), id: ContainerId::new(format!("{name}-0")), restart, resources: Default::default() };
    let got = plan(&p, &o, &ProbeResults::default(), &[step("s", true), step("a", true), step("b", false)]);
    assert_eq!(line(&got), "init[0] start[0] kill(s) kill(a)");
    assert!(got.kill.iter().all(|k| k.reason == KillReason::Resize && k.message.ends_with("resize requires restart")));
}
