//! Printer columns: how a kind looks as a `meta.k8s.io/v1` Table. Names, types, priorities and formats are upstream's
//! facts; cells are small functions over the object's JSON.

use serde_json::Value;
use skiff_meta::Timestamp;
use std::sync::Arc;

/// One column's definition.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: std::borrow::Cow<'static, str>,
    pub kind: std::borrow::Cow<'static, str>,
    pub format: std::borrow::Cow<'static, str>,
    pub priority: i32,
    /// Where the description of the column comes from: a path in the schema (`spec.replicas`), or a text of our own.
    pub description: std::borrow::Cow<'static, str>,
}

/// Cells of an object, one for each column; the time is for ages.
pub type Cells = dyn Fn(&Value, Timestamp) -> Vec<Value> + Send + Sync;

#[derive(Clone)]
pub struct Columns {
    pub columns: Arc<[Column]>,
    pub cells: Arc<Cells>,
}

/// A column of text with priority 0.
pub fn column(name: &'static str, kind: &'static str) -> Column {
    Column { name: name.into(), kind: kind.into(), format: "".into(), priority: 0, description: "".into() }
}

impl Columns {
    pub fn new(columns: Vec<Column>, cells: impl Fn(&Value, Timestamp) -> Vec<Value> + Send + Sync + 'static) -> Self {
        Self { columns: columns.into(), cells: Arc::new(cells) }
    }
    /// What a kind without columns of its own shows.
    pub fn name_and_age() -> Self {
        let mut name = column("Name", "string");
        name.format = "name".into();
        Self::new(vec![name, column("Age", "string")], |v, now| vec![crate::value::text(v, "metadata.name").into(), age(v, now).into()])
    }
}

pub fn age(v: &Value, now: Timestamp) -> String {
    match crate::value::text(v, "metadata.creationTimestamp").parse::<Timestamp>() {
        Ok(t) => format!("{}s", now.0 - t.0),
        Err(_) => "<unknown>".into(),
    }
}

macro_rules! later { ($($n:ident),*) => { $(pub fn $n() -> Columns { Columns::name_and_age() })* } }
later!(component_status, config_map, endpoints, event, limit_range, namespace, node, persistent_volume_claim, persistent_volume, pod, pod_template, replication_controller, resource_quota, secret, service, lease, controller_revision, daemon_set, deployment, replica_set, stateful_set, horizontal_pod_autoscaler, cron_job, job, ingress_class, ingress, ip_address, network_policy, service_cidr, endpoint_slice, runtime_class, device_taint_rule, resource_claim, resource_slice, flow_schema, priority_level, certificate_signing_request, cluster_trust_bundle, pod_certificate_request, pod_disruption_budget, role, mutating_policy, policy_binding, webhooks, validating_policy, custom_resource_definition, api_service, priority_class, csi_driver, csi_node, csi_storage_capacity, storage_class, volume_attachment, volume_attributes_class, storage_version_migration);
pub fn role_binding(_: &'static str) -> Columns { Columns::name_and_age() }
