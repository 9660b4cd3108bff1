//! One pass over a StatefulSet.
use super::{
    identity::{matches, ordinal, revision},
    view::{StatefulSet, StatefulSetStatus},
};
use crate::{
    pod::{Pod, next_available},
    view::Time,
};
use skiff_json::Value;

/// A revision's name and template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Version {
    pub name: String,
    pub template: Value,
}

pub struct Snapshot<'a> {
    pub set: &'a StatefulSet,
    /// The pods that it controls.
    pub pods: &'a [Pod],
    /// What the set is being updated from, and to; the same when it is not.
    pub current: &'a Version,
    pub update: &'a Version,
    pub collisions: i64,
    /// Whether the owners of a pod's claims are not what the retention policy says.
    pub claims_differ: &'a dyn Fn(&Pod) -> bool,
    /// Whether claims of this ordinal still belong to an earlier pod, and will go with it.
    pub claims_stale: &'a dyn Fn(i64) -> bool,
    pub now: Time,
}

/// What to do, in order. In parallel, creations and deletions may go on after one has failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Claims first, then the pod.
    Create {
        ordinal: i64,
        update: bool,
    },
    /// Makes claims that a pending pod lacks.
    Claims {
        pod: String,
    },
    /// Labels, and owners of claims.
    Fix {
        pod: String,
    },
    Delete {
        pod: String,
    },
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub acts: Vec<Act>,
    pub status: StatefulSetStatus,
    /// Look again in so many seconds.
    pub again: Option<i64>,
}

