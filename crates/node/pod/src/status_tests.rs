use super::*;
use crate::testpod::{container, observed, pod, sandbox};
use skiff_cri::{ContainerState::*, SandboxState};

struct Case<'a> {
    pod: &'a Pod,
    observed: Observed,
    probes: ProbeResults,
    failures: BTreeMap<String, StartFailure>,
    old: PodStatus,
    terminal: bool,
    actuated: resize::Actuated,
    pending: Option<resize::Pending>,
    progress: Option<&'static str>,
}

impl<'a> Case<'a> {
    fn new(pod: &'a Pod, observed: Observed) -> Self {
        Self {
            pod,
            observed,
            probes: ProbeResults::default(),
            failures: BTreeMap::new(),
            old: PodStatus::default(),
            terminal: false,
            actuated: BTreeMap::new(),
            pending: None,
            progress: None,
        }
    }
    fn status(&self) -> PodStatus {
        pod_status(&StatusInputs {
            pod: self.pod,
            observed: &self.observed,
            probes: &self.probes,
            failures: &self.failures,
            messages: &BTreeMap::new(),
            image_digests: &BTreeMap::new(),
            old: &self.old,
            runtime_name: "skiff",
            node_ips: &["192.0.2.1".parse().unwrap()],
            actuated: &self.actuated,
            resize_pending: self.pending.as_ref(),
            resize_progress: self.progress,
            terminal: self.terminal,
            verdict: None,
            now: Timestamp::from_second(100).unwrap(),
        })
    }
}

fn condition(s: &PodStatus, kind: &str) -> String {
    let c = s.conditions.iter().flatten().find(|c| c.type_ == kind).unwrap();
    [Some(c.status.clone()), c.reason.clone(), c.message.clone()].into_iter().flatten().collect::<Vec<_>>().join("|")
}

#[test]
fn phases() {
    let two = r#"{"restartPolicy":"POLICY","containers":[{"name":"a"},{"name":"b"}]}"#;
    for (policy, states, terminal, want) in [
        ("Always", vec![], false, "Pending"),
        ("Always", vec![("a", Running, 0)], false, "Pending"),
        ("Always", vec![("a", Running, 0), ("b", Running, 0)], false, "Running"),
        ("Always", vec![("a", Exited, 0), ("b", Exited, 1)], false, "Running"),
        ("Always", vec![("a", Exited, 0), ("b", Exited, 0)], true, "Succeeded"),
        ("Always", vec![("a", Exited, 0), ("b", Exited, 137)], true, "Failed"),
        ("OnFailure", vec![("a", Exited, 0), ("b", Exited, 0)], false, "Succeeded"),
        ("OnFailure", vec![("a", Exited, 0), ("b", Exited, 1)], false, "Running"),
        ("Never", vec![("a", Exited, 0), ("b", Exited, 1)], false, "Failed"),
        ("Never", vec![("a", Running, 0), ("b", Exited, 1)], false, "Running"),
    ] {
        let p = pod(&two.replace("POLICY", policy));
        let mut case = Case::new(&p, observed(&states));
        case.terminal = terminal;
        assert_eq!(case.status().phase.as_deref(), Some(want), "{policy} {states:?} {terminal}");
    }
}

#[test]
fn a_new_pod_waits_and_says_why() {
    let p = pod(r#"{"initContainers":[{"name":"i"}],"containers":[{"name":"a"}]}"#);
    let s = Case::new(&p, Observed::default()).status();
    assert_eq!(s.phase.as_deref(), Some("Pending"));
    assert_eq!(condition(&s, "PodReadyToStartContainers"), "False|PodSandboxNotReady|no pod sandbox exists");
    assert_eq!(condition(&s, "Initialized"), "False|ContainersNotInitialized|containers with incomplete status: [i]");
    assert_eq!(condition(&s, "Ready"), "False|ContainersNotReady|containers with unready status: [a]");
    assert_eq!(condition(&s, "PodScheduled"), "True");
    let waiting = |l: &Option<Vec<ApiStatus>>| l.as_ref().unwrap()[0].state.as_ref().unwrap().waiting.as_ref().unwrap().reason.clone().unwrap();
    assert_eq!((waiting(&s.init_container_statuses), waiting(&s.container_statuses)), ("PodInitializing".into(), "PodInitializing".into()));
    assert_eq!(s.qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn running_and_ready() {
    let p = pod(r#"{"containers":[{"name":"a","readinessProbe":{}}],"readinessGates":[{"conditionType":"x/y"}]}"#);
    let mut case = Case::new(&p, observed(&[("a", Running, 0)]));
    assert_eq!(condition(&case.status(), "Ready"), "False|ContainersNotReady|containers with unready status: [a]");
    case.probes.set(&ContainerId::new("a-0"), ProbeKind::Readiness, Verdict::Success);
    let s = case.status();
    assert_eq!(condition(&s, "ContainersReady"), "True");
    assert_eq!(condition(&s, "Ready"), "False|ReadinessGatesNotReady|corresponding condition of pod readiness gate \"x/y\" does not exist.");
    assert_eq!((s.pod_ip.as_deref(), s.host_ip.as_deref()), (Some("10.42.0.5"), Some("192.0.2.1")));
    let c = &s.container_statuses.as_ref().unwrap()[0];
    assert_eq!((c.ready, c.started, c.container_id.as_deref()), (true, Some(true), Some("skiff://a-0")));
}

#[test]
fn a_crash_loop_keeps_the_last_end() {
    let p = pod(r#"{"restartPolicy":"Always","containers":[{"name":"a"}]}"#);
    let mut case = Case::new(&p, Observed::new(vec![sandbox(0, SandboxState::Ready)], vec![container("a", 1, Exited, 2), container("a", 0, Exited, 1)]));
    case.failures.insert("a".into(), StartFailure { reason: "CrashLoopBackOff".into(), message: "back-off 10s".into() });
    let s = case.status();
    let c = &s.container_statuses.as_ref().unwrap()[0];
    assert_eq!(c.state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref(), Some("CrashLoopBackOff"));
    assert_eq!(c.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 2);
    assert_eq!((c.restart_count, s.phase.as_deref()), (1, Some("Running")));
}

#[test]
fn a_container_that_vanished_counts_as_ended() {
    let p = pod(r#"{"restartPolicy":"Always","containers":[{"name":"a"}]}"#);
    let running = Case::new(&p, observed(&[("a", Running, 0)])).status();
    let mut case = Case::new(&p, observed(&[]));
    case.old = running;
    let s = case.status();
    let c = &s.container_statuses.as_ref().unwrap()[0];
    assert_eq!(c.last_state.as_ref().unwrap().terminated.as_ref().unwrap().reason.as_deref(), Some("ContainerStatusUnknown"));
    assert_eq!((s.phase.as_deref(), c.restart_count), (Some("Running"), 1));
}

#[test]
fn terminal_phases_stay_and_times_of_conditions_too() {
    let p = pod(r#"{"restartPolicy":"Never","containers":[{"name":"a"}]}"#);
    let mut case = Case::new(&p, observed(&[("a", Exited, 0)]));
    let done = case.status();
    assert_eq!(condition(&done, "Ready"), "False|PodCompleted");
    case.old = done.clone();
    case.observed = Observed::default();
    let later = case.status();
    assert_eq!(later.phase.as_deref(), Some("Succeeded"));
    let time = |s: &PodStatus| s.conditions.iter().flatten().find(|c| c.type_ == "Ready").unwrap().last_transition_time.clone();
    assert_eq!(time(&later), time(&done));
}
