//! What a ResourceQuota says: its hard bounds and which objects they are about. Pure.
use super::charge::{Charge, compute};
use crate::{
    resources::{self, Resources, Side},
    value,
};
use skiff_json::Value;
use skiff_meta::GroupResource;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Bounds {
    pub name: String,
    /// Those of the bounds that are about the resource asked for.
    pub hard: Resources,
    selectors: Vec<Selector>,
}

struct Selector {
    scope: String,
    operator: String,
    values: Vec<String>,
}

impl Bounds {
    /// None when the quota bounds nothing of this resource.
    pub fn of(quota: &Value, resource: &GroupResource) -> Option<Self> {
        let hard: Resources = resources::at(quota, "spec.hard").into_iter().filter(|(k, _)| concerns(resource, k)).collect();
        if hard.is_empty() {
            return None;
        }
        let text = |v: &Value, k| value::text(v, k).to_owned();
        let plain = value::list(quota, "spec.scopes").iter().filter_map(Value::as_str).map(|s| Selector {
            scope: s.to_owned(),
            operator: "Exists".into(),
            values: Vec::new(),
        });
        let selected = value::list(quota, "spec.scopeSelector.matchExpressions").iter().map(|e| Selector {
            scope: text(e, "scopeName"),
            operator: text(e, "operator"),
            values: value::list(e, "values").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        });
        Some(Self { name: text(quota, "metadata.name"), hard, selectors: plain.chain(selected).collect() })
    }

    pub fn covers(&self, charge: &Charge) -> bool {
        self.selectors.iter().all(|s| s.matches(charge))
    }

    /// A quota of cpu or memory wants every container to say what it needs. The text of what is missing.
    pub fn missing(&self, pod: &Value) -> Option<String> {
        const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
        if ["requests", "limits"].iter().any(|s| value::map(pod, &format!("spec.resources.{s}")).is_some_and(|m| !m.is_empty())) {
            return None;
        }
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for c in value::list(pod, "spec.containers").iter().chain(value::list(pod, "spec.initContainers")) {
            let said = compute(&resources::of_container(c, Side::Requests), &resources::of_container(c, Side::Limits));
            for name in REQUIRED.iter().filter(|n| self.hard.contains_key(**n) && !said.contains_key(**n)) {
                missing.entry(name).or_default().insert(value::text(c, "name"));
            }
        }
        let list: Vec<String> = missing.iter().map(|(k, who)| format!("{k} for: {}", who.iter().copied().collect::<Vec<_>>().join(","))).collect();
        (!list.is_empty()).then(|| format!("must specify {}", list.join("; ")))
    }
}

impl Selector {
    fn matches(&self, charge: &Charge) -> bool {
        if self.scope == "VolumeAttributesClass" {
            return charge.attributes.as_ref().is_some_and(|classes| self.selects(classes));
        }
        let Some(facts) = &charge.scopes else { return false };
        let class = &facts.priority_class;
        match self.scope.as_str() {
            "Terminating" => facts.terminating,
            "NotTerminating" => !facts.terminating,
            "BestEffort" => facts.best_effort,
            "NotBestEffort" => !facts.best_effort,
            "CrossNamespacePodAffinity" => facts.cross_namespace,
            "PriorityClass" => match self.operator.as_str() {
                "In" => !class.is_empty() && self.values.contains(class),
                "NotIn" => class.is_empty() || !self.values.contains(class),
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            },
            _ => false,
        }
    }

    /// Whether one of the classes fits; an object of no class is one without the label that upstream makes of it.
    fn selects(&self, classes: &BTreeSet<String>) -> bool {
        match self.operator.as_str() {
            "In" => classes.iter().any(|c| self.values.contains(c)),
            "NotIn" => classes.is_empty() || classes.iter().any(|c| !self.values.contains(c)),
            "DoesNotExist" => classes.is_empty(),
            _ => !classes.is_empty(),
        }
    }
}

/// Whether a quota's resource name is about objects of this resource.
fn concerns(resource: &GroupResource, name: &str) -> bool {
    if let Some(counted) = name.strip_prefix("count/") {
        return counted == resource.to_string();
    }
    if !resource.group.is_empty() {
        return false;
    }
    match &*resource.resource {
        "pods" => {
            let compute = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
            let extended = name.strip_prefix("requests.").is_some_and(|n| n.contains('/'));
            name == "pods"
                || matches!(compute, "cpu" | "memory" | "ephemeral-storage")
                || name.strip_prefix("requests.").unwrap_or(name).starts_with("hugepages-")
                || extended
        }
        "persistentvolumeclaims" => {
            let bare = name.split_once(".storageclass.storage.k8s.io/").map_or(name, |(_, rest)| rest);
            matches!(bare, "persistentvolumeclaims" | "requests.storage")
        }
        "services" => matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
        other @ ("configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas") => name == other,
        _ => false,
    }
}
