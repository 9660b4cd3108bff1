//! The controllers of the cluster itself: what upstream's kube-controller-manager does beside workloads, and the
//! local-path provisioner that k3s users expect.
//!
//! | module | what it keeps |
//! |---|---|
//! | `namespaces` | empties and finalises a namespace that is being deleted |
//! | `accounts` | the `default` service account and the root certificate in each namespace; tokens in secrets |
//! | `endpoints` | EndpointSlices and Endpoints of Services |
//! | `garbage` | dependents of owners that are gone; foreground and orphaning deletion |
//! | `volumes` | binding of claims to volumes, protection (of classes too), the `local-path` provisioner |
//! | `nodes` | pod CIDRs, how long reads may be kept, taints by condition, eviction from dead nodes, leftover pods |
//! | `roles` | aggregated cluster roles |
//! | `certificates` | approval, signing and removal of CertificateSigningRequests |
//! | `resource_claims` | claims of devices: made from templates, let go with their pods |
//! | `device_taints` | eviction of pods whose devices are tainted |
//! | `trust_bundle` | the trust anchors of this API server |
//! | `service_cidrs` | readiness and protection of the networks of Services |
//! | `autoscale` | as many replicas as metrics ask for |
//! | `policies` | warnings about expressions of admission policies |
//! | `quota` | the usage in ResourceQuota status |
//! | `migrations` | objects written again in their stored version |
//!
//! Each is a small shell around pure decisions. All reach the cluster through the client alone.

mod accounts;
mod autoscale;
mod certificates;
mod device_taints;
mod edit;
mod endpoints;
mod garbage;
mod migrations;
mod namespaces;
mod nodes;
mod policies;
mod quota;
mod resource_claims;
mod roles;
mod run;
mod service_cidrs;
mod trust_bundle;
mod volumes;

pub use accounts::SecretTokens;
pub use certificates::{Certify, SERVING_APPROVER, Signer};
pub use run::{Settings, run};
pub use volumes::{PROVISIONER, STORAGE_PATH, reclaim_on_node};
