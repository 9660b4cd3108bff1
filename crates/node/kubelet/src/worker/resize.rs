//! A pod's resources while it runs: what it was given, and bringing its groups to that.
//!
//! The record is a file of the pod's folder, `resources.json`: it outlives the node agent, so that a wish that was
//! refused is not taken for granted after a restart.
use super::Worker;
use crate::pods::Slot;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};
use skiff_cri::{ContainerId, ContainerState, Resources};
use skiff_pod::resize::{self, Actuated, Allotment, Pending, Step, Verdict};
use skiff_pod::{Observed, cgroup, view};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Resizing {
    pub record: Record,
    pub pending: Option<Pending>,
    /// A resize is under way; what went wrong at the last try.
    pub progress: Option<String>,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    allotted: Allotment,
    pub actuated: Actuated,
}

impl Worker {
    /// The pod with what it was given instead of what it asks for.
    pub(super) fn allotted(&self, wish: &Pod) -> Pod {
        let mut pod = wish.clone();
        if let Some(a) = self.slot.allotment.lock().as_ref() {
            a.apply(&mut pod);
        }
        pod
    }

    fn record_file(&self) -> PathBuf {
        self.agent.config.pod_dir(&self.slot.uid).join("resources.json")
    }

    /// Once, after the admission: what an earlier node agent had given.
    pub(super) async fn recall(&mut self, pod: &Pod) {
        let bytes = tokio::fs::read(self.record_file()).await.unwrap_or_default();
        if let Ok(record) = skiff_json::from_slice::<Record>(&bytes) {
            *self.slot.allotment.lock() = Some(record.allotted.clone());
            self.resizing.record = record;
        } else {
            self.resizing.record.allotted = Allotment::of(pod);
        }
    }

