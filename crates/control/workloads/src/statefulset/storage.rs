//! Who owns a claim: by the retention policy nobody, the set, or a pod that was scaled away.
use super::view::{StatefulSet, refers};
use crate::view::{Meta, OwnerRef};

/// A claim and the pod that mounts it.
pub struct Held<'a> {
    pub set: &'a StatefulSet,
    pub pod: &'a Meta,
    /// Whether the pod's ordinal is one that the set wants.
    pub in_range: bool,
    pub owners: &'a [OwnerRef],
}

impl Held<'_> {
    fn of_set(&self, r: &OwnerRef) -> bool {
        refers(r, "apps/v1", "StatefulSet", &self.set.metadata)
    }
    fn of_pod(&self, r: &OwnerRef) -> bool {
        refers(r, "v1", "Pod", self.pod)
    }
    /// (the set, the pod) should own the claim.
    fn wanted(&self) -> (bool, bool) {
        let p = &self.set.spec.persistent_volume_claim_retention_policy;
        match (p.when_scaled == "Delete", p.when_deleted == "Delete") {
            (false, deleted) => (deleted, false),
            (true, false) => (false, !self.in_range),
            (true, true) => (self.in_range, !self.in_range),
        }
    }
    /// It names an earlier set or pod of the same name: garbage collection is about to take it.
    pub fn stale(&self) -> bool {
        self.owners.iter().any(|r| (self.of_set(r) && r.uid != self.set.metadata.uid) || (self.of_pod(r) && r.uid != self.pod.uid))
    }
    /// Somebody else manages the claim: the policy is not applied.
    pub fn foreign(&self) -> bool {
        let p = &self.set.spec.persistent_volume_claim_retention_policy;
        let applies = p.when_scaled == "Delete" || p.when_deleted == "Delete";
        applies && self.owners.iter().any(|r| !self.of_set(r) && !self.of_pod(r) && r.controller == Some(true))
    }
    /// What the claim's owners should be; None when they are so.
    pub fn owners(&self) -> Option<Vec<OwnerRef>> {
        if self.stale() {
            return None;
        }
        let mut out: Vec<OwnerRef> = self.owners.iter().filter(|r| !self.of_set(r) && !self.of_pod(r)).cloned().collect();
        if !self.foreign() {
            let (set, pod) = self.wanted();
            out.extend(set.then(|| self.set.metadata.controller_ref("apps/v1", "StatefulSet")));
            out.extend(pod.then(|| self.pod.controller_ref("v1", "Pod")));
        }
        let key = |all: &[OwnerRef]| {
            let mut k: Vec<(String, bool)> = all.iter().map(|r| (r.uid.clone(), r.controller == Some(true))).collect();
            k.sort();
            k
        };
        (key(&out) != key(self.owners)).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn owners_follow_the_policy() {
        let pod = Meta { name: "db-1".into(), uid: "p".into(), ..Default::default() };
        for (scaled, deleted, in_range, expected) in [
            ("Retain", "Retain", true, vec![]),
            ("", "", false, vec![]),
            ("Retain", "Delete", true, vec!["s"]),
            ("Retain", "Delete", false, vec!["s"]),
            ("Delete", "Retain", true, vec![]),
            ("Delete", "Retain", false, vec!["p"]),
            ("Delete", "Delete", true, vec!["s"]),
            ("Delete", "Delete", false, vec!["p"]),
        ] {
            let set: StatefulSet = skiff_json::from_value(json!({"metadata": {"name": "db", "uid": "s"}, "spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": deleted}}})).unwrap();
            for before in [vec![], vec![set.metadata.controller_ref("apps/v1", "StatefulSet")], vec![pod.controller_ref("v1", "Pod")]] {
                let held = Held { set: &set, pod: &pod, in_range, owners: &before };
                let after = held.owners().unwrap_or_else(|| before.clone());
                let uids: Vec<&str> = after.iter().map(|r| r.uid.as_str()).collect();
                assert_eq!(uids, expected, "{scaled} {deleted} {in_range}");
            }
        }
    }
    #[test]
    fn others_claims_are_left_alone() {
        let set: StatefulSet = skiff_json::from_value(
            json!({"metadata": {"name": "db", "uid": "s"}, "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}),
        )
        .unwrap();
        let pod = Meta { name: "db-1".into(), uid: "p".into(), ..Default::default() };
        let other = [OwnerRef { uid: "x".into(), controller: Some(true), ..Default::default() }];
        let held = Held { set: &set, pod: &pod, in_range: true, owners: &other };
        assert!(held.foreign() && held.owners().is_none());
        let old = [OwnerRef { api_version: "v1".into(), kind: "Pod".into(), name: "db-1".into(), uid: "earlier".into(), ..Default::default() }];
        assert!(Held { owners: &old, ..held }.owners().is_none());
    }
}
