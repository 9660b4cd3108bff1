//! Built-in admission, upstream's default set.
//!
//! Each plug-in is a small file that reads the request and the store's present state through [`skiff_policy::Lookup`]
//! and changes or refuses the object. Texts, reasons and causes are upstream's, since clients and tests match on them.
//! [`defaults`] gives them in upstream's order; the registry calls all mutations, then all validations.
//!
//! Not here: RBAC's escalation checks (the `auth` crate), validation of fields (the `validation` crate).

mod authorization;
mod certificates;
mod declared;
mod default_class;
mod expression;
mod limits;
mod namespace;
mod node_restriction;
mod node_taint;
mod pod_resize;
mod pod_security;
mod policy;
mod priority;
mod quota;
mod reinvocation;
mod request;
mod resources;
mod runtime_class;
mod service_account;
mod storage;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tolerations;
mod topology_labels;
mod versions;
mod webhook;

pub use certificates::{CertificateApproval, CertificateSigning, CertificateSubjectRestriction, ClusterTrustBundleAttest};
pub use default_class::{DefaultIngressClass, DefaultStorageClass};
pub use limits::LimitRanger;
pub use namespace::NamespaceLifecycle;
pub use node_restriction::NodeRestriction;
pub use node_taint::TaintNodesByCondition;
pub use pod_resize::PodResizeValidator;
pub use pod_security::PodSecurity;
pub use policy::{MutatingPolicies, ValidatingPolicies};
pub use priority::Priority;
pub use quota::ResourceQuota;
pub use runtime_class::RuntimeClass;
pub use service_account::ServiceAccount;
pub use storage::{PersistentVolumeClaimResize, StorageObjectInUseProtection};
pub use tolerations::DefaultTolerationSeconds;
pub use topology_labels::PodTopologyLabels;
pub use webhook::{MutatingWebhooks, ValidatingWebhooks};

use skiff_meta::value;
use skiff_policy::{Admission, Authorizer};
use std::sync::Arc;

/// What is handed in: chance, time, and who is asked about signers and audiences.
#[derive(Clone)]
pub struct Options {
    pub random: Arc<dyn Fn() -> u32 + Send + Sync>,
    pub now: Arc<dyn Fn() -> std::time::SystemTime + Send + Sync>,
    pub authorizer: Arc<dyn Authorizer>,
    /// Asks webhooks.
    pub webhooks: Arc<skiff_webhook::Client>,
}

/// The plug-ins that upstream turns on, in its order, and NodeRestriction, which holds each kubelet to its own node.
pub fn defaults(options: &Options) -> Vec<Arc<dyn Admission>> {
    let authorizer = || options.authorizer.clone();
    let client = &options.webhooks;
    vec![
        Arc::new(NamespaceLifecycle),
        Arc::new(LimitRanger),
        Arc::new(ServiceAccount { random: options.random.clone() }),
        Arc::new(NodeRestriction { authorizer: authorizer() }),
        Arc::new(TaintNodesByCondition),
        Arc::new(PodSecurity::default()),
        Arc::new(Priority),
        Arc::new(DefaultTolerationSeconds::default()),
        Arc::new(DefaultStorageClass),
        Arc::new(StorageObjectInUseProtection),
        Arc::new(PersistentVolumeClaimResize),
        Arc::new(RuntimeClass),
        Arc::new(CertificateApproval { authorizer: authorizer() }),
        Arc::new(CertificateSigning { authorizer: authorizer() }),
        Arc::new(ClusterTrustBundleAttest { authorizer: authorizer() }),
        Arc::new(CertificateSubjectRestriction),
        Arc::new(DefaultIngressClass),
        Arc::new(PodTopologyLabels),
        Arc::new(PodResizeValidator),
        Arc::new(MutatingPolicies::new(authorizer())),
        Arc::new(MutatingWebhooks::new(client.clone(), authorizer())),
        Arc::new(ValidatingPolicies::new(authorizer())),
        Arc::new(ValidatingWebhooks::new(client.clone(), authorizer())),
        Arc::new(ResourceQuota::new(options.now.clone())),
    ]
}
