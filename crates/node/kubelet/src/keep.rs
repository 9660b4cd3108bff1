//! Housekeeping: leftovers of pods that are gone, dead containers, unused images, memory pressure.
use crate::agent::Agent;
use crate::machine;
use crate::pods::Verdict;
use skiff_cri::{ContainerFilter, ContainerState, ContainerStatus, Image, SandboxFilter};
use skiff_pod::qos::{self, Qos};
use skiff_pod::{cgroup, names, view};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const CONTAINERS: Duration = Duration::from_secs(60);
const IMAGES_EVERY: u32 = 5;
const PRESSURE: Duration = Duration::from_secs(10);

pub fn spawn(agent: Arc<Agent>) {
    let shutdown = agent.shutdown.clone();
    let pressed = agent.clone();
    tokio::spawn(async move {
        let collect = async {
            let mut unused = BTreeMap::new();
            for round in 1u32.. {
                tokio::time::sleep(CONTAINERS).await;
                collect_containers(&agent).await;
                if round.is_multiple_of(IMAGES_EVERY) {
                    collect_images(&agent, &mut unused).await;
                }
            }
        };
        let pressure = async {
            loop {
                tokio::time::sleep(PRESSURE).await;
                relieve_memory(&pressed).await;
            }
        };
        shutdown.run_until_cancelled(async { tokio::join!(collect, pressure) }).await;
    });
}

/// Sandboxes and folders of pods that the API doesn't know any more: their end was missed while nobody watched.
/// `api` gives the uids of the API's pods; it is asked after the leftovers were listed, so that a pod that comes in
/// between is never taken for one.
pub async fn remove_orphans(agent: &Agent, api: impl Fn() -> Vec<String>) {
    agent.pods.manifests_read().await;
    let sandboxes = agent.runtime.list_sandboxes(&SandboxFilter::default()).await.unwrap_or_default();
    let folders = pod_folders(&agent.config.root_dir.join("pods")).await;
    let mut known: BTreeSet<String> = api().into_iter().collect();
    known.extend(agent.pods.all().iter().map(|s| s.uid.clone()));
    for uid in agent.devices.users().iter().filter(|u| !known.contains(*u)) {
        if let Err(e) = agent.devices.release(uid).await {
            tracing::warn!(target: "node", pod = uid, error = %e, "devices of a pod that is gone not given back");
        }
    }
    for s in sandboxes {
        let Some(uid) = s.labels.get(names::POD_UID).filter(|u| !known.contains(*u)) else { continue };
        tracing::info!(target: "node", pod = s.metadata.name, namespace = s.metadata.namespace, "orphaned pod removed");
        if let Err(e) = agent.runtime.remove_sandbox(&s.id).await {
            tracing::warn!(target: "node", sandbox = %s.id, error = %e.full_message(), "orphaned sandbox not removed");
            known.insert(uid.clone());
            continue;
        }
        let log = format!("{}_{}_{uid}", s.metadata.namespace, s.metadata.name);
        let _ = tokio::fs::remove_dir_all(agent.config.log_dir.join(log)).await;
        remove_folder(agent, uid).await;
    }
    for uid in folders.iter().filter(|u| !known.contains(*u)) {
        remove_folder(agent, uid).await;
    }
}

async fn remove_folder(agent: &Agent, uid: &str) {
    let dir = agent.config.pod_dir(uid);
    match agent.volumes.tear_down(uid, &dir).await {
        Ok(()) => {
            let _ = tokio::fs::remove_dir_all(&dir).await;
        }
        Err(e) => tracing::warn!(target: "node", pod_uid = uid, error = %e, "volumes of an orphaned pod not taken down"),
    }
}

async fn pod_folders(dir: &std::path::Path) -> Vec<String> {
    let mut all = Vec::new();
    if let Ok(mut entries) = tokio::fs::read_dir(dir).await {
        while let Ok(Some(e)) = entries.next_entry().await {
            all.extend(e.file_name().to_str().map(str::to_owned));
        }
    }
    all
}

/// Dead containers to remove: of each name the newest dead one stays (for `logs --previous`).
fn superfluous(containers: &[ContainerStatus]) -> Vec<&ContainerStatus> {
    let mut by_name: BTreeMap<(&str, &str), Vec<&ContainerStatus>> = BTreeMap::new();
    for c in containers.iter().filter(|c| c.state == ContainerState::Exited) {
        let uid = c.labels.get(names::POD_UID).map(String::as_str).unwrap_or_default();
        by_name.entry((uid, &c.metadata.name)).or_default().push(c);
    }
    let mut out = Vec::new();
    for dead in by_name.values_mut() {
        dead.sort_by_key(|c| std::cmp::Reverse(c.metadata.attempt));
        out.extend(dead.iter().skip(1));
    }
    out
}

async fn collect_containers(agent: &Agent) {
    let Ok(all) = agent.runtime.list_containers(&ContainerFilter::default()).await else { return };
    for c in superfluous(&all) {
        if agent.runtime.remove_container(&c.id).await.is_ok() && !c.log_path.as_os_str().is_empty() {
            let _ = tokio::fs::remove_file(&c.log_path).await;
        }
    }
    // Sandboxes that are not ready and not the newest of their pod.
    let Ok(sandboxes) = agent.runtime.list_sandboxes(&SandboxFilter::default()).await else { return };
    for s in &sandboxes {
        let newer = sandboxes.iter().any(|o| o.metadata.uid == s.metadata.uid && o.metadata.attempt > s.metadata.attempt);
        let used = all.iter().any(|c| c.sandbox == s.id && c.state == ContainerState::Running);
        if newer && !used && s.state != skiff_cri::SandboxState::Ready && !all.iter().any(|c| c.sandbox == s.id) {
            let _ = agent.runtime.remove_sandbox(&s.id).await;
        }
    }
}

