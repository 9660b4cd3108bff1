//! The core group, events and leases.
use super::{Computed, Resource, Role, build::*, conversions, fields};
use crate::{
    print,
    strategy::{self, MetadataRules, NameRule},
};

pub fn rows() -> Vec<Resource> {
    let proxy: &[&str] = &["create", "delete", "get", "patch", "update"];
    let connect: &[&str] = &["create", "get"];
    vec![
        namespaced("", "v1", "Binding", "bindings").computed(Computed::Binding),
        cluster("", "v1", "ComponentStatus", "componentstatuses")
            .short(&["cs"])
            .columns(print::component_status())
            .computed(Computed::ComponentStatus)
            .strategy(|s| {
                s.deprecated = Some("v1 ComponentStatus is deprecated in v1.19+");
            }),
        namespaced("", "v1", "ConfigMap", "configmaps").short(&["cm"]).columns(print::config_map()),
        namespaced("", "v1", "Endpoints", "endpoints").short(&["ep"]).columns(print::endpoints()).strategy(|s| {
            s.create_on_update = true;
            s.deprecated = Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
        }),
        namespaced("", "v1", "Event", "events").short(&["ev"]).columns(print::event()).fields(fields::EVENT).volatile().strategy(|s| {
            s.create_on_update = true;
            s.ttl_seconds = 3600;
            s.name = NameRule::PathSegment;
            s.metadata_rules = MetadataRules::Last;
            s.uncached = true;
        }),
        namespaced("", "v1", "LimitRange", "limitranges").short(&["limits"]).columns(print::limit_range()).strategy(|s| {
            s.create_on_update = true;
            s.prepare_create = Some(strategy::workload::name_limit_range);
        }),
        cluster("", "v1", "Namespace", "namespaces")
            .short(&["ns"])
            .verbs(&["create", "delete", "get", "list", "patch", "update", "watch"])
            .sub("finalize", Role::Finalize, ("", "", "Namespace"), &["update"])
            .status()
            .columns(print::namespace())
            .fields(fields::NAMESPACE)
            .strategy(|s| {
                s.name = NameRule::Label;
                s.answers_object = true;
                s.prepare_create = Some(strategy::namespace::prepare_create);
                s.prepare_update = Some(strategy::namespace::prepare_update);
            }),
        cluster("", "v1", "Node", "nodes")
            .short(&["no"])
            .sub("proxy", Role::Connect, ("", "", "NodeProxyOptions"), proxy)
            .status()
            .columns(print::node())
            .fields(fields::NODE)
            .strategy(|s| {
                s.born_with_status = true;
                s.gated = strategy::gates::NODE;
                s.read = Some(strategy::workload::read_node);
                s.prepare_create = Some(strategy::workload::prepare_node);
                s.prepare_update = Some(strategy::workload::update_node);
            }),
        namespaced("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims").short(&["pvc"]).status().columns(print::persistent_volume_claim()).strategy(
            |s| {
                s.answers_object = true;
                s.gated = strategy::gates::CLAIM;
                s.prepare_create = Some(strategy::volume::prepare_claim);
                s.prepare_update = Some(strategy::volume::update_claim);
            },
        ),
        cluster("", "v1", "PersistentVolume", "persistentvolumes").short(&["pv"]).status().columns(print::persistent_volume()).strategy(|s| {
            s.answers_object = true;
            s.prepare_create = Some(strategy::volume::prepare_volume);
        }),
        pods(proxy, connect),
        namespaced("", "v1", "PodTemplate", "podtemplates").columns(print::pod_template()).strategy(|s| {
            s.create_on_update = false;
            s.generation = Some(strategy::generation::ON_TEMPLATE);
            s.pod_spec = "template.spec";
            s.answers_object = true;
        }),
        namespaced("", "v1", "ReplicationController", "replicationcontrollers")
            .short(&["rc"])
            .categories(&["all"])
            .scale()
            .status()
            .columns(print::replication_controller())
            .fields(fields::REPLICAS)
            .strategy(|s| {
                s.name = NameRule::DeclaredSubdomain;
                s.generation = Some(strategy::generation::ON_SPEC);
                s.orphans_by_default = true;
                s.pod_spec = "spec.template.spec";
            }),
        namespaced("", "v1", "ResourceQuota", "resourcequotas")
            .short(&["quota"])
            .status()
            .columns(print::resource_quota())
            .strategy(|s| s.answers_object = true),
        namespaced("", "v1", "Secret", "secrets").columns(print::secret()).fields(fields::SECRET).strategy(|s| {
            s.read = Some(strategy::secret::fold_string_data);
            s.prepare_create = Some(strategy::secret::prepare_create);
            s.prepare_update = Some(strategy::secret::prepare_update);
        }),
        namespaced("", "v1", "ServiceAccount", "serviceaccounts")
            .short(&["sa"])
            .sub("token", Role::Token, ("authentication.k8s.io", "v1", "TokenRequest"), &["create"])
            .strategy(|s| {
                s.answers_object = true;
                s.prepare_create = Some(strategy::secret::prepare_account);
                s.prepare_update = Some(strategy::secret::update_account);
            }),
        namespaced("", "v1", "Service", "services")
            .short(&["svc"])
            .categories(&["all"])
            .sub("proxy", Role::Connect, ("", "", "ServiceProxyOptions"), proxy)
            .status()
            .columns(print::service())
            .fields(fields::SERVICE)
            .strategy(|s| {
                s.create_on_update = true;
                s.name = NameRule::Label;
                s.answers_object = true;
                s.allocates = true;
                s.prepare_update = Some(strategy::service::prepare_update);
            }),
        namespaced("events.k8s.io", "v1", "Event", "events")
            .short(&["ev"])
            .columns(print::event())
            .fields(fields::EVENT_V1)
            .stored_as("", "v1", "events", conversions::event)
            .volatile()
            .strategy(|s| {
                s.create_on_update = true;
                s.ttl_seconds = 3600;
                s.metadata_rules =
                    MetadataRules::Behind(&["involvedObject.namespace", "reportingController", "reportingInstance", "action", "reason", "message"]);
                s.uncached = true;
            }),
        namespaced("coordination.k8s.io", "v1", "Lease", "leases").columns(print::lease()).volatile().strategy(|s| {
            s.prepare_create = Some(strategy::workload::prepare_lease);
            s.prepare_update = Some(strategy::workload::update_lease);
            s.create_on_update = true;
            s.unconditional_update = false;
        }),
    ]
}

