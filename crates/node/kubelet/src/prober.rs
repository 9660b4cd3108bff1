//! Runs the probes of one pod: a task for each probe of each running container.
use crate::agent::Agent;
use crate::check::{self, Outcome};
use crate::pods::Slot;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use parking_lot::Mutex;
use skiff_cri::{ContainerId, ContainerState};
use skiff_pod::probe::{Counter, ProbeKind, ProbeResults, Verdict};
use skiff_pod::{Observed, view};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

struct Task(AbortHandle);
impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub struct Prober {
    agent: Arc<Agent>,
    slot: Arc<Slot>,
    results: Arc<Mutex<ProbeResults>>,
    tasks: BTreeMap<(ContainerId, ProbeKind), Task>,
}

impl Prober {
    pub fn new(agent: Arc<Agent>, slot: Arc<Slot>) -> Self {
        Self { agent, slot, results: Arc::default(), tasks: BTreeMap::new() }
    }
    pub fn results(&self) -> ProbeResults {
        self.results.lock().clone()
    }
    /// Starts and ends tasks to match what runs. `old` is the status before a restart of the node agent: what was
    /// ready then stays ready until a probe says otherwise.
    pub fn reconcile(&mut self, pod: &Pod, observed: &Observed, old: &PodStatus, ip: Option<IpAddr>) {
        let running: Vec<_> = observed.running().map(|c| (c.id.clone(), c.metadata.name.clone(), c.started_at)).collect();
        let alive = |id: &ContainerId| running.iter().any(|(r, _, _)| r == id);
        self.tasks.retain(|(id, _), _| alive(id));
        self.results.lock().retain(|id| observed.containers().iter().any(|c| c.id == *id && c.state == ContainerState::Running));
        let all = view::containers(pod).iter().chain(view::init_containers(pod).iter().filter(|c| view::is_sidecar(c)));
        for c in all {
            let Some((id, _, started)) = running.iter().find(|(_, name, _)| *name == c.name) else { continue };
            for kind in ProbeKind::ALL {
                if kind.of(c).is_some() {
                    self.ensure(c, id, kind, *started, old, ip);
                }
            }
        }
    }
    /// Ends all but readiness probes: nothing may be killed by a probe while the pod ends.
    pub fn wind_down(&mut self) {
        self.tasks.retain(|(_, kind), _| *kind == ProbeKind::Readiness);
    }
    pub fn stop(&mut self) {
        self.tasks.clear();
    }

    fn ensure(&mut self, c: &Container, id: &ContainerId, kind: ProbeKind, started: i64, old: &PodStatus, ip: Option<IpAddr>) {
        let key = (id.clone(), kind);
        if self.tasks.contains_key(&key) {
            return;
        }
        {
            let mut results = self.results.lock();
            if results.get(id, kind).is_none() {
                results.set(id, kind, before(id, kind, old).unwrap_or(kind.initial()));
            }
            let waits = kind != ProbeKind::Startup && c.startup_probe.is_some() && results.get(id, ProbeKind::Startup) != Some(Verdict::Success);
            let done = kind == ProbeKind::Startup && results.get(id, kind) == Some(Verdict::Success);
            if waits || done {
                return;
            }
        }
        let task = Probing {
            agent: self.agent.clone(),
            slot: self.slot.clone(),
            results: self.results.clone(),
            container: c.clone(),
            id: id.clone(),
            kind,
            started,
            ip,
        };
        self.tasks.insert(key, Task(tokio::spawn(task.run()).abort_handle()));
    }
}

/// What the API's status says of this very container.
fn before(id: &ContainerId, kind: ProbeKind, old: &PodStatus) -> Option<Verdict> {
    let all = old.container_statuses.iter().chain(&old.init_container_statuses).flatten();
    let mut same = all.filter(|s| s.container_id.as_deref().is_some_and(|c| c.ends_with(&format!("://{id}"))));
    let s = same.next()?;
    match kind {
        ProbeKind::Startup => (s.started == Some(true)).then_some(Verdict::Success),
        ProbeKind::Readiness => s.ready.then_some(Verdict::Success),
        ProbeKind::Liveness => None,
    }
}

struct Probing {
    agent: Arc<Agent>,
    slot: Arc<Slot>,
    results: Arc<Mutex<ProbeResults>>,
    container: Container,
    id: ContainerId,
    kind: ProbeKind,
    /// Nanoseconds since 1970.
    started: i64,
    ip: Option<IpAddr>,
}

impl Probing {
    async fn run(self) {
        let Some(probe) = self.kind.of(&self.container).cloned() else { return };
        let seconds = |n: Option<i32>, default: u64| n.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(default);
        let mut counter = Counter::new(self.kind, &probe);
        let delay = Duration::from_secs(seconds(probe.initial_delay_seconds, 0));
        let age = Duration::from_micros(u64::try_from(self.agent.clock.now().0.saturating_sub(self.started / 1000)).unwrap_or(0));
        tokio::time::sleep(delay.saturating_sub(age)).await;
        let mut ticks = tokio::time::interval(Duration::from_secs(seconds(probe.period_seconds, 10)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !counter.on_hold() {
            ticks.tick().await;
            let success = match check::probe(&self.agent, &self.container, &self.id, self.ip, &probe).await {
                Outcome::Success => true,
                Outcome::Failure(text) => {
                    self.tell(format!("{} probe failed: {text}", self.kind.as_str()));
                    false
                }
                Outcome::Error(text) => {
                    self.tell(format!("{} probe errored and resulted in unknown state: {text}", self.kind.as_str()));
                    continue;
                }
            };
            if let Some(verdict) = counter.record(success)
                && self.results.lock().set(&self.id, self.kind, verdict)
            {
                self.slot.wake();
            }
        }
    }
    fn tell(&self, message: String) {
        if let Some(pod) = self.slot.pod() {
            self.agent.recorder.warning(&self.agent.about_container(&pod, &self.container.name), "Unhealthy", message);
        }
    }
}
