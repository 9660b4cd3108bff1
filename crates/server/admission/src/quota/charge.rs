//! What one object costs, by the resource names that quotas know. Pure.
use crate::{
    default_class::{CLASS_ANNOTATION, annotation},
    resources::{self, Resources, Side},
    value,
};
use skiff_json::Value;
use skiff_meta::{GroupResource, Quantity, Timestamp};
use std::collections::BTreeSet;

/// An object's usage, and what quota scopes ask of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Charge {
    pub uid: String,
    usage: Resources,
    /// What remains once the object is over: the place that it takes in the store.
    remains: Resources,
    /// A pod that should be gone by then, and is not, costs nothing more.
    until: Option<i64>,
    pub scopes: Option<Scopes>,
    /// The volume attributes classes of a claim: asked for, had, and on the way.
    pub attributes: Option<BTreeSet<String>>,
}

/// The facts of a pod that scopes select by.
#[derive(Clone, Debug, Default)]
pub(super) struct Scopes {
    pub terminating: bool,
    pub best_effort: bool,
    pub cross_namespace: bool,
    pub priority_class: String,
}

impl Charge {
    pub fn of(resource: &GroupResource, v: &Value) -> Self {
        let mut charge = Self { uid: value::text(v, "metadata.uid").to_owned(), ..Self::default() };
        let one = Quantity::units(1);
        let counted = charge_name(resource);
        charge.usage.insert(counted.clone(), one);
        charge.remains.insert(counted, one);
        match (&*resource.group, &*resource.resource) {
            ("", "pods") => charge.pod(v),
            ("", "services") => charge.usage.extend(service(v)),
            ("", "persistentvolumeclaims") => {
                charge.usage.extend(claim(v));
                charge.attributes = Some(attributes(v));
            }
            ("", name @ ("configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas")) => {
                charge.usage.insert(name.to_owned(), one);
            }
            _ => {}
        }
        charge
    }

    fn pod(&mut self, v: &Value) {
        self.scopes = Some(Scopes::of(v));
        if matches!(value::text(v, "status.phase"), "Succeeded" | "Failed") {
            return;
        }
        if let (Ok(at), Some(grace)) =
            (value::text(v, "metadata.deletionTimestamp").parse::<Timestamp>(), value::at(v, "metadata.deletionGracePeriodSeconds").and_then(Value::as_i64))
        {
            self.until = Some(at.0 + grace);
        }
        self.usage.insert("pods".to_owned(), Quantity::units(1));
        let overhead = resources::at(v, "spec.overhead");
        let mut requests = resources::of_pod(v, Side::Requests);
        resources::add(&mut requests, &overhead);
        let mut limits = resources::of_pod(v, Side::Limits);
        let bounded: Resources = overhead.into_iter().filter(|(k, _)| limits.get(k).is_some_and(|q| !q.is_zero())).collect();
        resources::add(&mut limits, &bounded);
        self.usage.extend(compute(&requests, &limits));
    }

    /// At a time in Unix seconds.
    pub fn usage(&self, now: i64) -> &Resources {
        if self.until.is_some_and(|t| now > t) { &self.remains } else { &self.usage }
    }
}

/// `count/pods`, `count/deployments.apps`.
fn charge_name(resource: &GroupResource) -> String {
    format!("count/{resource}")
}

/// Requests and limits by the names of quotas; used for pods and, one by one, for their containers.
pub(super) fn compute(requests: &Resources, limits: &Resources) -> Resources {
    let mut out = Resources::new();
    for (k, q) in requests {
        if matches!(k.as_str(), "cpu" | "memory" | "ephemeral-storage") || k.starts_with("hugepages-") {
            out.insert(k.clone(), *q);
            out.insert(format!("requests.{k}"), *q);
        } else if k.contains('/') {
            out.insert(format!("requests.{k}"), *q);
        }
    }
    for k in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(q) = limits.get(k) {
            out.insert(format!("limits.{k}"), *q);
        }
    }
    out
}

fn service(v: &Value) -> Resources {
    let ports = value::list(v, "spec.ports");
    let kind = value::text(v, "spec.type");
    let allocates = value::at(v, "spec.allocateLoadBalancerNodePorts").is_none_or(|x| x != false);
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if allocates => ports.len(),
        "LoadBalancer" => ports.iter().filter(|p| value::int(p, "nodePort") != 0).count(),
        _ => 0,
    };
    Resources::from([
        ("services".to_owned(), Quantity::units(1)),
        ("services.nodeports".to_owned(), Quantity::units(node_ports as i64)),
        ("services.loadbalancers".to_owned(), Quantity::units(i64::from(kind == "LoadBalancer"))),
    ])
}

fn claim(v: &Value) -> Resources {
    let mut out = Resources::from([("persistentvolumeclaims".to_owned(), Quantity::units(1))]);
    let asked = resources::at(v, "spec.resources.requests").get("storage").copied();
    let given = resources::at(v, "status.allocatedResources").get("storage").copied();
    if let Some(q) = asked.max(given).filter(|_| asked.is_some()) {
        out.insert("requests.storage".to_owned(), q);
    }
    let class = annotation(v, CLASS_ANNOTATION).unwrap_or_else(|| value::text(v, "spec.storageClassName"));
    if !class.is_empty() {
        let of_class: Resources = out.iter().map(|(k, q)| (format!("{class}.storageclass.storage.k8s.io/{k}"), *q)).collect();
        out.extend(of_class);
    }
    out
}

fn attributes(v: &Value) -> BTreeSet<String> {
    let paths = ["spec.volumeAttributesClassName", "status.currentVolumeAttributesClassName", "status.modifyVolumeStatus.targetVolumeAttributesClassName"];
    paths.iter().map(|p| value::text(v, p)).filter(|c| !c.is_empty()).map(str::to_owned).collect()
}

impl Scopes {
    fn of(v: &Value) -> Self {
        Self {
            terminating: value::at(v, "spec.activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|s| s >= 0),
            best_effort: best_effort(v),
            cross_namespace: cross_namespace(v),
            priority_class: value::text(v, "spec.priorityClassName").to_owned(),
        }
    }
}

fn best_effort(v: &Value) -> bool {
    let asks = |r: Resources| r.iter().any(|(k, q)| matches!(k.as_str(), "cpu" | "memory") && q.sign() > 0);
    let sides = [Side::Requests, Side::Limits];
    let whole = sides.iter().any(|s| asks(resources::at(v, &format!("spec.resources.{}", s.key()))));
    let mut containers = value::list(v, "spec.containers").iter().chain(value::list(v, "spec.initContainers"));
    !whole && !containers.any(|c| sides.iter().any(|s| asks(resources::of_container(c, *s))))
}

fn cross_namespace(v: &Value) -> bool {
    let crosses = |term: &Value| !value::list(term, "namespaces").is_empty() || value::at(term, "namespaceSelector").is_some();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let base = format!("spec.affinity.{kind}");
        let required = value::list(v, &format!("{base}.requiredDuringSchedulingIgnoredDuringExecution"));
        let preferred = value::list(v, &format!("{base}.preferredDuringSchedulingIgnoredDuringExecution"));
        required.iter().any(crosses) || preferred.iter().any(|p| value::at(p, "podAffinityTerm").is_some_and(crosses))
    })
}