    async fn keep_record(&self) {
        let file = self.record_file();
        let text = skiff_json::to_vec(&self.resizing.record).unwrap_or_default();
        let write = async {
            let fresh = file.with_extension("new");
            tokio::fs::create_dir_all(file.parent().unwrap_or(&file)).await?;
            tokio::fs::write(&fresh, text).await?;
            tokio::fs::rename(&fresh, &file).await
        };
        if let Err(e) = write.await {
            tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, error = %e, "resources of the pod not recorded");
        }
    }

    /// Gives the pod what it asks for, if the others leave room for it; the pod with what it has then.
    pub(super) async fn allot(&mut self, wish: &Pod) -> Pod {
        let verdict = self.judge(wish);
        let before = self.resizing.pending.take();
        self.slot.deferred.store(false, Ordering::Release);
        let about = self.agent.about(wish);
        match verdict {
            Verdict::Settled => {}
            Verdict::Accept => {
                self.resizing.record.allotted = Allotment::of(wish);
                self.resizing.progress = Some(String::new());
                self.keep_record().await;
                self.agent.recorder.normal(&about, "ResizeStarted", resize::event_text("Pod resize started", wish, ""));
                self.agent.pods.room_left();
            }
            Verdict::Pending(p) => {
                self.slot.deferred.store(p.reason == "Deferred", Ordering::Release);
                if before.as_ref() != Some(&p) {
                    let event = if p.reason == "Deferred" { "ResizeDeferred" } else { "ResizeInfeasible" };
                    self.agent.recorder.warning(&about, event, resize::event_text(&format!("Pod resize {}", p.reason), wish, &p.message));
                }
                self.resizing.pending = Some(p);
            }
        }
        self.allotted(wish)
    }

    fn judge(&self, wish: &Pod) -> Verdict {
        let _one_at_a_time = self.agent.pods.allotting.lock();
        let slot: &Slot = &self.slot;
        let Some(has) = slot.allotment.lock().clone() else { return Verdict::Settled };
        if !has.apply(&mut wish.clone()) {
            // What it asks for is what it has, nearly always: then the others, who have to be decoded, do not matter.
            return Verdict::Settled;
        }
        let others = self.agent.pods.active(&slot.uid);
        let verdict = resize::judge(wish, &has, &others.iter().collect::<Vec<_>>(), &self.agent.room.lock());
        if verdict == Verdict::Accept {
            *slot.allotment.lock() = Some(Allotment::of(wish));
        }
        verdict
    }

    /// What running containers need to have what the pod was given.
    pub(super) async fn resize_steps(&mut self, pod: &Pod, observed: &Observed) -> Vec<Step> {
        let before = self.resizing.record.actuated.clone();
        self.resizing.record.actuated.retain(|name, (id, _)| observed.find(name).is_some_and(|s| s.id == *id));
        for c in view::init_containers(pod).iter().chain(view::containers(pod)) {
            let Some(s) = observed.find(&c.name).filter(|s| s.state == ContainerState::Running) else { continue };
            // Begun by an agent that kept no record: what its group has tells.
            if !self.resizing.record.actuated.contains_key(&c.name) && limits(&cgroup::container(pod, c, self.agent.machine.memory)) == limits(&s.resources) {
                self.began_with(c, &s.id);
            }
        }
        let steps = resize::steps(pod, observed, &self.resizing.record.actuated, self.agent.machine.memory);
        if !steps.is_empty() && self.resizing.progress.is_none() {
            self.resizing.progress = Some(String::new());
        }
        if before != self.resizing.record.actuated {
            self.keep_record().await;
        }
        steps
    }

    /// This container was made with what is allotted to it.
    pub(super) fn began_with(&mut self, c: &Container, id: &ContainerId) {
        self.resizing.record.actuated.insert(c.name.clone(), (id.clone(), c.resources.clone().unwrap_or_default()));
    }

    /// Brings the groups to the allotment; who has to be restarted for it has been ended before.
    pub(super) async fn resize(&mut self, pod: &Pod, observed: &Observed, steps: &[Step]) {
        let Some(last) = self.resizing.progress.clone() else { return };
        let about = self.agent.about(pod);
        match self.actuate(pod, observed, steps).await {
            Ok(()) if steps.iter().any(|s| s.restart) => self.retries.push(self.agent.now()),
            Ok(()) => {
                self.resizing.progress = None;
                self.agent.recorder.normal(&about, "ResizeCompleted", resize::event_text("Pod resize completed", pod, ""));
            }
            Err(why) => {
                if last != why {
                    self.agent.recorder.warning(&about, "ResizeError", resize::event_text("Pod resize error", pod, &why));
                }
                self.resizing.progress = Some(why);
                self.retries.push(self.agent.now() + Duration::from_secs(10));
            }
        }
        self.keep_record().await;
    }

    /// The pod's group grows first and shrinks last: a child never has more than its parent.
    async fn actuate(&mut self, pod: &Pod, observed: &Observed, steps: &[Step]) -> Result<(), String> {
        let Some(sandbox) = observed.ready_sandbox() else { return Ok(()) };
        let mut after = cgroup::pod(pod, 0);
        resize::lift(&mut after);
        self.usage_allows(observed, steps, &after).await?;
        let runtime = self.agent.runtime.clone();
        let changed = limits(&sandbox.resources) != limits(&after);
        if changed {
            let wide = resize::both(&sandbox.resources, &after);
            runtime.update_sandbox_resources(&sandbox.id, &wide).await.map_err(|e| e.full_message())?;
        }
        for s in steps.iter().filter(|s| !s.restart) {
            runtime.update_resources(&s.id, &s.resources).await.map_err(|e| format!("container {:?}: {}", s.container, e.full_message()))?;
            if let Some((_, c)) = view::find_container(pod, &s.container) {
                self.began_with(&c, &s.id);
            }
        }
        if changed && !steps.iter().any(|s| s.restart) {
            runtime.update_sandbox_resources(&sandbox.id, &after).await.map_err(|e| e.full_message())?;
        }
        Ok(())
    }

    /// Before anything is changed: no memory limit goes below what is in use, which would kill the container.
    async fn usage_allows(&self, observed: &Observed, steps: &[Step], after: &Resources) -> Result<(), String> {
        let Some(sandbox) = observed.ready_sandbox() else { return Ok(()) };
        let lower = |had: i64, want: i64| want > 0 && (had <= 0 || want < had);
        let mut errors = Vec::new();
        if lower(sandbox.resources.memory_limit, after.memory_limit)
            && let Ok(stats) = self.agent.runtime.sandbox_stats(&sandbox.id).await
        {
            errors.extend(resize::below_usage(None, after.memory_limit, stats.memory.usage));
        }
        for s in steps.iter().filter(|s| !s.restart) {
            let had = observed.find(&s.container).map_or(0, |c| c.resources.memory_limit);
            if lower(had, s.resources.memory_limit)
                && let Ok(stats) = self.agent.runtime.container_stats(&s.id).await
            {
                errors.extend(resize::below_usage(Some(&s.container), s.resources.memory_limit, stats.memory.usage));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors.join(", ")) }
    }
}

/// What a resize can change, no limit being 0.
fn limits(r: &Resources) -> (u64, i64, i64) {
    (r.cpu_shares, r.cpu_quota.max(0), r.memory_limit.max(0))
}
