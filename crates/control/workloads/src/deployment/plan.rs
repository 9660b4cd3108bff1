//! One pass over a Deployment.
use super::{
    annotate, rollout,
    status::{self, PROGRESSING, new_condition},
    view::{Deployment, DeploymentStatus, HASH_LABEL, REVISION, Set},
};
use crate::{
    hash::template_hash,
    replicaset::ReplicaSet,
    view::{Labels, Time, condition},
};
use skiff_json::{Value, json};

pub struct Snapshot {
    pub deployment: Deployment,
    /// The ReplicaSets that it controls.
    pub sets: Vec<ReplicaSet>,
    /// For Recreate: whether pods of ReplicaSets other than the new one still run. Asked with the new one's uid.
    pub old_pods_run: bool,
    pub now: Time,
}

/// A ReplicaSet to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    pub name: String,
    pub from: i64,
    pub to: i64,
    pub annotations: Labels,
    pub min_ready_seconds: i64,
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Option<Value>,
    pub resize: Vec<Resize>,
    /// Names of ReplicaSets of the history that go.
    pub delete: Vec<String>,
    /// What the Deployment's revision annotation must be.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    /// Look again in so many seconds.
    pub again: Option<i64>,
}

/// What stays fixed while a plan is made.
struct Work {
    d: Deployment,
    sets: Vec<Set>,
    before: Vec<ReplicaSet>,
    new: Option<usize>,
    now: Time,
    /// All sizes are written with fresh size annotations, changed or not.
    mark_sizes: bool,
    create: Option<Value>,
}

pub fn plan(s: Snapshot) -> Plan {
    let Snapshot { deployment: d, mut sets, old_pods_run, now } = s;
    sets.sort_by(|a, b| (a.metadata.creation_timestamp, &a.metadata.name).cmp(&(b.metadata.creation_timestamp, &b.metadata.name)));
    let sized: Vec<Set> = sets.iter().cloned().map(Set::new).collect();
    let new = sized.iter().position(|s| s.runs(&d.spec.template));
    let mut w = Work { d, sets: sized, before: sets, new, now, mark_sizes: false, create: None };
    if w.d.metadata.deleting() {
        return w.finish(false, false);
    }
    status::pause(&w.d.spec, &mut w.d.status.conditions, now);
    if w.d.spec.paused || w.scaled() {
        w.annotate_new();
        let old = w.d.status.replicas;
        w.mark_sizes = w.sets.iter().filter(|s| s.size > 0).count() > 1 && w.d.spec.rolling();
        rollout::scale(&w.d.spec, old, &mut w.sets, w.new);
        let clean = w.d.spec.paused;
        return w.finish(false, clean);
    }
    if w.d.spec.rolling() {
        w.ensure_new();
        if let Some(i) = w.new {
            rollout::rolling(&w.d.spec, &mut w.sets, i);
        }
    } else {
        w.recreate(old_pods_run);
    }
    w.finish(true, true)
}

