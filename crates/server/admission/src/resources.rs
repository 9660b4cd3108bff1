//! Sums of the resources that a pod asks for (the pod-level sums of KEP-753 and KEP-2837).
use crate::value;
use skiff_json::Value;
use skiff_meta::Quantity;
use std::collections::BTreeMap;

pub(crate) type Resources = BTreeMap<String, Quantity>;

/// `requests` or `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Requests,
    Limits,
}

impl Side {
    pub fn key(self) -> &'static str {
        match self {
            Side::Requests => "requests",
            Side::Limits => "limits",
        }
    }
}

/// The map of quantities at `path`; what is no quantity is left out (validation refuses it).
pub(crate) fn at(v: &Value, path: &str) -> Resources {
    value::map(v, path).into_iter().flatten().filter_map(|(k, q)| Some((k.to_string(), quantity(q)?))).collect()
}

fn quantity(v: &Value) -> Option<Quantity> {
    match v {
        Value::String(s) => s.parse().ok(),
        Value::Number(n) => n.to_string().parse().ok(),
        _ => None,
    }
}

pub(crate) fn of_container(c: &Value, side: Side) -> Resources {
    at(c, &format!("resources.{}", side.key()))
}

pub(crate) fn add(into: &mut Resources, more: &Resources) {
    for (k, q) in more {
        let sum = into.get(k).copied().unwrap_or_default() + *q;
        into.insert(k.clone(), sum);
    }
}

fn raise(into: &mut Resources, to: &Resources) {
    for (k, q) in to {
        let highest = into.get(k).map_or(*q, |x| (*x).max(*q));
        into.insert(k.clone(), highest);
    }
}

/// What the pod's containers need at most at one time, without overhead; set on the pod itself, cpu, memory and huge
/// pages are what the pod says.
pub(crate) fn of_pod(pod: &Value, side: Side) -> Resources {
    let (mut total, mut sidecars, mut init) = (Resources::new(), Resources::new(), Resources::new());
    for c in value::list(pod, "spec.containers") {
        add(&mut total, &of_container(c, side));
    }
    for c in value::list(pod, "spec.initContainers") {
        let own = of_container(c, side);
        if value::text(c, "restartPolicy") == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            raise(&mut init, &sidecars);
        } else {
            let mut beside = own;
            add(&mut beside, &sidecars);
            raise(&mut init, &beside);
        }
    }
    raise(&mut total, &init);
    for (k, q) in at(pod, &format!("spec.resources.{}", side.key())) {
        if matches!(k.as_str(), "cpu" | "memory") || k.starts_with("hugepages-") {
            total.insert(k, q);
        }
    }
    total
}
