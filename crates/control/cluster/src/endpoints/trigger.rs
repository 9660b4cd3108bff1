//! When the change happened that endpoints are written for: the annotation that latency of programming a network is measured by.
//!
//! A service that was not seen before tells its creation; later the earliest of the changes since the last look. Several
//! changes of one pod between two looks count as the last one. Times have seconds, and pods become ready faster: another
//! readiness at the same second is a change, too.
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};

pub(super) const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What was seen of each service at its last reconciliation, by its key.
#[derive(Default)]
pub(super) struct Triggers(Mutex<HashMap<String, Seen>>);

#[derive(Default)]
struct Seen {
    service: Option<Time>,
    /// Each pod's readiness and when it last changed, by name.
    pods: HashMap<String, Ready>,
}

#[derive(Clone)]
struct Ready {
    status: String,
    since: Time,
}

impl Ready {
    fn of(pod: &Pod) -> Option<Self> {
        let ready = pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == "Ready")?;
        Some(Self { status: ready.status.clone(), since: ready.last_transition_time.clone()? })
    }
    fn follows(&self, before: &Self) -> bool {
        before.since.0 < self.since.0 || (before.since.0 == self.since.0 && before.status != self.status)
    }
}

impl Triggers {
    /// The time to write, if anything is written; takes note of what there is.
    pub fn changed(&self, key: &str, service: &Service, pods: &[Pod]) -> Option<String> {
        let created = service.metadata.creation_timestamp.clone();
        let now = Seen { service: created.clone(), pods: pods.iter().filter_map(|p| Some((p.metadata.name.clone()?, Ready::of(p)?))).collect() };
        let before = self.0.lock().insert(key.to_owned(), Seen { service: now.service.clone(), pods: now.pods.clone() });
        let time = match before {
            None => created,
            Some(before) => {
                let newer = now.pods.iter().filter(|(name, r)| before.pods.get(*name).is_none_or(|b| r.follows(b))).map(|(_, r)| r.since.clone());
                let again = now.service.filter(|t| before.service.as_ref().is_none_or(|b| b.0 < t.0));
                newer.chain(again).min_by_key(|t| t.0)
            }
        };
        time.map(|t| t.0.to_string())
    }

    pub fn forget(&self, key: &str) {
        self.0.lock().remove(key);
    }
}

/// `annotations` with the time of the change, or without one.
pub(super) fn annotated(annotations: Option<BTreeMap<String, String>>, time: Option<&str>) -> BTreeMap<String, String> {
    let mut out = annotations.unwrap_or_default();
    match time {
        Some(t) => out.insert(ANNOTATION.into(), t.to_owned()),
        None => out.remove(ANNOTATION),
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn the_earliest_change_since_the_last_look() {
        let service: Service = skiff_json::from_value(json!({"metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z"}})).unwrap();
        let with = |name: &str, status: &str, t: &str| -> Pod {
            skiff_json::from_value(
                json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": t}]}}),
            )
            .unwrap()
        };
        let pod = |name, t| with(name, "True", t);
        let triggers = Triggers::default();
        let at = |pods: &[Pod]| triggers.changed("n/s", &service, pods);
        let old = pod("a", "2026-01-01T00:00:05Z");
        assert_eq!(at(std::slice::from_ref(&old)).as_deref(), Some("2026-01-01T00:00:00Z"), "an unknown service: its creation");
        assert_eq!(at(std::slice::from_ref(&old)), None, "nothing new");
        let pods = [old.clone(), pod("b", "2026-01-01T00:00:09Z"), pod("c", "2026-01-01T00:00:07Z")];
        assert_eq!(at(&pods).as_deref(), Some("2026-01-01T00:00:07Z"));
        let within = [with("a", "False", "2026-01-01T00:00:05Z")];
        assert_eq!(at(&within).as_deref(), Some("2026-01-01T00:00:05Z"), "another readiness within the second");
        assert_eq!(at(&within), None);
        triggers.forget("n/s");
        assert_eq!(at(&pods).as_deref(), Some("2026-01-01T00:00:00Z"));
    }
}