/// What to remove so that `excess` bytes become free: the longest unused first, nothing pinned, in use or young.
fn images_to_remove<'a>(images: &'a [Image], unused_since: &BTreeMap<String, i64>, now: i64, min_age: i64, excess: u64) -> Vec<&'a Image> {
    let mut idle: Vec<(&Image, i64)> =
        images.iter().filter(|i| !i.pinned).filter_map(|i| unused_since.get(i.id.as_str()).filter(|s| now - **s >= min_age).map(|s| (i, *s))).collect();
    idle.sort_by_key(|(_, since)| *since);
    let mut freed = 0;
    idle.into_iter()
        .map(|(i, _)| i)
        .take_while(|i| {
            let more = freed < excess;
            freed += i.size;
            more
        })
        .collect()
}

async fn collect_images(agent: &Agent, unused: &mut BTreeMap<String, i64>) {
    let (Ok(images), Ok(containers)) = (agent.images.list().await, agent.runtime.list_containers(&ContainerFilter::default()).await) else { return };
    let used: BTreeSet<&str> = containers.iter().map(|c| c.image.as_str()).collect();
    let now = agent.now().as_second();
    unused.retain(|id, _| !used.contains(id.as_str()) && images.iter().any(|i| i.id.as_str() == id));
    for i in images.iter().filter(|i| !used.contains(i.id.as_str())) {
        unused.entry(i.id.to_string()).or_insert(now);
    }
    let Ok((path, _)) = agent.images.fs_info().await else { return };
    let Some(disk) = machine::disk(&path).filter(|d| d.size > 0) else { return };
    let gc = agent.config.image_gc;
    let full = disk.size.saturating_sub(disk.free);
    if full * 100 / disk.size < gc.high {
        return;
    }
    let excess = full.saturating_sub(disk.size / 100 * gc.low);
    let min_age = i64::try_from(gc.min_age.as_secs()).unwrap_or(i64::MAX);
    for i in images_to_remove(&images, unused, now, min_age, excess) {
        tracing::info!(target: "node", image = %i.id, bytes = i.size, "unused image removed");
        if let Err(e) = agent.images.remove(i.id.as_str()).await {
            tracing::warn!(target: "node", image = %i.id, error = %e.full_message(), "image not removed");
        }
    }
}

/// Below the hard limit one pod goes: those above their request first, then lower priority, then the greatest use.
async fn relieve_memory(agent: &Agent) {
    let available = match machine::memory_available() {
        Some(m) if m < agent.config.eviction.memory_available => m,
        _ => return,
    };
    let mut worst: Option<((bool, i64, i64), Arc<crate::pods::Slot>)> = None;
    for slot in agent.pods.all() {
        let Some(pod) = slot.pod().filter(|p| !view::finished(p) && !view::is_static(p)) else { continue };
        let critical = view::spec(&pod).priority.is_some_and(|p| p >= 2_000_000_000);
        if critical || slot.ending.is_cancelled() || (qos::of(&pod) == Qos::Guaranteed && view::spec(&pod).priority.is_some_and(|p| p > 0)) {
            continue;
        }
        let sandbox = slot.sandboxes.lock().first().cloned();
        let Some(id) = sandbox else { continue };
        let Ok(stats) = agent.runtime.sandbox_stats(&id).await else { continue };
        let over = i64::try_from(stats.memory.working_set).unwrap_or(i64::MAX) - cgroup::pod_request(&pod, "memory").value();
        let rank = (over > 0, -i64::from(view::spec(&pod).priority.unwrap_or(0)), over);
        if worst.as_ref().is_none_or(|(r, _)| rank > *r) {
            worst = Some((rank, slot));
        }
    }
    let Some((_, slot)) = worst else { return };
    let message =
        format!("The node was low on resource: memory. Threshold quantity: {}, available: {}Ki. ", agent.config.eviction.memory_available, available / 1024);
    if let Some(pod) = slot.pod() {
        agent.recorder.warning(&agent.about(&pod), "Evicted", message.clone());
    }
    slot.evict(Verdict { phase: "Failed", reason: "Evicted".into(), message });
}

impl Agent {
    pub async fn remove_log_links(&self, namespace: &str, name: &str) {
        let Some(dir) = &self.config.container_log_links else { return };
        let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return };
        let prefix = format!("{name}_{namespace}_");
        while let Ok(Some(e)) = entries.next_entry().await {
            if e.file_name().to_str().is_some_and(|n| n.starts_with(&prefix)) {
                let _ = tokio::fs::remove_file(e.path()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_cri::ImageId;
    #[test]
    fn images_go_oldest_first_until_enough_is_free() {
        let image = |id: &str, pinned| Image { id: ImageId::new(id), tags: vec![], digests: vec![], size: 10, user: String::new(), pinned };
        let images = [image("a", false), image("b", false), image("c", true), image("d", false), image("young", false)];
        let unused = BTreeMap::from([("a".to_owned(), 50), ("b".to_owned(), 10), ("c".to_owned(), 0), ("d".to_owned(), 60), ("young".to_owned(), 990)]);
        let ids = |excess| images_to_remove(&images, &unused, 1000, 120, excess).iter().map(|i| i.id.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(15), ["b", "a"]);
        assert_eq!(ids(1000), ["b", "a", "d"]);
        assert!(ids(0).is_empty());
    }
}
