//! Which volume suits a claim, pure: what the binder and the scheduler agree on.
use crate::selector;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use skiff_meta::{LabelSelector, Quantity};

pub fn capacity(v: &PersistentVolume) -> Quantity {
    let q = v.spec.as_ref().and_then(|s| s.capacity.as_ref()).and_then(|c| c.get("storage"));
    q.and_then(|q| q.0.parse().ok()).unwrap_or_default()
}
pub fn asked(c: &PersistentVolumeClaim) -> Quantity {
    let r = c.spec.as_ref().and_then(|s| s.resources.as_ref()).and_then(|r| r.requests.as_ref()).and_then(|r| r.get("storage"));
    r.and_then(|q| q.0.parse().ok()).unwrap_or_default()
}

/// Whether the volume names this claim: by uid, or by name as long as it names no uid.
pub fn names(v: &PersistentVolume, c: &PersistentVolumeClaim) -> bool {
    let Some(r) = v.spec.as_ref().and_then(|s| s.claim_ref.as_ref()) else { return false };
    r.namespace == c.metadata.namespace && r.name == c.metadata.name && (r.uid.as_deref().unwrap_or_default().is_empty() || r.uid == c.metadata.uid)
}

/// Whether the volume could be the claim's, claim references apart.
pub fn suits(v: &PersistentVolume, c: &PersistentVolumeClaim) -> bool {
    let (Some(vs), Some(cs)) = (v.spec.as_ref(), c.spec.as_ref()) else { return false };
    let mode = |m: &Option<String>| m.clone().unwrap_or_else(|| "Filesystem".into());
    let has = |wanted: &String| vs.access_modes.iter().flatten().any(|m| m == wanted);
    let selector = cs.selector.as_ref().map_or_else(LabelSelector::everything, |s| selector::labels(Some(s)));
    v.metadata.deletion_timestamp.is_none()
        && mode(&vs.volume_mode) == mode(&cs.volume_mode)
        && vs.storage_class_name.as_deref().unwrap_or_default() == cs.storage_class_name.as_deref().unwrap_or_default()
        && cs.access_modes.iter().flatten().all(has)
        && capacity(v) >= asked(c)
        && selector.matches(v.metadata.labels.as_ref().unwrap_or(&Default::default()))
}

/// Whether nobody has the volume yet.
pub fn free(v: &PersistentVolume) -> bool {
    v.spec.as_ref().is_some_and(|s| s.claim_ref.is_none())
}

/// The volume that names the claim, or else the smallest free one that suits.
pub fn choose<'a>(volumes: &'a [PersistentVolume], c: &PersistentVolumeClaim) -> Option<&'a PersistentVolume> {
    let promised = volumes.iter().find(|v| names(v, c) && suits(v, c));
    promised.or_else(|| volumes.iter().filter(|v| free(v)).filter(|v| suits(v, c)).min_by_key(|v| capacity(v)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::{Value, json};
    fn volume(name: &str, size: &str, extra: Value) -> PersistentVolume {
        let mut v = json!({"metadata": {"name": name}, "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"]}});
        for (k, x) in extra.as_object().unwrap() {
            v["spec"][k] = x.clone();
        }
        skiff_json::from_value(v).unwrap()
    }
    #[test]
    fn the_smallest_that_suits_or_the_promised_one() {
        let c: PersistentVolumeClaim = skiff_json::from_value(
            json!({"metadata": {"name": "c", "namespace": "n", "uid": "u"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}}),
        )
        .unwrap();
        let mut all = vec![
            volume("big", "10Gi", json!({})),
            volume("small", "1Gi", json!({})),
            volume("fit", "2Gi", json!({})),
            volume("class", "2Gi", json!({"storageClassName": "x"})),
        ];
        assert_eq!(choose(&all, &c).unwrap().metadata.name.as_deref(), Some("fit"));
        all.push(volume("mine", "5Gi", json!({"claimRef": {"namespace": "n", "name": "c"}})));
        assert_eq!(choose(&all, &c).unwrap().metadata.name.as_deref(), Some("mine"));
        all.pop();
        all.push(volume("other", "2Gi", json!({"claimRef": {"namespace": "n", "name": "c", "uid": "other"}})));
        assert_eq!(choose(&all, &c).unwrap().metadata.name.as_deref(), Some("fit"));
    }
}
