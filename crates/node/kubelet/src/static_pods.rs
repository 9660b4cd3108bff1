//! Static pods: manifests in a folder run without the API; a mirror pod shows each there.
//! <https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/>
use crate::agent::Agent;
use crate::pods::Slot;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use sha2::{Digest, Sha256};
use skiff_client::DeleteOptions;
use skiff_pod::{names, view};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MAX_MANIFEST: u64 = 1 << 20;
const EVERY: Duration = Duration::from_secs(20);

pub fn spawn(agent: Arc<Agent>) {
    let Some(dir) = agent.config.manifests.clone() else { return agent.pods.set_manifests_read() };
    tokio::spawn(async move {
        let shutdown = agent.shutdown.clone();
        let forever = async {
            let changes = Changes::of(&dir);
            loop {
                scan(&agent, &dir).await;
                changes.wait(EVERY).await;
            }
        };
        shutdown.run_until_cancelled(forever).await;
    });
}

/// Waits for changes of a folder, or a while where the kernel gives none.
struct Changes(Option<inotify::Inotify>);

impl Changes {
    fn of(dir: &Path) -> Self {
        use inotify::WatchMask as M;
        let open = || {
            let i = inotify::Inotify::init()?;
            i.watches().add(dir, M::CLOSE_WRITE | M::MOVED_TO | M::MOVED_FROM | M::DELETE | M::CREATE)?;
            Ok::<_, std::io::Error>(i)
        };
        Self(open().ok())
    }
    async fn wait(&self, most: Duration) {
        let Some(inotify) = &self.0 else { return tokio::time::sleep(most).await };
        use std::os::fd::AsFd;
        // SAFETY: the descriptor stays open and the same while `self` is borrowed.
        let Ok(fd) = (unsafe { tokio::io::unix::AsyncFd::register(inotify.as_fd()) }) else { return tokio::time::sleep(most).await };
        if let Ok(Ok(mut ready)) = tokio::time::timeout(most, fd.readable()).await {
            let mut buffer = [0u8; 4096];
            while rustix::io::read(inotify.as_fd(), &mut buffer).is_ok_and(|n| n > 0) {}
            ready.clear_ready();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn scan(agent: &Arc<Agent>, dir: &Path) {
    let mut found = BTreeMap::new();
    let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return agent.pods.set_manifests_read() };
    while let Ok(Some(e)) = entries.next_entry().await {
        let hidden = e.file_name().to_str().is_none_or(|n| n.starts_with('.'));
        if hidden || !e.metadata().await.is_ok_and(|m| m.is_file() && m.len() <= MAX_MANIFEST) {
            continue;
        }
        let Ok(bytes) = tokio::fs::read(e.path()).await else { continue };
        match parse(&bytes, &agent.config.node_name) {
            Ok(pod) => {
                found.insert(view::uid(&pod).to_owned(), pod);
            }
            Err(why) => tracing::error!(target: "node", file = %e.path().display(), error = why, "manifest not read"),
        }
    }
    for slot in agent.pods.all().into_iter().filter(|s| s.is_static && !found.contains_key(&s.uid)) {
        slot.set_gone();
        delete_mirror(agent, &slot).await;
    }
    for pod in found.values() {
        let uid = view::uid(pod);
        if agent.pods.get(uid).is_none()
            && let Ok(bytes) = skiff_json::to_vec(pod)
        {
            agent.put_pod(pod, bytes.into());
        }
    }
    agent.pods.set_manifests_read();
    for (uid, pod) in &found {
        if let Some(slot) = agent.pods.get(uid) {
            ensure_mirror(agent, &slot, pod).await;
        }
    }
}

/// A pod of a manifest: named after the node, with a uid out of its content.
fn parse(bytes: &[u8], node: &str) -> Result<Pod, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let value: skiff_json::Value = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    if value.get("kind").and_then(|k| k.as_str()) != Some("Pod") {
        return Err("only a Pod can be static".into());
    }
    let mut pod: Pod = skiff_client::view(&value).map_err(|e| e.to_string())?;
    let name = pod.metadata.name.clone().filter(|n| !n.is_empty()).ok_or("metadata.name is missing")?;
    if view::containers(&pod).is_empty() {
        return Err("spec.containers is empty".into());
    }
    let hash = Sha256::new().chain_update(node).chain_update(bytes).finalize();
    let uid: String = hash.iter().take(16).map(|b| format!("{b:02x}")).collect();
    let m = &mut pod.metadata;
    m.name = Some(format!("{name}-{}", node.to_lowercase()));
    m.namespace.get_or_insert_with(|| "default".into());
    m.uid = Some(uid.clone());
    let a = m.annotations.get_or_insert_default();
    a.insert(names::CONFIG_SOURCE.into(), "file".into());
    a.insert(names::CONFIG_HASH.into(), uid);
    let spec = pod.spec.get_or_insert_default();
    spec.node_name = Some(node.to_owned());
    spec.restart_policy.get_or_insert_with(|| "Always".into());
    spec.enable_service_links.get_or_insert(true);
    spec.dns_policy.get_or_insert_with(|| "ClusterFirst".into());
    spec.tolerations.get_or_insert_default().push(k8s_openapi::api::core::v1::Toleration {
        operator: Some("Exists".into()),
        effect: Some("NoExecute".into()),
        ..Default::default()
    });
    Ok(pod)
}

async fn ensure_mirror(agent: &Agent, slot: &Slot, pod: &Pod) {
    let existing = match agent.client.find::<Pod>(&slot.namespace, &slot.name).await {
        Ok(found) => found,
        Err(_) => return,
    };
    if let Some(old) = existing {
        if view::annotation(&old, names::CONFIG_MIRROR) == Some(slot.uid.as_str()) && !view::deleted(&old) {
            let uid = view::uid(&old).to_owned();
            if slot.mirror_uid.lock().replace(uid.clone()) != Some(uid) {
                slot.wake();
            }
            return;
        }
        let options = DeleteOptions::default().grace(0).uid(view::uid(&old));
        let _ = agent.client.delete::<Pod>(&slot.namespace, &slot.name, &options).await;
    }
    let mut mirror = pod.clone();
    mirror.metadata.uid = None;
    mirror.metadata.annotations.get_or_insert_default().insert(names::CONFIG_MIRROR.into(), slot.uid.clone());
    if let Ok(Some(node)) = agent.client.find::<Node>("", &agent.config.node_name).await {
        let uid = node.metadata.uid.unwrap_or_default();
        mirror.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: agent.config.node_name.clone(),
            uid,
            controller: Some(true),
            block_owner_deletion: None,
        }]);
    }
    match agent.client.create(&mirror).await {
        Ok(made) => {
            *slot.mirror_uid.lock() = made.metadata.uid;
            slot.wake();
        }
        Err(e) => tracing::warn!(target: "node", pod = slot.name, namespace = slot.namespace, error = %e, "mirror pod not created"),
    }
}

async fn delete_mirror(agent: &Agent, slot: &Slot) {
    let uid = slot.mirror_uid.lock().take();
    if let Some(uid) = uid {
        let _ = agent.client.delete::<Pod>(&slot.namespace, &slot.name, &DeleteOptions::default().grace(0).uid(&uid)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_manifest_becomes_a_pod_of_this_node() {
        let yaml = b"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: a, image: nginx}]\n";
        let pod = parse(yaml, "n1").unwrap();
        assert_eq!((view::name(&pod), view::namespace(&pod)), ("web-n1", "default"));
        assert_eq!(view::uid(&pod), view::uid(&parse(yaml, "n1").unwrap()));
        assert_ne!(view::uid(&pod), view::uid(&parse(yaml, "n2").unwrap()));
        assert!(view::is_static(&pod));
        assert!(parse(b"kind: Service\n", "n").is_err() && parse(b"\xff", "n").is_err());
    }
}
