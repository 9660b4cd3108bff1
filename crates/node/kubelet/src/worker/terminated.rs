//! After the end: take volumes away, tell the API, and in time forget the pod.
use super::{Next, Worker};
use k8s_openapi::api::core::v1::Pod;
use skiff_client::DeleteOptions;
use skiff_cri::SandboxFilter;
use skiff_pod::{names, view};
use std::collections::BTreeMap;

impl Worker {
    pub(super) async fn finish(&mut self, pod: &Pod) -> Next {
        let dir = self.agent.config.pod_dir(&self.slot.uid);
        if let Err(e) = self.agent.volumes.tear_down(&self.slot.uid, &dir).await {
            tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, error = %e, "volumes not taken down");
            return self.retry_later();
        }
        if let Err(e) = self.agent.devices.release(&self.slot.uid).await {
            tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, error = %e, "devices not given back");
            return self.retry_later();
        }
        self.agent.references.set(&self.slot, []);
        if self.slot.is_gone() {
            return self.forget(pod).await;
        }
        self.status.wait_flushed().await;
        if self.slot.is_gone() {
            return self.forget(pod).await;
        }
        if !view::deleted(pod) {
            return Next::Wait(None);
        }
        let options = DeleteOptions::default().grace(0).uid(&self.slot.uid);
        match self.agent.client.delete::<Pod>(&self.slot.namespace, &self.slot.name, &options).await {
            Ok(()) => self.forget(pod).await,
            Err(e) if e.is(skiff_meta::Reason::Conflict) => self.forget(pod).await,
            Err(e) => {
                tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, error = %e, "pod not deleted from the API");
                self.retry_later()
            }
        }
    }

    /// Removes everything that is left of it on the node.
    async fn forget(&mut self, pod: &Pod) -> Next {
        let labels = BTreeMap::from([(names::POD_UID.to_owned(), self.slot.uid.clone())]);
        let sandboxes = match self.agent.runtime.list_sandboxes(&SandboxFilter { labels, ..SandboxFilter::default() }).await {
            Ok(s) => s,
            Err(_) => return self.retry_later(),
        };
        for s in sandboxes {
            if let Err(e) = self.agent.runtime.remove_sandbox(&s.id).await {
                tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, sandbox = %s.id, error = %e.full_message(), "sandbox not removed");
                return self.retry_later();
            }
        }
        let _ = tokio::fs::remove_dir_all(names::log_directory(&self.agent.config.log_dir, pod)).await;
        let _ = tokio::fs::remove_dir_all(self.agent.config.pod_dir(&self.slot.uid)).await;
        self.agent.remove_log_links(&self.slot.namespace, &self.slot.name).await;
        tracing::info!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, "pod removed");
        Next::End
    }
}
