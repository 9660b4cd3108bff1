//! Which rules an object of a kind has.
use crate::{
    access, autoscaling, certificates, cluster, config, devices, endpoints, extension,
    field::{Errors, Field},
    flow, migration, network, pod, pod_certificate, policies, quota, service, small, storage, volume, webhooks,
    workload::{cronjob, daemonset, deployment, job, job_status, replicas, statefulset},
};
use skiff_json::Value;
use skiff_meta::Cause;

type Create = fn(&Field<'_>);
type Update = fn(&Field<'_>, &Field<'_>);

/// The rules of a kind: for a new object, for a change of it, for a change of its status.
struct Rules {
    create: Create,
    update: Update,
    status: Update,
}

fn nothing(_: &Field<'_>) {}
fn no_change(_: &Field<'_>, _: &Field<'_>) {}

impl Rules {
    const NONE: Rules = Rules { create: nothing, update: no_change, status: no_change };

    const fn new(create: Create, update: Update) -> Self {
        Self { create, update, status: no_change }
    }
    const fn status(self, status: Update) -> Self {
        Self { status, ..self }
    }
}

fn rules(group: &str, kind: &str) -> Rules {
    match (group, kind) {
        ("", "Pod") => Rules::new(pod::create, pod::update::update).status(pod::status_update),
        ("", "PodTemplate") => Rules::new(cluster::pod_template, cluster::pod_template_update),
        ("", "Binding") => Rules::new(cluster::binding, no_change),
        ("", "Service") => Rules::new(service::create, service::update).status(service::status_update),
        ("", "Endpoints") => Rules::new(endpoints::endpoints, endpoints::endpoints_update),
        ("", "ConfigMap") => Rules::new(config::config_map, config::config_map_update),
        ("", "Secret") => Rules::new(config::secret, config::secret_update),
        ("", "Namespace") => Rules::new(cluster::namespace, no_change).status(cluster::namespace_status),
        ("", "Node") => Rules::new(cluster::node, cluster::node_update).status(cluster::node_update),
        ("", "PersistentVolume") => Rules::new(volume::volume, volume::volume_update),
        ("", "PersistentVolumeClaim") => Rules::new(volume::claim, volume::claim_update).status(volume::claim_status),
        ("", "ReplicationController") => Rules::new(replicas::controller, replicas::controller_update).status(replicas::status),
        ("", "ResourceQuota") => Rules::new(quota::quota, quota::quota_update).status(quota::quota_status),
        ("", "LimitRange") => Rules::new(quota::limit_range, |new, _| quota::limit_range(new)),
        ("apps", "Deployment") => Rules::new(deployment::create, deployment::update).status(deployment::status),
        ("apps", "ReplicaSet") => Rules::new(replicas::create, replicas::update).status(replicas::status),
        ("apps", "StatefulSet") => Rules::new(statefulset::create, statefulset::update).status(statefulset::status),
        ("apps", "DaemonSet") => Rules::new(daemonset::create, daemonset::update).status(daemonset::status),
        ("apps", "ControllerRevision") => Rules::new(replicas::revision, replicas::revision_update),
        ("batch", "Job") => Rules::new(job::create, job::update).status(job_status::update),
        ("batch", "CronJob") => Rules::new(cronjob::create, cronjob::update),
        ("rbac.authorization.k8s.io", "Role") => Rules::new(access::role, |new, _| access::role(new)),
        ("rbac.authorization.k8s.io", "ClusterRole") => Rules::new(access::cluster_role, |new, _| access::cluster_role(new)),
        ("rbac.authorization.k8s.io", "RoleBinding") => Rules::new(access::role_binding, access::role_binding_update),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => Rules::new(access::cluster_role_binding, access::cluster_role_binding_update),
        ("networking.k8s.io", kind) => networking(kind),
        ("discovery.k8s.io", "EndpointSlice") => Rules::new(endpoints::slice, endpoints::slice_update),
        ("storage.k8s.io", kind) => storage(kind),
        ("autoscaling", "HorizontalPodAutoscaler") => Rules::new(autoscaling::autoscaler, autoscaling::autoscaler_update).status(autoscaling::status),
        ("autoscaling", "Scale") => Rules::new(autoscaling::scale, |new, _| autoscaling::scale(new)),
        ("policy", "PodDisruptionBudget") => Rules::new(small::budget, |new, _| small::budget(new)).status(small::budget_status),
        ("scheduling.k8s.io", "PriorityClass") => Rules::new(small::priority_class, small::priority_class_update),
        ("node.k8s.io", "RuntimeClass") => Rules::new(small::runtime_class, small::runtime_class_update),
        ("coordination.k8s.io", "Lease") => Rules::new(small::lease, |new, _| small::lease(new)),
        ("", "Event") => Rules::new(small::event, |new, _| small::event(new)),
        ("events.k8s.io", "Event") => Rules::new(small::new_event, small::new_event_update),
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            Rules::new(certificates::request, certificates::request_update).status(certificates::request_status)
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => Rules::new(flow::schema, |new, _| flow::schema(new)).status(flow::conditions),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => Rules::new(flow::level, |new, _| flow::level(new)).status(flow::conditions),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => Rules::new(webhooks::validating, |new, _| webhooks::validating(new)),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => Rules::new(webhooks::mutating, |new, _| webhooks::mutating(new)),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            Rules::new(policies::policy, |new, _| policies::policy(new)).status(policies::policy_status)
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => Rules::new(policies::mutating_policy, |new, _| policies::mutating_policy(new)),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => {
            Rules::new(policies::mutating_policy_binding, |new, _| policies::mutating_policy_binding(new))
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => Rules::new(policies::policy_binding, |new, _| policies::policy_binding(new)),
        ("apiregistration.k8s.io", "APIService") => Rules::new(extension::service, |new, _| extension::service(new)).status(extension::service_status),
        ("certificates.k8s.io", "PodCertificateRequest") => Rules::new(pod_certificate::create, pod_certificate::update).status(pod_certificate::status),
        ("certificates.k8s.io", "ClusterTrustBundle") => Rules::new(extension::bundle, extension::bundle_update),
        ("storagemigration.k8s.io", "StorageVersionMigration") => Rules::new(migration::create, migration::update).status(migration::status),
        ("resource.k8s.io", kind) => resource(kind),
        _ => Rules::NONE,
    }
}

fn resource(kind: &str) -> Rules {
    match kind {
        "DeviceClass" => Rules::new(devices::class, |new, _| devices::class(new)),
        "DeviceTaintRule" => Rules::new(devices::taint_rule, |new, _| devices::taint_rule(new)).status(devices::taint_rule_status),
        "ResourceClaim" => Rules::new(devices::claim, devices::claim_update).status(devices::claim_status),
        "ResourceClaimTemplate" => Rules::new(devices::template, devices::template_update),
        "ResourceSlice" => Rules::new(devices::slice, devices::slice_update),
        _ => Rules::NONE,
    }
}

fn networking(kind: &str) -> Rules {
    match kind {
        "NetworkPolicy" => Rules::new(network::policy, network::policy_update),
        "Ingress" => Rules::new(network::ingress, network::ingress_update).status(network::ingress_status),
        "IngressClass" => Rules::new(network::ingress_class, network::ingress_class_update),
        "IPAddress" => Rules::new(network::ip_address, network::ip_address_update),
        "ServiceCIDR" => Rules::new(network::service_cidr, network::service_cidr_update),
        _ => Rules::NONE,
    }
}

fn storage(kind: &str) -> Rules {
    match kind {
        "StorageClass" => Rules::new(storage::class, storage::class_update),
        "VolumeAttachment" => Rules::new(storage::attachment, storage::attachment_update).status(storage::attachment_status),
        "CSINode" => Rules::new(storage::csi_node, storage::csi_node_update),
        "CSIDriver" => Rules::new(storage::csi_driver, storage::csi_driver_update),
        "CSIStorageCapacity" => Rules::new(storage::capacity, storage::capacity_update),
        "VolumeAttributesClass" => Rules::new(storage::attributes_class, storage::attributes_class_update),
        _ => Rules::NONE,
    }
}

fn run(object: &Value, old: &Value, rule: impl FnOnce(&Field<'_>, &Field<'_>)) -> Vec<Cause> {
    let errors = Errors::default();
    rule(&Field::root(object, &errors), &Field::root(old, &errors));
    errors.into_causes()
}

/// Errors of the content of a new object, in canonical form with its defaults. A kind without rules has none.
pub fn validate_create(group: &str, kind: &str, object: &Value) -> Vec<Cause> {
    let rules = rules(group, kind);
    run(object, &Value::Null, |new, _| (rules.create)(new))
}

/// Errors of a change of an object, its status and other parts of subresources being as they were.
pub fn validate_update(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<Cause> {
    run(new, old, rules(group, kind).update)
}

/// Errors of a change of an object's status.
pub fn validate_status_update(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<Cause> {
    run(new, old, rules(group, kind).status)
}

/// Errors of a write to another subresource: `ephemeralcontainers` and `resize` of Pods, `finalize` of Namespaces, and
/// `approval` of CertificateSigningRequests.
pub fn validate_subresource(group: &str, kind: &str, subresource: &str, new: &Value, old: &Value) -> Vec<Cause> {
    match (group, kind, subresource) {
        ("", "Pod", "ephemeralcontainers") => run(new, old, pod::ephemeral_update),
        ("", "Pod", "resize") => run(new, old, pod::resize),
        ("certificates.k8s.io", "CertificateSigningRequest", "approval") => run(new, old, certificates::request_approval),
        ("", "Namespace", "finalize") => run(new, old, cluster::namespace_finalize),
        (_, _, "status") => validate_status_update(group, kind, new, old),
        _ => Vec::new(),
    }
}