impl Work {
    /// The wanted count is not the one that the running ReplicaSets were sized for.
    fn scaled(&self) -> bool {
        self.sets.iter().filter(|s| s.size > 0).any(|s| s.desired().is_some_and(|n| n != self.d.spec.replicas))
    }
    fn next_revision(&self) -> i64 {
        let old = self.sets.iter().enumerate().filter(|(i, _)| Some(*i) != self.new);
        old.filter_map(|(_, s)| s.revision()).max().unwrap_or(0) + 1
    }
    /// Brings the annotations of the new ReplicaSet, and progress, up to date.
    fn annotate_new(&mut self) {
        let next = self.next_revision();
        let Some(new) = self.new.and_then(|i| self.sets.get_mut(i)) else { return };
        new.rs.metadata.annotations = annotate::of_new_set(&self.d.metadata.annotations, &new.rs.metadata.annotations, next);
        new.rs.spec.min_ready_seconds = self.d.spec.min_ready_seconds;
        if self.d.spec.deadline().is_some() && condition(&self.d.status.conditions, PROGRESSING).is_none() {
            let text = format!("Found new replica set {:?}", new.name());
            status::set(&mut self.d.status.conditions, new_condition(PROGRESSING, "True", "FoundNewReplicaSet", text, self.now));
        }
    }
    fn ensure_new(&mut self) {
        if self.new.is_some() {
            return self.annotate_new();
        }
        let object = self.new_set();
        let set = match skiff_client::view::<ReplicaSet>(&object) {
            Ok(rs) => Set::new(rs),
            Err(_) => return,
        };
        if self.d.spec.deadline().is_some() {
            let text = format!("Created new replica set {:?}", set.name());
            status::set(&mut self.d.status.conditions, new_condition(PROGRESSING, "True", "NewReplicaSetCreated", text, self.now));
        }
        self.create = Some(object);
        self.new = Some(self.sets.len());
        self.sets.push(set);
    }
    /// The ReplicaSet of the present template; its name is the template's hash, so that making it twice makes one.
    fn new_set(&self) -> Value {
        let d = &self.d;
        let mut template = super::view::without_hash(&d.spec.template);
        let hash = template_hash(&template, d.status.collision_count);
        template["metadata"]["labels"][HASH_LABEL] = hash.clone().into();
        let mut selector = d.spec.selector.json();
        selector["matchLabels"][HASH_LABEL] = hash.clone().into();
        let all: i64 = self.sets.iter().map(|s| s.size).sum();
        let mut annotations = annotate::of_new_set(&d.metadata.annotations, &Labels::new(), self.next_revision());
        annotations.extend(annotate::sizes(&d.spec).map(|(k, v)| (k.to_owned(), v)));
        let mut prefix = d.metadata.name.clone();
        prefix.truncate(253 - 1 - hash.len());
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{prefix}-{hash}"), "namespace": d.metadata.namespace,
                "labels": template["metadata"]["labels"], "annotations": annotations,
                "ownerReferences": [d.metadata.controller_ref("apps/v1", "Deployment")],
            },
            "spec": {
                "replicas": rollout::new_size(&d.spec, all, 0), "minReadySeconds": d.spec.min_ready_seconds,
                "selector": selector, "template": template,
            },
        })
    }
    /// All old pods go before the first new one comes.
    fn recreate(&mut self, old_pods_run: bool) {
        self.annotate_new();
        let new = self.new;
        let old = self.sets.iter_mut().enumerate().filter(|(i, _)| Some(*i) != new);
        let mut shrunk = false;
        let mut running = old_pods_run;
        for (_, s) in old {
            shrunk |= s.size > 0;
            running |= s.rs.status.replicas > 0;
            s.size = 0;
        }
        if shrunk || running {
            return;
        }
        self.ensure_new();
        if let Some(s) = self.new.and_then(|i| self.sets.get_mut(i)) {
            s.size = self.d.spec.replicas;
        }
    }
    fn resizes(&self) -> Vec<Resize> {
        let sizes = annotate::sizes(&self.d.spec);
        let mut out = Vec::new();
        for (old, s) in self.before.iter().zip(&self.sets) {
            let mut annotations = s.rs.metadata.annotations.clone();
            if s.size != old.spec.replicas || (self.mark_sizes && old.spec.replicas > 0) {
                annotations.extend(sizes.clone().map(|(k, v)| (k.to_owned(), v)));
            }
            let changed = s.size != old.spec.replicas || annotations != old.metadata.annotations || s.rs.spec.min_ready_seconds != old.spec.min_ready_seconds;
            if changed {
                out.push(Resize {
                    name: old.metadata.name.clone(),
                    from: old.spec.replicas,
                    to: s.size,
                    annotations,
                    min_ready_seconds: s.rs.spec.min_ready_seconds,
                });
            }
        }
        out
    }
    /// Old, empty ReplicaSets beyond the history's limit, lowest revision first.
    fn surplus_history(&self) -> Vec<String> {
        let Some(limit) = self.d.spec.history() else { return vec![] };
        let mut old: Vec<&ReplicaSet> =
            self.before.iter().enumerate().filter(|(i, rs)| Some(*i) != self.new && !rs.metadata.deleting()).map(|(_, rs)| rs).collect();
        let surplus = old.len().saturating_sub(limit);
        let revision = |rs: &ReplicaSet| rs.metadata.annotation(REVISION).and_then(|r| r.parse::<i64>().ok()).unwrap_or(0);
        old.sort_by_key(|rs| (revision(rs), rs.metadata.creation_timestamp));
        let empty = |rs: &&ReplicaSet| rs.status.replicas == 0 && rs.spec.replicas == 0 && rs.metadata.generation <= rs.status.observed_generation;
        old.into_iter().take(surplus).filter(empty).map(|rs| rs.metadata.name.clone()).collect()
    }
    fn finish(self, progress: bool, clean: bool) -> Plan {
        let status = match progress {
            true => status::rollout(&self.d, &self.sets, self.new, self.now),
            false => status::counts(&self.d, &self.sets, self.new, self.now),
        };
        let clean = clean && (self.d.spec.paused || status::complete(&self.d, &self.d.status));
        let revision = self.new.and_then(|i| self.sets[i].rs.metadata.annotations.get(REVISION)).cloned();
        Plan {
            resize: if self.d.metadata.deleting() { vec![] } else { self.resizes() },
            delete: if clean { self.surplus_history() } else { vec![] },
            revision: revision.filter(|r| self.d.metadata.annotation(REVISION) != Some(r) && !self.d.metadata.deleting()),
            again: if progress { status::check_in(&self.d, &status, self.now) } else { None },
            create: self.create,
            status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::view::{DESIRED, MAX};

    fn deployment(replicas: i64, image: &str, kind: &str) -> Deployment {
        skiff_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "d", "generation": 1},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 1,
                "strategy": {"type": kind, "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}, "template": template(image)}
        }))
        .unwrap()
    }
    fn template(image: &str) -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
    }
    fn set(name: &str, image: &str, revision: i64, size: i64, running: i64, at: i64) -> ReplicaSet {
        let mut t = template(image);
        t["metadata"]["labels"][HASH_LABEL] = name.into();
        let mut rs: ReplicaSet = skiff_json::from_value(json!({
            "metadata": {"name": name, "annotations": {REVISION: revision.to_string(), DESIRED: "4", MAX: "5"}},
            "spec": {"replicas": size, "template": t}, "status": {"replicas": running, "availableReplicas": running}
        }))
        .unwrap();
        rs.metadata.creation_timestamp = Some(Time(at));
        rs
    }
    fn planned(d: Deployment, sets: Vec<ReplicaSet>, old_pods_run: bool) -> Plan {
        plan(Snapshot { deployment: d, sets, old_pods_run, now: Time(50) })
    }
    fn sizes(p: &Plan) -> Vec<(String, i64)> {
        p.resize.iter().filter(|r| r.from != r.to).map(|r| (r.name.clone(), r.to)).collect()
    }

    #[test]
    fn the_first_set_is_made_whole() {
        let p = planned(deployment(4, "a", "RollingUpdate"), vec![], false);
        let made = p.create.unwrap();
        assert_eq!(made["spec"]["replicas"], 4);
        let hash = made["metadata"]["labels"][HASH_LABEL].as_str().unwrap();
        assert_eq!(made["metadata"]["name"], format!("web-{hash}"));
        assert_eq!(made["spec"]["selector"]["matchLabels"][HASH_LABEL], hash);
        assert_eq!(made["metadata"]["annotations"], json!({DESIRED: "4", MAX: "5", REVISION: "1"}));
        assert_eq!(p.revision.as_deref(), Some("1"));
        assert_eq!(condition(&p.status.conditions, PROGRESSING).unwrap().reason, "NewReplicaSetCreated");
        assert_eq!(p.again, Some(601));
    }

    #[test]
    fn a_new_template_rolls() {
        let p = planned(deployment(4, "b", "RollingUpdate"), vec![set("old", "a", 1, 4, 4, 1)], false);
        assert_eq!(p.create.as_ref().unwrap()["spec"]["replicas"], 1);
        assert_eq!(p.create.as_ref().unwrap()["metadata"]["annotations"][REVISION], "2");
        assert_eq!(sizes(&p), [("old".to_owned(), 3)]);
    }

    #[test]
    fn a_rollback_takes_the_old_set_again() {
        let p = planned(deployment(4, "a", "RollingUpdate"), vec![set("old", "a", 1, 0, 0, 1), set("new", "b", 2, 4, 4, 2)], false);
        assert!(p.create.is_none());
        let old = p.resize.iter().find(|r| r.name == "old").unwrap();
        assert_eq!((old.to, old.annotations[REVISION].as_str(), p.revision.as_deref()), (1, "3", Some("3")));
    }

    #[test]
    fn recreate_waits_for_the_old_pods() {
        let d = || deployment(4, "b", "Recreate");
        let p = planned(d(), vec![set("old", "a", 1, 4, 4, 1)], true);
        assert_eq!((p.create.is_none(), sizes(&p)), (true, vec![("old".to_owned(), 0)]));
        assert!(planned(d(), vec![set("old", "a", 1, 0, 0, 1)], true).create.is_none());
        assert_eq!(planned(d(), vec![set("old", "a", 1, 0, 0, 1)], false).create.unwrap()["spec"]["replicas"], 4);
    }

    #[test]
    fn pausing_stops_rollouts_but_not_scaling() {
        let mut d = deployment(6, "b", "RollingUpdate");
        d.spec.paused = true;
        let p = planned(d, vec![set("old", "a", 1, 4, 4, 1)], false);
        assert_eq!((p.create.is_none(), sizes(&p)), (true, vec![("old".to_owned(), 6)]));
    }

    #[test]
    fn a_finished_rollout_cleans_its_history() {
        let mut d = deployment(4, "c", "RollingUpdate");
        d.status = skiff_json::from_value(json!({"replicas": 4, "updatedReplicas": 4, "availableReplicas": 4, "observedGeneration": 1})).unwrap();
        let sets = vec![set("one", "a", 1, 0, 0, 1), set("two", "b", 2, 0, 0, 2), set("three", "c", 3, 4, 4, 3)];
        assert_eq!(planned(d, sets, false).delete, ["one"]);
    }

    #[test]
    fn nothing_to_do_is_a_fixed_point() {
        let d = deployment(4, "a", "RollingUpdate");
        let first = planned(d.clone(), vec![set("one", "a", 1, 4, 4, 1)], false);
        let again = Deployment { status: first.status.clone(), ..d };
        let mut again = again;
        again.metadata.annotations.insert(REVISION.into(), "1".into());
        let second = planned(again, vec![set("one", "a", 1, 4, 4, 1)], false);
        assert_eq!(second.status, first.status);
        assert!(second.create.is_none() && second.resize.is_empty() && second.revision.is_none() && second.again.is_none());
    }
}
