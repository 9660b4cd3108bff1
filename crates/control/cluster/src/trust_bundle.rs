//! The ClusterTrustBundle by which pods know this API server: `kubernetes.io/kube-apiserver-serving` (KEP-3257). Its
//! name holds a digest, so that bundles of servers with different authorities stand side by side while one replaces
//! the other.
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use sha2::{Digest, Sha256};
use skiff_client::{DeleteOptions, Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use skiff_json::json;
use skiff_meta::Reason;
use std::sync::Arc;

const SIGNER: &str = "kubernetes.io/kube-apiserver-serving";

struct Publisher {
    deps: Deps,
    bundles: Typed<ClusterTrustBundle>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let bundles = deps.informers.of::<ClusterTrustBundle>();
    let queue = Queue::new();
    let q = queue.clone();
    bundles.subscribe(move |c| {
        if c.key().starts_with(&prefix()) {
            q.add("serving");
        }
    });
    queue.add("serving");
    (queue, Arc::new(Publisher { deps, bundles }))
}

fn prefix() -> String {
    format!("{}:", SIGNER.replace('/', ":"))
}
fn name(bundle: &str) -> String {
    let digest = Sha256::digest(bundle.as_bytes());
    digest.iter().take(12).fold(prefix(), |name, b| format!("{name}{b:02x}"))
}

#[async_trait]
impl Reconcile for Publisher {
    async fn reconcile(&self, _: &str) -> Result<Action, Failed> {
        let anchors = &self.deps.settings.root_ca;
        let wanted = name(anchors);
        let body = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "metadata": {"name": wanted}, "spec": {"signerName": SIGNER, "trustBundle": anchors}});
        let target = |name: &str| Target::new(resource_of::<ClusterTrustBundle>(), "", name.to_owned());
        match self.bundles.get("", &wanted) {
            None => match self.deps.client.create_bytes(target(""), body.to_string()).await {
                Err(e) if e.is(Reason::AlreadyExists) => {}
                done => drop(done.at("publish trust bundle", &wanted)?),
            },
            Some(b) if b.spec.trust_bundle != *anchors => {
                drop(self.deps.client.update_bytes(target(&wanted), body.to_string()).await.at("update trust bundle", &wanted)?)
            }
            Some(_) => {}
        }
        let old =
            self.bundles.all().into_iter().filter(|b| b.spec.signer_name.as_deref() == Some(SIGNER)).filter_map(|b| b.metadata.name).filter(|n| *n != wanted);
        for n in old {
            self.deps.client.delete::<ClusterTrustBundle>("", &n, &DeleteOptions::default()).await.at("remove trust bundle", &n)?;
        }
        Ok(Action::Done)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_tells_the_content() {
        assert_eq!(super::name(""), "kubernetes.io:kube-apiserver-serving:e3b0c44298fc1c149afbf4c8");
    }
}
