//! One task a pod: looks, decides, acts, reports, sleeps until woken.
//!
//! ```text
//!   Syncing ──deleted, gone, evicted, finished, past its deadline──▶ Terminating ──nothing runs──▶ Terminated ──▶ (end)
//! ```
//! Terminated waits for the object to go: a deleted one is taken out of the API here, a finished one stays until
//! somebody deletes it.

mod kill;
mod resize;
mod start;
mod terminated;
mod turned_away;

use crate::agent::Agent;
use crate::message;
use crate::pods::{Slot, Verdict};
use crate::prober::Prober;
use crate::status::StatusWriter;
use k8s_openapi::api::core::v1::{ContainerStateWaiting, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use skiff_cri::{ContainerFilter, ContainerId, ContainerState, SandboxFilter};
use skiff_pod::resize::Allotment;
use skiff_pod::{Backoff, Observed, StartFailure, StatusInputs, admit, names, view};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Syncing,
    Terminating,
    Terminated,
}

/// What the loop does after a step.
enum Next {
    /// Sleep until woken, at the longest this long.
    Wait(Option<Duration>),
    /// Look again at once.
    Again,
    /// The pod is no more.
    End,
}

pub struct Worker {
    agent: Arc<Agent>,
    slot: Arc<Slot>,
    stage: Stage,
    status: StatusWriter,
    prober: Prober,
    backoff: Backoff,
    failures: BTreeMap<String, StartFailure>,
    /// When something that failed may be tried again.
    retries: Vec<Timestamp>,
    messages: BTreeMap<ContainerId, String>,
    digests: BTreeMap<String, String>,
    old: PodStatus,
    admitted: bool,
    errors: u32,
    mirror: Option<String>,
    volume_error: Option<String>,
    resizing: resize::Resizing,
}

/// What an earlier node agent could not pull: shown until the first try of this one is over. The try itself is made at once, as
/// somebody may just have mended what was wrong.
fn image_failures(status: &PodStatus) -> BTreeMap<String, StartFailure> {
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let waiting = all.filter_map(|c| Some((c.name.clone(), c.state.as_ref()?.waiting.as_ref()?)));
    let of_image = waiting.filter(|(_, w)| matches!(w.reason.as_deref(), Some("ErrImagePull" | "ImagePullBackOff")));
    let failure = |w: &ContainerStateWaiting| StartFailure { reason: w.reason.clone().unwrap_or_default(), message: w.message.clone().unwrap_or_default() };
    of_image.map(|(name, w)| (name, failure(w))).collect()
}

pub fn spawn(agent: Arc<Agent>, slot: Arc<Slot>) {
    tokio::spawn(async move {
        let shutdown = agent.shutdown.clone();
        let worker = Worker::new(agent, slot);
        shutdown.run_until_cancelled(worker.run()).await;
    });
}

impl Worker {
    fn new(agent: Arc<Agent>, slot: Arc<Slot>) -> Self {
        let pod = slot.pod().unwrap_or_default();
        Self {
            status: StatusWriter::spawn(agent.clone(), slot.clone()),
            prober: Prober::new(agent.clone(), slot.clone()),
            backoff: Backoff::new(
                SignedDuration::from_secs(10),
                SignedDuration::try_from(agent.config.max_restart_backoff).unwrap_or(SignedDuration::from_secs(300)),
            ),
            stage: Stage::Syncing,
            failures: pod.status.as_ref().map(image_failures).unwrap_or_default(),
            retries: Vec::new(),
            messages: BTreeMap::new(),
            digests: BTreeMap::new(),
            old: pod.status.unwrap_or_default(),
            admitted: false,
            errors: 0,
            mirror: None,
            volume_error: None,
            resizing: resize::Resizing::default(),
            agent,
            slot,
        }
    }

    async fn run(mut self) {
        loop {
            self.see_node().await;
            match self.step().await {
                Next::End => break,
                Next::Again => {}
                Next::Wait(None) => self.slot.woken().await,
                Next::Wait(Some(d)) => {
                    let _ = tokio::time::timeout(d, self.slot.woken()).await;
                }
            }
        }
        self.agent.references.set(&self.slot, []);
        self.agent.pods.remove(&self.slot.uid);
    }