struct Work<'a> {
    s: &'a Snapshot<'a>,
    /// By ordinal, from the first wanted one on.
    replicas: Vec<(i64, Option<&'a Pod>)>,
    /// Highest ordinal first.
    condemned: Vec<(i64, &'a Pod)>,
    acts: Vec<Act>,
}

pub fn plan(s: &Snapshot<'_>) -> Plan {
    let mut status = counts(s);
    let again = (status.ready_replicas != status.available_replicas)
        .then(|| next_available(&s.pods.iter().collect::<Vec<_>>(), s.set.spec.min_ready_seconds, s.now))
        .flatten();
    let mut acts = Vec::new();
    if !s.set.metadata.deleting() {
        let mut w = Work::new(s);
        if w.keep() && w.shrink() {
            status.current_replicas -= w.update();
        }
        acts = w.acts;
    }
    complete(s, &mut status);
    Plan { acts, status, again }
}

fn counts(s: &Snapshot<'_>) -> StatefulSetStatus {
    let count = |f: &dyn Fn(&Pod) -> bool| s.pods.iter().filter(|p| f(p)).count() as i64;
    let of = |version: &str| count(&|p| created(p) && !p.metadata.deleting() && revision(p) == version);
    StatefulSetStatus {
        observed_generation: s.set.metadata.generation,
        replicas: count(&created),
        ready_replicas: count(&running_ready),
        available_replicas: count(&|p| running_ready(p) && p.available(s.set.spec.min_ready_seconds, s.now)),
        current_replicas: of(&s.current.name),
        updated_replicas: of(&s.update.name),
        current_revision: s.current.name.clone(),
        update_revision: s.update.name.clone(),
        collision_count: Some(s.collisions),
        conditions: s.set.status.conditions.clone(),
    }
}

/// An update is over when all pods are new and ready.
fn complete(s: &Snapshot<'_>, status: &mut StatefulSetStatus) {
    let n = s.set.spec.replicas;
    if status.updated_replicas == n && status.ready_replicas == n && status.replicas == n {
        status.current_replicas = n;
        status.current_revision = status.update_revision.clone();
    }
}

fn created(p: &Pod) -> bool {
    !p.status.phase.is_empty()
}
fn running_ready(p: &Pod) -> bool {
    p.status.phase == "Running" && p.ready()
}

impl<'a> Work<'a> {
    fn new(s: &'a Snapshot<'a>) -> Self {
        let spec = &s.set.spec;
        let mut replicas: Vec<(i64, Option<&Pod>)> = (0..spec.replicas).map(|i| (spec.ordinals.start + i, None)).collect();
        let mut condemned = Vec::new();
        for p in s.pods {
            let Some(n) = ordinal(&s.set.metadata.name, &p.metadata.name) else { continue };
            match replicas.iter_mut().find(|(i, _)| *i == n) {
                Some(slot) => slot.1 = Some(p),
                None => condemned.push((n, p)),
            }
        }
        condemned.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        Self { s, replicas, condemned, acts: Vec::new() }
    }
    fn parallel(&self) -> bool {
        self.s.set.spec.parallel()
    }
    fn available(&self, p: &Pod) -> bool {
        p.available(self.s.set.spec.min_ready_seconds, self.s.now)
    }
    fn usable(&self, p: Option<&Pod>) -> bool {
        p.is_some_and(|p| self.available(p) && !p.metadata.deleting())
    }
    /// The wanted pods; false when order says to wait.
    fn keep(&mut self) -> bool {
        for i in 0..self.replicas.len() {
            let (n, pod) = self.replicas[i];
            let go_on = match pod {
                Some(p) => self.keep_pod(p),
                None => self.make(n),
            };
            if !go_on {
                return false;
            }
        }
        true
    }
    fn make(&mut self, ordinal: i64) -> bool {
        if (self.s.claims_stale)(ordinal) {
            return self.parallel();
        }
        self.acts.push(Act::Create { ordinal, update: !self.old_version(ordinal) });
        self.parallel()
    }
    /// Ordinals below the partition, or not reached by a rolling update yet, come back as they were.
    fn old_version(&self, ordinal: i64) -> bool {
        let set = self.s.set;
        let start = set.spec.ordinals.start;
        let rolling = !matches!(set.spec.update_strategy.kind.as_str(), "OnDelete" | "Recreate");
        match &set.spec.update_strategy.rolling_update {
            None => rolling && ordinal < start + set.status.current_replicas,
            Some(r) => ordinal < start + r.partition,
        }
    }
    fn keep_pod(&mut self, p: &Pod) -> bool {
        let name = p.metadata.name.clone();
        if p.terminal() {
            if !p.metadata.deleting() {
                self.acts.push(Act::Delete { pod: name });
            }
            return self.parallel();
        }
        if p.status.phase == "Pending" {
            self.acts.push(Act::Claims { pod: name.clone() });
        }
        if !self.parallel() && (p.metadata.deleting() || !running_ready(p) || !self.available(p)) {
            return false;
        }
        if !matches(self.s.set, p) || (self.s.claims_differ)(p) {
            self.acts.push(Act::Fix { pod: name });
        }
        true
    }
    /// The unwanted pods, highest ordinal first; false when order says to wait.
    fn shrink(&mut self) -> bool {
        let unhealthy = self.first_unavailable();
        for (_, p) in self.condemned.clone() {
            if (self.s.claims_differ)(p) {
                self.acts.push(Act::Fix { pod: p.metadata.name.clone() });
            }
        }
        for (n, p) in self.condemned.clone() {
            let waits = !self.parallel() && (p.metadata.deleting() || (unhealthy != Some(n) && !(running_ready(p) && self.available(p))));
            if waits {
                return false;
            }
            if !p.metadata.deleting() {
                self.acts.push(Act::Delete { pod: p.metadata.name.clone() });
                if !self.parallel() {
                    return false;
                }
            }
        }
        true
    }
    fn first_unavailable(&self) -> Option<i64> {
        let wanted = self.replicas.iter().find(|(_, p)| !self.usable(*p)).map(|(n, _)| *n);
        wanted.or_else(|| self.condemned.iter().rev().find(|(_, p)| !self.usable(Some(p))).map(|(n, _)| *n))
    }
    /// Takes pods of older revisions away, highest ordinal first, within what may be unavailable. Returns how many.
    fn update(&mut self) -> i64 {
        if matches!(self.s.set.spec.update_strategy.kind.as_str(), "OnDelete" | "Recreate") {
            return 0;
        }
        // A pod that this pass makes is as unavailable as one that is not ready.
        let unavailable = self.replicas.iter().filter(|(_, p)| !self.usable(*p)).count() as i64;
        let mut budget = self.s.set.spec.max_unavailable() - unavailable;
        let partition = usize::try_from(self.s.set.spec.partition()).unwrap_or(0);
        let old: Vec<&Pod> = self
            .replicas
            .iter()
            .skip(partition)
            .rev()
            .filter_map(|(_, p)| *p)
            .filter(|p| revision(p) != self.s.update.name && !p.metadata.deleting())
            .collect();
        let mut gone = 0;
        for p in old {
            let free = self.parallel() && !self.available(p);
            if !free {
                if budget <= 0 {
                    continue;
                }
                budget -= 1;
            }
            if !self.acts.contains(&Act::Delete { pod: p.metadata.name.clone() }) {
                self.acts.push(Act::Delete { pod: p.metadata.name.clone() });
            }
            gone += i64::from(revision(p) == self.s.current.name);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pod::tests::pod,
        statefulset::identity::{POD_NAME, REVISION},
    };
    use skiff_json::json;

    /// `ordinal:state:revision`; state is one of ready, pending, dying, failed.
    fn pods(text: &str) -> Vec<Pod> {
        let one = |t: &str| {
            let mut parts = t.split(':');
            let (n, state, version) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or("v1"));
            let name = format!("db-{n}");
            let mut p = match state {
                "ready" => pod(&name, "Running", Some(0), "x"),
                "dying" => pod(&name, "Running-", Some(0), "x"),
                "failed" => pod(&name, "Failed", None, "x"),
                _ => pod(&name, "Pending", None, ""),
            };
            p.metadata.labels = [(POD_NAME.to_owned(), name), (REVISION.to_owned(), version.to_owned())].into();
            p
        };
        text.split_whitespace().map(one).collect()
    }
    fn acts(replicas: i64, policy: &str, extra: Value, existing: &str, update: &str) -> Vec<String> {
        let mut spec =
            json!({"replicas": replicas, "podManagementPolicy": policy, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}});
        for (k, v) in extra.as_object().unwrap() {
            spec[k] = v.clone();
        }
        let set: StatefulSet = skiff_json::from_value(json!({"metadata": {"name": "db"}, "spec": spec})).unwrap();
        let version = |n: &str| Version { name: n.into(), ..Default::default() };
        let pods = pods(existing);
        let s = Snapshot {
            set: &set,
            pods: &pods,
            current: &version("v1"),
            update: &version(update),
            collisions: 0,
            claims_differ: &|_| false,
            claims_stale: &|_| false,
            now: Time(100),
        };
        let show = |a: &Act| match a {
            Act::Create { ordinal, update } => format!("+{ordinal}{}", if *update { "" } else { "old" }),
            Act::Delete { pod } => format!("-{}", pod.trim_start_matches("db-")),
            Act::Claims { .. } => String::new(),
            Act::Fix { pod } => format!("!{pod}"),
        };
        plan(&s).acts.iter().map(show).filter(|s| !s.is_empty()).collect()
    }

    #[test]
    fn in_order() {
        for (n, existing, expected) in [
            (3, "", vec!["+0"]),
            (3, "0:pending", vec![]),
            (3, "0:ready", vec!["+1"]),
            (3, "0:ready 1:ready 2:ready", vec![]),
            (3, "0:ready 2:ready", vec!["+1"]),
            (3, "0:failed 1:ready", vec!["-0"]),
            (3, "0:dying 1:ready", vec![]),
            (1, "0:ready 1:ready 2:ready", vec!["-2"]),
            (1, "0:ready 1:ready 2:dying", vec![]),
            (1, "0:ready 1:pending 2:ready", vec!["-2"]),
            (1, "0:pending 1:ready 2:ready", vec![]),
        ] {
            assert_eq!(acts(n, "OrderedReady", json!({}), existing, "v1"), expected, "{n} {existing}");
        }
    }
    #[test]
    fn in_parallel() {
        for (n, existing, expected) in [(3, "", vec!["+0", "+1", "+2"]), (1, "0:ready 1:ready 2:pending", vec!["-2", "-1"]), (2, "0:failed", vec!["-0", "+1"])]
        {
            assert_eq!(acts(n, "Parallel", json!({}), existing, "v1"), expected, "{n} {existing}");
        }
    }
    #[test]
    fn updates_go_from_the_highest_down() {
        let rolling =
            |partition: i64, most: i64| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition, "maxUnavailable": most}}});
        for (policy, extra, existing, expected) in [
            ("OrderedReady", json!({}), "0:ready 1:ready 2:ready", vec!["-2"]),
            ("OrderedReady", json!({}), "0:ready 1:ready 2:ready:v2", vec!["-1"]),
            ("OrderedReady", json!({}), "0:ready 1:ready 2:dying", vec![]),
            ("OrderedReady", json!({}), "0:ready 1:ready", vec!["+2"]),
            ("OrderedReady", json!({}), "0:ready 1:ready 2:pending:v2", vec![]),
            ("OrderedReady", rolling(2, 1), "0:ready 1:ready 2:ready:v2", vec![]),
            ("OrderedReady", rolling(2, 1), "0:ready 2:ready:v2", vec!["+1old"]),
            ("OrderedReady", rolling(0, 2), "0:ready 1:ready 2:ready", vec!["-2", "-1"]),
            ("Parallel", rolling(0, 1), "0:ready 1:ready 2:pending", vec!["-2"]),
            ("Parallel", rolling(0, 2), "0:ready 1:ready 2:dying", vec!["-1"]),
            ("OrderedReady", json!({"updateStrategy": {"type": "OnDelete"}}), "0:ready 1:ready", vec!["+2"]),
            ("OrderedReady", json!({"updateStrategy": {"type": "OnDelete"}}), "0:ready 1:ready 2:ready", vec![]),
        ] {
            assert_eq!(acts(3, policy, extra.clone(), existing, "v2"), expected, "{policy} {extra} {existing}");
        }
    }
    #[test]
    fn ordinals_may_start_later() {
        let extra = json!({"ordinals": {"start": 2}});
        assert_eq!(acts(2, "OrderedReady", extra.clone(), "2:ready 3:ready 1:ready", "v1"), ["-1"]);
        assert_eq!(acts(2, "OrderedReady", extra, "2:ready", "v1"), ["+3"]);
    }
    #[test]
    fn an_update_ends_in_the_status() {
        let set: StatefulSet = skiff_json::from_value(json!({"metadata": {"name": "db"}, "spec": {"replicas": 2}})).unwrap();
        let version = |n: &str| Version { name: n.into(), ..Default::default() };
        let pods = pods("0:ready:v2 1:ready:v2");
        let s = Snapshot {
            set: &set,
            pods: &pods,
            current: &version("v1"),
            update: &version("v2"),
            collisions: 0,
            claims_differ: &|_| false,
            claims_stale: &|_| false,
            now: Time(100),
        };
        let status = plan(&s).status;
        assert_eq!((status.current_revision.as_str(), status.current_replicas, status.updated_replicas), ("v2", 2, 2));
    }
}
