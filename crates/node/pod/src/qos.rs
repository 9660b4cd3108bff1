//! Quality of service: <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
use crate::view;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    pub fn as_str(self) -> &'static str {
        match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        }
    }
}
impl fmt::Display for Qos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The class in the pod's status when it is there (it never changes), otherwise worked out.
pub fn of(pod: &Pod) -> Qos {
    match pod.status.as_ref().and_then(|s| s.qos_class.as_deref()) {
        Some("Guaranteed") => Qos::Guaranteed,
        Some("Burstable") => Qos::Burstable,
        Some("BestEffort") => Qos::BestEffort,
        _ => computed(pod),
    }
}

pub fn computed(pod: &Pod) -> Qos {
    let all: Vec<&Container> = view::containers(pod).iter().chain(view::init_containers(pod)).collect();
    let pod_level = view::spec(pod).resources.as_ref();
    let named = |list: Option<&view::ResourceList>| ["cpu", "memory"].iter().any(|r| view::quantity(list, r).is_some_and(|q| !q.is_zero()));
    if let Some(r) = pod_level.filter(|r| named(r.requests.as_ref()) || named(r.limits.as_ref())) {
        let same = ["cpu", "memory"].iter().all(|res| {
            let limit = view::quantity(r.limits.as_ref(), res).filter(|q| !q.is_zero());
            limit.is_some() && view::quantity(r.requests.as_ref(), res).is_none_or(|q| Some(q) == limit)
        });
        return if same { Qos::Guaranteed } else { Qos::Burstable };
    }
    let any = all.iter().filter_map(|c| c.resources.as_ref()).any(|r| named(r.requests.as_ref()) || named(r.limits.as_ref()));
    if !any {
        return Qos::BestEffort;
    }
    let guaranteed = all.iter().all(|c| {
        ["cpu", "memory"].iter().all(|r| {
            let limit = view::limit(c, r).filter(|q| !q.is_zero());
            limit.is_some() && view::request(c, r).is_none_or(|q| Some(q) == limit)
        })
    });
    if guaranteed { Qos::Guaranteed } else { Qos::Burstable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::pod;

    #[test]
    fn classes() {
        for (resources, want) in [
            ("{}", Qos::BestEffort),
            (r#"{"requests":{"cpu":"1"}}"#, Qos::Burstable),
            (r#"{"limits":{"cpu":"1"}}"#, Qos::Burstable),
            (r#"{"limits":{"cpu":"1","memory":"1Gi"}}"#, Qos::Guaranteed),
            (r#"{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m","memory":"1024Mi"}}"#, Qos::Guaranteed),
            (r#"{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}}"#, Qos::Burstable),
            (r#"{"requests":{"cpu":"0"}}"#, Qos::BestEffort),
        ] {
            let p = pod(&format!(r#"{{"containers":[{{"name":"a","resources":{resources}}}]}}"#));
            assert_eq!(of(&p), want, "{resources}");
        }
    }
}