    async fn step(&mut self) -> Next {
        let Some(wish) = self.slot.pod() else { return Next::Wait(None) };
        let pod = self.allotted(&wish);
        let mirror = self.slot.mirror_uid.lock().clone();
        if self.slot.is_static && mirror != self.mirror && mirror.is_some() {
            self.status.resend();
        }
        self.mirror = mirror;
        let observed = match self.observe().await {
            Ok(o) => o,
            Err(e) => {
                tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, error = %e.full_message(), "runtime not readable");
                return self.retry_later();
            }
        };
        match self.stage {
            Stage::Syncing => self.sync(&wish, &pod, observed).await,
            Stage::Terminating => self.terminate(&pod, observed).await,
            Stage::Terminated => self.finish(&pod).await,
        }
    }

    /// What the runtime has of this pod, with the messages of what ended.
    async fn observe(&mut self) -> skiff_cri::Result<Observed> {
        let labels = BTreeMap::from([(names::POD_UID.to_owned(), self.slot.uid.clone())]);
        let sandboxes = self.agent.runtime.list_sandboxes(&SandboxFilter { labels: labels.clone(), ..SandboxFilter::default() }).await?;
        let containers = self.agent.runtime.list_containers(&ContainerFilter { labels, ..ContainerFilter::default() }).await?;
        *self.slot.sandboxes.lock() = sandboxes.iter().map(|s| s.id.clone()).collect();
        self.messages.retain(|id, _| containers.iter().any(|c| c.id == *id));
        for c in containers.iter().filter(|c| c.state == ContainerState::Exited) {
            if !self.messages.contains_key(&c.id) {
                self.messages.insert(c.id.clone(), message::of(c).await);
            }
        }
        for c in &containers {
            if !self.digests.contains_key(c.image.as_str())
                && let Ok(Some(image)) = self.agent.images.status(c.image.as_str()).await
                && let Some(digest) = image.digests.first()
            {
                self.digests.insert(c.image.to_string(), digest.clone());
            }
        }
        Ok(Observed::new(sandboxes, containers))
    }

    /// Works out the status, keeps it and hands it to the writer.
    fn report(&mut self, pod: &Pod, observed: &Observed) -> PodStatus {
        let verdict = self.slot.verdict.lock().clone();
        if verdict.as_ref().is_some_and(|v| v.reason == "Evicted") {
            self.mark_disrupted(verdict.as_ref().map(|v| v.message.clone()));
        }
        let probes = self.prober.results();
        let status = skiff_pod::pod_status(&StatusInputs {
            pod,
            observed,
            probes: &probes,
            failures: &self.failures,
            messages: &self.messages,
            image_digests: &self.digests,
            old: &self.old,
            runtime_name: &self.agent.runtime_name,
            node_ips: &self.agent.config.node_ips,
            actuated: &self.resizing.record.actuated,
            resize_pending: self.resizing.pending.as_ref(),
            resize_progress: self.resizing.progress.as_deref(),
            terminal: self.stage == Stage::Terminated,
            verdict: verdict.as_ref().map(|v| (v.phase, v.reason.as_str(), v.message.as_str())),
            now: self.agent.now(),
        });
        let status = self.unless_turned_away(pod, status);
        match skiff_json::to_vec(&status) {
            Ok(bytes) => *self.slot.status.write() = bytes.into(),
            Err(e) => tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, error = %e, "status not encoded"),
        }
        self.status.set(status.clone());
        self.old = status.clone();
        status
    }

    /// The condition that tells a pod's controller why it was ended.
    fn mark_disrupted(&mut self, message: Option<String>) {
        let conditions = self.old.conditions.get_or_insert_default();
        if conditions.iter().any(|c| c.type_ == "DisruptionTarget") {
            return;
        }
        conditions.push(PodCondition {
            type_: "DisruptionTarget".into(),
            status: "True".into(),
            reason: Some("TerminationByKubelet".into()),
            message,
            last_transition_time: Timestamp::from_second(self.agent.now().as_second()).ok().map(Time),
            ..PodCondition::default()
        });
    }

    fn retry_later(&mut self) -> Next {
        self.errors = self.errors.saturating_add(1);
        Next::Wait(Some(Duration::from_millis(250 << self.errors.min(6))))
    }

    /// Whether the pod has to end now; a verdict is left behind where a phase comes with it.
    fn must_end(&self, pod: &Pod) -> bool {
        if view::deleted(pod) || self.slot.is_gone() || self.slot.verdict.lock().is_some() || view::finished(pod) {
            return true;
        }
        if self.deadline(pod).is_some_and(|d| d <= self.agent.now()) {
            let message = "Pod was active on the node longer than the specified deadline";
            *self.slot.verdict.lock() = Some(Verdict { phase: "Failed", reason: "DeadlineExceeded".into(), message: message.into() });
            self.agent.recorder.normal(&self.agent.about(pod), "DeadlineExceeded", message);
            return true;
        }
        false
    }

    fn deadline(&self, pod: &Pod) -> Option<Timestamp> {
        let seconds = view::spec(pod).active_deadline_seconds?;
        let start = self.old.start_time.as_ref()?.0;
        start.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    /// `wish` is the pod as the API has it, `pod` the one with what it was given.
    async fn sync(&mut self, wish: &Pod, pod: &Pod, observed: Observed) -> Next {
        if self.must_end(pod) {
            return self.begin_ending(pod);
        }
        if !self.admit(pod, &observed).await {
            return Next::Again;
        }
        let pod = &self.allot(wish).await;
        let resize = self.resize_steps(pod, &observed).await;
        let ip = pod_ip(&observed, &self.agent.config.node_ips, pod);
        self.prober.reconcile(pod, &observed, &self.old, ip);
        let status = self.report(pod, &observed);
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return self.begin_ending(pod);
        }
        self.agent.references.set(&self.slot, self.wanted_references(pod));
        self.retries.clear();
        let plan = skiff_pod::plan(pod, &observed, &self.prober.results(), &resize);
        let acted = !plan.is_empty() || self.resizing.progress.is_some();
        let done = self.carry_out(pod, &observed, plan, &resize).await;
        if self.slot.ending.is_cancelled() {
            return Next::Again;
        }
        match done {
            Err(why) => {
                tracing::debug!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, error = why, "sync not finished");
                self.errors = self.errors.saturating_add(1);
                self.retries.push(self.agent.now() + SignedDuration::from_millis(500 << self.errors.min(5)));
            }
            Ok(()) => self.errors = 0,
        }
        if acted && let Ok(observed) = self.observe().await {
            let ip = pod_ip(&observed, &self.agent.config.node_ips, pod);
            self.prober.reconcile(pod, &observed, &self.old, ip);
            self.report(pod, &observed);
        }
        self.wait(pod)
    }

    fn wait(&self, pod: &Pod) -> Next {
        let now = self.agent.now();
        let earliest = self.retries.iter().copied().chain(self.deadline(pod)).min();
        Next::Wait(earliest.map(|t| Duration::try_from(t.duration_since(now)).unwrap_or_default() + Duration::from_millis(5)))
    }

    fn begin_ending(&mut self, pod: &Pod) -> Next {
        tracing::info!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, deleted = view::deleted(pod), gone = self.slot.is_gone(), "pod ends");
        self.stage = Stage::Terminating;
        self.slot.ending.cancel();
        Next::Again
    }

    /// The node's own check, once, before anything of the pod runs here.
    async fn admit(&mut self, pod: &Pod, observed: &Observed) -> bool {
        if self.admitted {
            return true;
        }
        let rejection = {
            let _one_at_a_time = self.agent.pods.allotting.lock();
            let others = self.agent.pods.claims(&self.slot.uid);
            let rejection = observed.sandboxes().is_empty().then(|| admit::reject_reason(pod, &others, &self.agent.room.lock())).flatten();
            if rejection.is_none() {
                self.slot.allotment.lock().get_or_insert_with(|| Allotment::of(pod));
            }
            rejection
        };
        let Some(r) = rejection else {
            self.admitted = true;
            self.recall(pod).await;
            return true;
        };
        self.agent.recorder.warning(&self.agent.about(pod), known_reason(&r.reason), r.message.clone());
        self.slot.evict(Verdict { phase: "Failed", message: format!("Pod was rejected: {}", r.message), reason: r.reason });
        false
    }

    fn wanted_references(&self, pod: &Pod) -> Vec<(skiff_pod::env::RefKind, String)> {
        let mut all = self.agent.volumes.references(pod);
        for c in view::containers(pod).iter().chain(view::init_containers(pod)) {
            all.extend(skiff_pod::env::references(c));
        }
        all
    }

    fn mark_terminated(&mut self) {
        self.stage = Stage::Terminated;
        self.slot.terminated.store(true, Ordering::Release);
        self.agent.pods.room_left();
        self.prober.stop();
    }
}

