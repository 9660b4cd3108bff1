//! Which of a pod's volumes are made ready: those that a container mounts or opens as a device. One that nobody uses is
//! left alone, as upstream does, so what it names may be missing. Pure.
use k8s_openapi::api::core::v1::{Pod, VolumeDevice, VolumeMount};
use skiff_pod::view;
use std::borrow::Cow;
use std::collections::HashSet;

/// The pod with no volumes but those in use.
pub(crate) fn with_used_volumes(pod: &Pod) -> Cow<'_, Pod> {
    let used = names(pod);
    let volumes = view::spec(pod).volumes.as_deref().unwrap_or_default();
    if volumes.iter().all(|v| used.contains(v.name.as_str())) {
        return Cow::Borrowed(pod);
    }
    let kept = volumes.iter().filter(|v| used.contains(v.name.as_str())).cloned().collect();
    let mut pod = pod.clone();
    if let Some(spec) = &mut pod.spec {
        spec.volumes = Some(kept);
    }
    Cow::Owned(pod)
}

fn names(pod: &Pod) -> HashSet<&str> {
    type Uses<'a> = (Option<&'a Vec<VolumeMount>>, Option<&'a Vec<VolumeDevice>>);
    let own = view::containers(pod).iter().chain(view::init_containers(pod)).map(|c| -> Uses<'_> { (c.volume_mounts.as_ref(), c.volume_devices.as_ref()) });
    let ephemeral = view::ephemeral_containers(pod).iter().map(|c| -> Uses<'_> { (c.volume_mounts.as_ref(), c.volume_devices.as_ref()) });
    let mounts = |(mounts, devices)| -> Vec<&str> {
        let (mounts, devices): Uses<'_> = (mounts, devices);
        mounts.into_iter().flatten().map(|m| m.name.as_str()).chain(devices.into_iter().flatten().map(|d| d.name.as_str())).collect()
    };
    own.chain(ephemeral).flat_map(mounts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn volumes_that_nobody_mounts_are_left_out() {
        let volume = |name: &str| json!({"name": name, "secret": {"secretName": "absent"}});
        let mut pod: Pod = skiff_json::from_value(json!({"spec": {
            "initContainers": [{"name": "i", "volumeMounts": [{"name": "of-init", "mountPath": "/a"}]}],
            "containers": [{"name": "c", "volumeDevices": [{"name": "device", "devicePath": "/dev/x"}]}, {"name": "d"}],
            "ephemeralContainers": [{"name": "e", "volumeMounts": [{"name": "of-ephemeral", "mountPath": "/a"}]}],
            "volumes": [volume("unused"), volume("of-init"), volume("device"), volume("of-ephemeral")],
        }}))
        .unwrap();
        let kept = with_used_volumes(&pod).into_owned();
        assert_eq!(
            kept.spec.as_ref().unwrap().volumes.as_ref().unwrap().iter().map(|v| v.name.as_str()).collect::<Vec<_>>(),
            ["of-init", "device", "of-ephemeral"]
        );
        pod = kept;
        assert!(matches!(with_used_volumes(&pod), Cow::Borrowed(_)), "nothing to leave out");
    }
}
