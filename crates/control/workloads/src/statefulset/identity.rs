//! Names, hosts, labels and volumes of pods.
use super::view::{StatefulSet, claim_names};
use crate::pod::Pod;
use skiff_json::{Value, json};

pub(super) const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub(super) const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
pub(super) const REVISION: &str = "controller-revision-hash";

/// The number at the end of a pod's name, if what is before it is the set's.
pub fn ordinal(set: &str, pod: &str) -> Option<i64> {
    let (parent, n) = pod.rsplit_once('-')?;
    let digits = !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    (parent == set && digits).then(|| n.parse::<i32>().ok()).flatten().map(i64::from)
}

pub fn revision(pod: &Pod) -> &str {
    pod.metadata.label(REVISION).unwrap_or_default()
}

/// Whether a pod carries its name as a label, and mounts its claims.
pub fn matches(set: &StatefulSet, pod: &Pod) -> bool {
    let Some(n) = ordinal(&set.metadata.name, &pod.metadata.name) else { return false };
    let mounts = |(volume, claim): &(String, String)| {
        let volume = pod.spec.volumes.iter().find(|v| v.name == *volume);
        volume.and_then(|v| v.persistent_volume_claim.as_ref()).is_some_and(|c| c.claim_name == *claim)
    };
    pod.metadata.label(POD_NAME) == Some(&pod.metadata.name) && claim_names(set, n).iter().all(mounts)
}

/// Gives a pod made of a template its identity.
pub fn identify(set: &StatefulSet, pod: &mut Value, ordinal: i64, revision: &str) {
    let name = format!("{}-{ordinal}", set.metadata.name);
    pod["metadata"]["name"] = name.clone().into();
    for (key, value) in [(POD_NAME, name.clone()), (POD_INDEX, ordinal.to_string()), (REVISION, revision.to_owned())] {
        pod["metadata"]["labels"][key] = value.into();
    }
    pod["spec"]["hostname"] = name.into();
    if !set.spec.service_name.is_empty() {
        pod["spec"]["subdomain"] = set.spec.service_name.clone().into();
    }
    let claims = claim_names(set, ordinal);
    if claims.is_empty() {
        return;
    }
    let mut volumes: Vec<Value> = claims.iter().map(|(v, c)| json!({"name": v, "persistentVolumeClaim": {"claimName": c}})).collect();
    let kept = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.extend(kept.filter(|v| claims.iter().all(|(name, _)| v["name"] != **name)).cloned());
    pod["spec"]["volumes"] = volumes.into();
}

/// The claims that a pod needs, as objects to create.
pub fn claims(set: &StatefulSet, ordinal: i64) -> Vec<Value> {
    let selected = set.spec.selector.json()["matchLabels"].clone();
    let mut out = Vec::new();
    for (template, (_, name)) in set.spec.volume_claim_templates.iter().zip(claim_names(set, ordinal)) {
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": template["metadata"], "spec": template["spec"]});
        claim["metadata"]["name"] = name.into();
        claim["metadata"]["namespace"] = set.metadata.namespace.clone().into();
        for (k, v) in selected.as_object().into_iter().flatten() {
            claim["metadata"]["labels"][k] = v.clone();
        }
        out.push(claim);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> StatefulSet {
        skiff_json::from_value(json!({"metadata": {"name": "db", "namespace": "n"}, "spec": {"serviceName": "db", "selector": {"matchLabels": {"a": "b"}}, "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"x": 1}}]}})).unwrap()
    }

    #[test]
    fn ordinals() {
        for (pod, n) in [("db-0", Some(0)), ("db-12", Some(12)), ("db-x", None), ("other-0", None), ("db-", None), ("db-99999999999", None), ("db--1", None)] {
            assert_eq!(ordinal("db", pod), n, "{pod}");
        }
    }
    #[test]
    fn a_pod_is_identified() {
        let mut pod = json!({"metadata": {"generateName": "db-", "labels": {"a": "b"}}, "spec": {"volumes": [{"name": "data"}, {"name": "tmp"}]}});
        identify(&set(), &mut pod, 2, "db-rev");
        assert_eq!(pod["metadata"], json!({"generateName": "db-", "labels": {"a": "b", POD_NAME: "db-2", POD_INDEX: "2", REVISION: "db-rev"}, "name": "db-2"}));
        assert_eq!(
            pod["spec"],
            json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-2"}}, {"name": "tmp"}], "hostname": "db-2", "subdomain": "db"})
        );
        assert!(matches(&set(), &skiff_json::from_value(pod).unwrap()));
        assert_eq!(claims(&set(), 2)[0]["metadata"], json!({"name": "data-db-2", "namespace": "n", "labels": {"a": "b"}}));
    }
}