/// Event reasons are constants; a rejection's is one of these.
fn known_reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 9] =
        ["OutOfcpu", "OutOfmemory", "OutOfephemeral-storage", "OutOfpods", "NodeAffinity", "NodeName", "NodePorts", "TaintToleration", "PodOSNotSupported"];
    KNOWN.iter().find(|k| **k == reason).copied().unwrap_or("UnexpectedAdmissionError")
}

fn pod_ips(observed: &Observed, node_ips: &[IpAddr], pod: &Pod) -> Vec<IpAddr> {
    if view::host_network(pod) {
        return node_ips.to_vec();
    }
    observed.ready_sandbox().map(|s| s.ips.0.clone()).unwrap_or_default()
}
fn pod_ip(observed: &Observed, node_ips: &[IpAddr], pod: &Pod) -> Option<IpAddr> {
    pod_ips(observed, node_ips, pod).first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_keeps_what_could_not_be_pulled() {
        let state = |reason: &str| skiff_json::json!({"waiting": {"reason": reason, "message": "Back-off pulling image"}});
        let status = |name: &str, state| skiff_json::json!({"name": name, "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        let status: PodStatus = skiff_json::from_value(skiff_json::json!({"containerStatuses": [
            status("a", state("ImagePullBackOff")), status("b", state("CrashLoopBackOff")), status("c", skiff_json::json!({"running": {}})),
        ]}))
        .expect("a status");
        let kept = image_failures(&status);
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(kept["a"].message, "Back-off pulling image");
    }
}
