use super::*;
use crate::testing::{facts, pod};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret};

fn sources() -> Sources {
    let config: ConfigMap = skiff_json::from_str(r#"{"data":{"a":"1","b":"2"},"binaryData":{"bin":"AAE="}}"#).unwrap();
    let secret: Secret = skiff_json::from_str(r#"{"data":{"k":"cw=="}}"#).unwrap();
    let claim: PersistentVolumeClaim = skiff_json::from_str(r#"{"metadata":{"uid":"c1"},"spec":{"volumeName":"pv"},"status":{"phase":"Bound"}}"#).unwrap();
    let lost: PersistentVolumeClaim = skiff_json::from_str(r#"{"metadata":{"uid":"c2"},"spec":{"volumeName":"pv"},"status":{"phase":"Bound"}}"#).unwrap();
    let unbound: PersistentVolumeClaim = skiff_json::from_str(r#"{"metadata":{"uid":"c3"},"status":{"phase":"Pending"}}"#).unwrap();
    let pv: PersistentVolume =
        skiff_json::from_str(r#"{"metadata":{"name":"pv"},"spec":{"claimRef":{"uid":"c1"},"hostPath":{"path":"/data/x","type":"DirectoryOrCreate"}}}"#)
            .unwrap();
    Sources {
        config_maps: [("c".to_owned(), config)].into(),
        secrets: [("s".to_owned(), secret)].into(),
        claims: [("claim".to_owned(), claim.clone()), ("lost".to_owned(), lost), ("unbound".to_owned(), unbound), ("p-v".to_owned(), claim)].into(),
        volumes: [("pv".to_owned(), pv)].into(),
        tokens: [(crate::TokenKey { audience: String::new(), seconds: 3600 }, "token".to_owned())].into(),
        ..Sources::default()
    }
}

/// The plan of the one volume `v` with this source (and more of a pod's spec).
fn planned(volume: &str, more: &str) -> Result<VolumePlan, String> {
    let comma = if volume.is_empty() { "" } else { "," };
    let p = pod(&format!(r#"{{"containers":[{{"name":"m"}}],"volumes":[{{"name":"v"{comma}{volume}}}]{more}}}"#));
    plan(&p, Path::new("/pods/u1"), &facts(), &sources()).pop().unwrap().map_err(|e| e.to_string())
}

/// `path=content:mode` of each file.
fn shown(p: &VolumePlan) -> String {
    let VolumeAction::Files(f) = &p.action else { panic!("{p:?}") };
    let one = |(path, file): (&String, &crate::FileProjection)| {
        let user = file.user.map(|u| format!(":{u}")).unwrap_or_default();
        format!("{path}={}:{:o}{user}", String::from_utf8_lossy(&file.data).escape_debug(), file.mode)
    };
    f.payload.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn payloads() {
    for (source, more, path, want) in [
        (r#""configMap":{"name":"c"}"#, "", "configmap", "a=1:644 b=2:644 bin=\\0\\u{1}:644"),
        (
            r#""configMap":{"name":"c","defaultMode":256,"items":[{"key":"a","path":"x/y","mode":511},{"key":"bin","path":"z"}]}"#,
            "",
            "configmap",
            "x/y=1:777 z=\\0\\u{1}:400",
        ),
        (r#""configMap":{"name":"none","optional":true}"#, "", "configmap", ""),
        (r#""configMap":{"name":"c","optional":true,"items":[{"key":"nope","path":"n"}]}"#, "", "configmap", ""),
        (r#""secret":{"secretName":"s"}"#, "", "secret", "k=s:644"),
        (
            r#""downwardAPI":{"items":[{"path":"n","fieldRef":{"fieldPath":"metadata.name"}},{"path":"d/l","fieldRef":{"fieldPath":"metadata.labels"}},{"path":"m","resourceFieldRef":{"containerName":"m","resource":"limits.memory","divisor":"1Mi"}}]}"#,
            "",
            "downward-api",
            "d/l=a=\\\"b\\\":644 m=1024:644 n=p:644",
        ),
        (
            r#""projected":{"defaultMode":420,"sources":[{"configMap":{"name":"c","items":[{"key":"a","path":"ca"}]}},{"secret":{"name":"s"}},{"serviceAccountToken":{"path":"token"}},{"downwardAPI":{"items":[{"path":"ns","fieldRef":{"fieldPath":"metadata.namespace"}}]}}]}"#,
            "",
            "projected",
            "ca=1:644 k=s:644 ns=ns:644 token=token:644",
        ),
        (r#""projected":{"sources":[{"serviceAccountToken":{"path":"token"}}]}"#, r#","securityContext":{"fsGroup":7}"#, "projected", "token=token:600"),
        (r#""projected":{"sources":[{"serviceAccountToken":{"path":"token"}}]}"#, r#","securityContext":{"runAsUser":8}"#, "projected", "token=token:600:8"),
        (r#""projected":{"sources":[{"clusterTrustBundle":{"path":"ca","name":"none","optional":true}}]}"#, "", "projected", "ca=:644"),
    ] {
        let p = planned(source, more).unwrap();
        assert_eq!(shown(&p), want, "{source}");
        assert_eq!(p.path, Path::new("/pods/u1/volumes").join(format!("kubernetes.io~{path}")).join("v"));
        assert!(p.read_only);
    }
}

#[test]
fn reasons_against() {
    for (source, want) in [
        (r#""configMap":{"name":"y"}"#, r#"MountVolume.SetUp failed for volume "v" : configmap "y" not found"#),
        (r#""secret":{"secretName":"y"}"#, r#"MountVolume.SetUp failed for volume "v" : secret "y" not found"#),
        (
            r#""configMap":{"name":"c","items":[{"key":"nope","path":"n"}]}"#,
            r#"MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: nope"#,
        ),
        (
            r#""secret":{"secretName":"s","items":[{"key":"nope","path":"n"}]}"#,
            r#"MountVolume.SetUp failed for volume "v" : references non-existent secret key: nope"#,
        ),
        (
            r#""projected":{"sources":[{"secret":{"name":"y"}},{"configMap":{"name":"y"}},{"secret":{"name":"y"}}]}"#,
            r#"MountVolume.SetUp failed for volume "v" : [secret "y" not found, configmap "y" not found]"#,
        ),
        (
            r#""configMap":{"name":"c","items":[{"key":"a","path":"../x"}]}"#,
            r#"MountVolume.SetUp failed for volume "v" : invalid path: must not contain '..': ../x"#,
        ),
        (r#""hostPath":{"path":"/a/../b"}"#, r#"MountVolume.SetUp failed for volume "v" : invalid HostPath `/a/../b`: must not contain '..'"#),
        (r#""hostPath":{"path":"/a","type":"Odd"}"#, r#"MountVolume.SetUp failed for volume "v" : Odd is an invalid volume type"#),
        (
            r#""persistentVolumeClaim":{"claimName":"none"}"#,
            r#"Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: error processing PVC ns/none: failed to fetch PVC from API server: persistentvolumeclaims "none" not found"#,
        ),
        (
            r#""persistentVolumeClaim":{"claimName":"unbound"}"#,
            "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: error processing PVC ns/unbound: PVC is not bound",
        ),
        (
            r#""persistentVolumeClaim":{"claimName":"lost"}"#,
            "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: error processing PVC ns/lost: found PV object pv but its pv.Spec.ClaimRef.UID c1 does not point to claim.UID c2",
        ),
        (
            r#""ephemeral":{"volumeClaimTemplate":{"spec":{}}}"#,
            "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: PVC ns/p-v was not created for pod ns/p (pod is not owner)",
        ),
        (r#""csi":{"driver":"x.csi"}"#, r#"MountVolume.SetUp failed for volume "v" : driver name x.csi not found in the list of registered CSI drivers"#),
        (r#""emptyDir":{"medium":"HugePages"}"#, r#"MountVolume.SetUp failed for volume "v" : storage medium "HugePages" is not supported on this node"#),
    ] {
        assert_eq!(planned(source, "").unwrap_err(), want, "{source}");
    }
}

#[test]
fn a_failed_read_is_not_a_missing_object() {
    let p = pod(r#"{"containers":[],"volumes":[{"name":"v","configMap":{"name":"y","optional":true}}]}"#);
    let sources = Sources { failures: vec![(crate::Wanted::ConfigMap("y".into()), "forbidden".into())], ..Sources::default() };
    let e = plan(&p, Path::new("/pods/u1"), &facts(), &sources).pop().unwrap().unwrap_err();
    assert_eq!(e.to_string(), r#"MountVolume.SetUp failed for volume "v" : forbidden"#);
}

#[test]
fn media_and_hosts() {
    let memory = |size| VolumeAction::EmptyDir { medium: Medium::Memory { size: Some(size) } };
    let limits = r#","resources":{"limits":{"memory":"64Mi"}}"#;
    for (source, more, want) in [
        ("", "", VolumeAction::EmptyDir { medium: Medium::Disk }),
        (r#""emptyDir":{"sizeLimit":"1Mi"}"#, "", VolumeAction::EmptyDir { medium: Medium::Disk }),
        (r#""emptyDir":{"medium":"Memory"}"#, "", memory(1 << 30)),
        (r#""emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}"#, "", memory(1 << 20)),
        (r#""emptyDir":{"medium":"Memory"}"#, limits, memory(64 << 20)),
        (r#""hostPath":{"path":"/x","type":"FileOrCreate"}"#, "", VolumeAction::HostPath { kind: PathKind::FileOrCreate, mode: 0o755 }),
        (r#""persistentVolumeClaim":{"claimName":"claim"}"#, "", VolumeAction::HostPath { kind: PathKind::DirectoryOrCreate, mode: 0o777 }),
        (r#""nfs":{"server":"fd00::1","path":"/e","readOnly":true}"#, "", VolumeAction::Nfs { source: "[fd00::1]:/e".into(), options: vec!["ro".into()] }),
    ] {
        assert_eq!(planned(source, more).unwrap().action, want, "{source}");
    }
    assert_eq!(planned(r#""persistentVolumeClaim":{"claimName":"claim"}"#, "").unwrap().path, Path::new("/data/x"));
}

#[test]
fn names_that_are_no_folders() {
    for name in ["..", "a/b", "", "/x", "./v"] {
        let p = pod(&format!(r#"{{"containers":[],"volumes":[{{"name":{name:?},"emptyDir":{{}}}}]}}"#));
        assert!(plan(&p, Path::new("/pods/u1"), &facts(), &sources()).pop().unwrap().is_err(), "{name}");
    }
}

#[test]
fn mount_points_inside() {
    let mounts = |text: &str| pod(&format!(r#"{{"containers":[{{"name":"m","volumeMounts":[{text}]}}]}}"#));
    let p = mounts(
        r#"{"name":"v","mountPath":"/d"},{"name":"a","mountPath":"/d/n"},{"name":"b","mountPath":"/d/n/o"},{"name":"c","mountPath":"/d/n-2/"},{"name":"e","mountPath":"/dx"}"#,
    );
    assert_eq!(nested(&p, "v").unwrap(), [PathBuf::from("n"), PathBuf::from("n-2")]);
    assert!(nested(&mounts(r#"{"name":"v","mountPath":"/d"},{"name":"a","mountPath":"/d/../x"}"#), "v").is_err());
}

#[test]
fn mounts_of_a_container() {
    let p = pod(
        r#"{"containers":[{"name":"m","volumeMounts":[{"name":"v","mountPath":"d","readOnly":true,"recursiveReadOnly":"Enabled"},{"name":"c","mountPath":"/c","mountPropagation":"HostToContainer"},{"name":"v","mountPath":"/s","subPath":"x"}],"volumeDevices":[{"name":"b","devicePath":"/dev/x"}]}]}"#,
    );
    let mounted = crate::Mounted {
        paths: [("v".to_owned(), "/v".into()), ("c".to_owned(), "/cm".into())].into(),
        read_only: ["c".to_owned()].into(),
        devices: [("b".to_owned(), "/dev/vdb".into())].into(),
        ..Default::default()
    };
    let c = &view::containers(&p)[0];
    let (mounts, devices) = crate::container_mounts(c, &mounted, &[(2, PathBuf::from("/sub"))].into()).unwrap();
    let text: Vec<String> = mounts
        .iter()
        .map(|m| format!("{}:{}:{}:{}:{:?}", m.host_path.display(), m.container_path.display(), m.readonly, m.recursive_readonly, m.propagation))
        .collect();
    assert_eq!(text, ["/v:/d:true:true:Private", "/cm:/c:true:false:HostToContainer", "/sub:/s:false:false:Private"]);
    assert_eq!(devices[0].permissions, "rwm");
    assert!(crate::container_mounts(c, &crate::Mounted::default(), &Default::default()).unwrap_err().contains("cannot find volume \"v\""));
}