fn pods(proxy: &'static [&'static str], connect: &'static [&'static str]) -> Resource {
    namespaced("", "v1", "Pod", "pods")
        .short(&["po"])
        .categories(&["all"])
        .sub("attach", Role::Connect, ("", "", "PodAttachOptions"), connect)
        .sub("binding", Role::Binding, ("", "", "Binding"), &["create"])
        .sub("ephemeralcontainers", Role::EphemeralContainers, ("", "", "Pod"), READ_WRITE)
        .sub("eviction", Role::Eviction, ("policy", "v1", "Eviction"), &["create"])
        .sub("exec", Role::Connect, ("", "", "PodExecOptions"), connect)
        .sub("log", Role::Connect, ("", "", "Pod"), &["get"])
        .sub("portforward", Role::Connect, ("", "", "PodPortForwardOptions"), connect)
        .sub("proxy", Role::Connect, ("", "", "PodProxyOptions"), proxy)
        .sub("resize", Role::Resize, ("", "", "Pod"), READ_WRITE)
        .status()
        .columns(print::pod())
        .fields(fields::POD)
        .strategy(|s| {
            s.answers_object = true;
            s.grace = Some(strategy::pod::grace);
            s.gated = strategy::gates::POD;
            s.adopt = Some(strategy::pod::adopt_app_armor);
            s.pod_spec = "spec";
            s.generation = Some(strategy::generation::ON_SPEC);
            s.prepare_create = Some(strategy::pod::prepare_create);
            s.prepare_update = Some(strategy::pod::prepare_update);
        })
}
