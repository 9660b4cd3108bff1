//! Amounts that pods ask for and nodes have.
use k8s_openapi::api::core::v1::{Container, PodSpec, PodStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use skiff_meta::Quantity;
use std::collections::BTreeMap;

/// CPU in millicores, memory and ephemeral storage in bytes, the rest by name in whole units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    pub milli_cpu: i64,
    pub memory: i64,
    pub ephemeral: i64,
    pub extended: BTreeMap<String, i64>,
}

/// What scoring takes for containers that ask for nothing: millicores and bytes.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 << 20;

impl Resources {
    pub fn of(list: &BTreeMap<String, Wire>) -> Self {
        let mut r = Self::default();
        for (name, q) in list {
            let Ok(q) = q.0.parse::<Quantity>() else { continue };
            match name.as_str() {
                "cpu" => r.milli_cpu = q.milli_value(),
                "memory" => r.memory = q.value(),
                "ephemeral-storage" => r.ephemeral = q.value(),
                "pods" => {}
                other => drop(r.extended.insert(other.to_owned(), q.value())),
            }
        }
        r
    }
    pub fn add(&mut self, o: &Self) {
        self.milli_cpu += o.milli_cpu;
        self.memory += o.memory;
        self.ephemeral += o.ephemeral;
        for (k, v) in &o.extended {
            *self.extended.entry(k.clone()).or_default() += v;
        }
    }
    pub fn sub(&mut self, o: &Self) {
        self.milli_cpu -= o.milli_cpu;
        self.memory -= o.memory;
        self.ephemeral -= o.ephemeral;
        for (k, v) in &o.extended {
            *self.extended.entry(k.clone()).or_default() -= v;
        }
    }
    fn raise(&mut self, o: &Self) {
        self.milli_cpu = self.milli_cpu.max(o.milli_cpu);
        self.memory = self.memory.max(o.memory);
        self.ephemeral = self.ephemeral.max(o.ephemeral);
        for (k, v) in &o.extended {
            let e = self.extended.entry(k.clone()).or_default();
            *e = (*e).max(*v);
        }
    }
}

fn requests(r: Option<&ResourceRequirements>) -> Resources {
    r.and_then(|r| r.requests.as_ref()).map(Resources::of).unwrap_or_default()
}
fn scored(c: &Container, status: &PodStatus) -> Resources {
    let mut r = asked(c, status);
    let asks = |name: &str| c.resources.as_ref().and_then(|r| r.requests.as_ref()).is_some_and(|m| m.contains_key(name));
    if !asks("cpu") {
        r.milli_cpu = DEFAULT_MILLI_CPU;
    }
    if !asks("memory") {
        r.memory = DEFAULT_MEMORY;
    }
    r
}

/// While a container is resized, the greatest of what it asks for, was allotted and has; what can never be given to it
/// does not count (KEP-1287).
fn asked(c: &Container, status: &PodStatus) -> Resources {
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let Some(s) = all.into_iter().find(|s| s.name == c.name) else { return requests(c.resources.as_ref()) };
    let infeasible = status.conditions.iter().flatten().any(|c| c.type_ == "PodResizePending" && c.reason.as_deref() == Some("Infeasible"));
    let mut r = if infeasible { Resources::default() } else { requests(c.resources.as_ref()) };
    s.allocated_resources.as_ref().inspect(|a| r.raise(&Resources::of(a)));
    r.raise(&requests(s.resources.as_ref()));
    r
}

/// What a pod occupies: containers and sidecars together, or the largest init container with the sidecars before it;
/// pod-level requests win; overhead on top (KEP-753, KEP-2837). With `score`, empty requests count as the defaults.
pub(crate) fn of_pod(spec: &PodSpec, status: &PodStatus, score: bool) -> Resources {
    let one = |c: &Container| if score { scored(c, status) } else { asked(c, status) };
    let mut total = Resources::default();
    spec.containers.iter().for_each(|c| total.add(&one(c)));
    let (mut sidecars, mut init) = (Resources::default(), Resources::default());
    for c in spec.init_containers.iter().flatten() {
        if c.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&one(c));
            init.raise(&sidecars);
        } else {
            let mut with = one(c);
            with.add(&sidecars);
            init.raise(&with);
        }
    }
    total.add(&sidecars);
    total.raise(&init);
    if let Some(own) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        let given = Resources::of(own);
        if own.contains_key("cpu") {
            total.milli_cpu = given.milli_cpu;
        }
        if own.contains_key("memory") {
            total.memory = given.memory;
        }
        for (k, v) in given.extended.iter().filter(|(k, _)| k.starts_with("hugepages-")) {
            total.extended.insert(k.clone(), *v);
        }
    }
    if let Some(o) = &spec.overhead {
        total.add(&Resources::of(o));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milli_cpu(reason: &str) -> i64 {
        let spec = skiff_json::json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "2"}}}]});
        let status = skiff_json::json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0, "allocatedResources": {"cpu": "500m"}, "resources": {"requests": {"cpu": "1"}}}],
            "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}]});
        of_pod(&skiff_json::from_value(spec).unwrap(), &skiff_json::from_value(status).unwrap(), false).milli_cpu
    }

    #[test]
    fn a_pod_being_resized_occupies_the_most_that_it_may_have() {
        assert_eq!((milli_cpu("Deferred"), milli_cpu("Infeasible")), (2000, 1000));
    }
}
