//! Volumes behind claims: from the claim to its PersistentVolume to what to mount. Pure.
use crate::error::VolumeError;
use crate::plan::{Place, VolumeAction, VolumePlan, host_path, nfs};
use crate::sources::Wanted;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Volume};
use skiff_pod::view;
use std::path::{Path, PathBuf};

const PROTECTION: &str = "kubernetes.io/pvc-protection";

pub(crate) fn claimed(place: &Place<'_>, v: &Volume, claim_name: &str, claim_read_only: bool) -> Result<VolumePlan, VolumeError> {
    let process = |cause: String| VolumeError::Process { volume: v.name.clone(), cause };
    let set_up = |cause: String| VolumeError::SetUp { volume: v.name.clone(), cause };
    let namespace = view::namespace(place.pod);
    let in_claim = |cause: String| process(format!("error processing PVC {namespace}/{claim_name}: {cause}"));
    let claim = find_claim(place, claim_name).map_err(in_claim)?;
    if v.ephemeral.is_some() {
        owned(place, claim, claim_name).map_err(process)?;
    }
    let (name, pv) = find_volume(place, claim).map_err(in_claim)?;
    let spec = pv.spec.as_ref().ok_or_else(|| in_claim(format!("found PV object {name} without a spec")))?;
    let block = spec.volume_mode.as_deref() == Some("Block");
    used_as(place, v, block).map_err(process)?;
    let (path, action) = mounted(place, name, spec, claim_read_only, block).map_err(set_up)?;
    let fs_group = gid(pv).or(place.fs_group);
    Ok(VolumePlan { volume: v.name.clone(), path, read_only: claim_read_only, fs_group, action })
}

fn find_claim<'a>(place: &Place<'a>, name: &str) -> Result<&'a PersistentVolumeClaim, String> {
    let not_found = || {
        let why = place.sources.failure(|w| *w == Wanted::Claim(name.to_owned())).map(str::to_owned);
        format!("failed to fetch PVC from API server: {}", why.unwrap_or_else(|| format!("persistentvolumeclaims {name:?} not found")))
    };
    let claim = place.sources.claims.get(name).ok_or_else(not_found)?;
    let protected = claim.metadata.finalizers.iter().flatten().any(|f| f == PROTECTION);
    if claim.metadata.deletion_timestamp.is_some() && !protected {
        return Err("PVC is being deleted".to_owned());
    }
    if claim.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Bound") {
        return Err("PVC is not bound".to_owned());
    }
    Ok(claim)
}

fn find_volume<'a>(place: &Place<'a>, claim: &'a PersistentVolumeClaim) -> Result<(&'a str, &'a PersistentVolume), String> {
    let name = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).filter(|n| !n.is_empty()).ok_or("PVC has empty pvc.Spec.VolumeName")?;
    let not_found = || {
        let why = place.sources.failure(|w| *w == Wanted::PersistentVolume(name.to_owned())).map(str::to_owned);
        format!("failed to fetch PV {name} from API server: {}", why.unwrap_or_else(|| format!("persistentvolumes {name:?} not found")))
    };
    let pv = place.sources.volumes.get(name).ok_or_else(not_found)?;
    let uid = claim.metadata.uid.as_deref().unwrap_or_default();
    match pv.spec.as_ref().and_then(|s| s.claim_ref.as_ref()) {
        None => Err(format!("found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim")),
        Some(r) if r.uid.as_deref().unwrap_or_default() != uid => {
            let of = r.uid.as_deref().unwrap_or_default();
            Err(format!("found PV object {name} but its pv.Spec.ClaimRef.UID {of} does not point to claim.UID {uid}"))
        }
        Some(_) => Ok((name, pv)),
    }
}

/// A claim of the right name that somebody else made must not be taken for the pod's own.
fn owned(place: &Place<'_>, claim: &PersistentVolumeClaim, name: &str) -> Result<(), String> {
    let uid = view::uid(place.pod);
    let owners = claim.metadata.owner_references.as_deref().unwrap_or_default();
    if owners.iter().any(|o| o.controller == Some(true) && o.uid == uid) {
        return Ok(());
    }
    let (namespace, pod) = (view::namespace(place.pod), view::name(place.pod));
    Err(format!("PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)"))
}

/// Mounts want a file system, devices a block device.
fn used_as(place: &Place<'_>, v: &Volume, block: bool) -> Result<(), String> {
    let mut containers = view::init_containers(place.pod).iter().chain(view::containers(place.pod));
    let (mode, wrong, field) = if block { ("Block", true, "volumeMounts") } else { ("Filesystem", false, "volumeDevices") };
    let misused = containers.any(|c| match wrong {
        true => c.volume_mounts.iter().flatten().any(|m| m.name == v.name),
        false => c.volume_devices.iter().flatten().any(|d| d.name == v.name),
    });
    if misused { Err(format!("volume {} has volumeMode {mode}, but is specified in {field}", v.name)) } else { Ok(()) }
}

fn mounted(place: &Place<'_>, name: &str, spec: &PersistentVolumeSpec, read_only: bool, block: bool) -> Result<(PathBuf, VolumeAction), String> {
    let options = spec.mount_options.clone().unwrap_or_default();
    if let Some(h) = &spec.host_path {
        let (kind, path) = host_path(&h.path, h.type_.as_deref())?;
        // Behind a claim stands a pod of any user, and nobody prepares the folder for it.
        return Ok((path, VolumeAction::HostPath { kind, mode: 0o777 }));
    }
    if let Some(l) = &spec.local {
        if l.path.is_empty() {
            return Err(format!("LocalVolume volume {name:?} path is empty"));
        }
        if l.path.split('/').any(|e| e == "..") {
            return Err(format!("invalid path: {} must not contain '..'", l.path));
        }
        let source = Path::new("/").join(&l.path);
        if block {
            return Ok((source, VolumeAction::Device));
        }
        let policy = view::spec(place.pod).security_context.as_ref().and_then(|s| s.fs_group_change_policy.as_deref());
        let fs_type = l.fs_type.clone().filter(|t| !t.is_empty()).unwrap_or_else(|| "ext4".to_owned());
        let options = if read_only { [vec!["ro".to_owned()], options].concat() } else { options };
        let action = VolumeAction::Local { source, fs_type, options, on_root_mismatch: policy == Some("OnRootMismatch") };
        return Ok((place.dir("local-volume", name), action));
    }
    if let Some(n) = &spec.nfs {
        return Ok((place.dir("nfs", name), nfs(n, &options, read_only)));
    }
    match &spec.csi {
        Some(c) => Err(format!("driver name {} not found in the list of registered CSI drivers", c.driver)),
        None => Err("no volume plugin matched".to_owned()),
    }
}

/// The group that an administrator gave the volume.
fn gid(pv: &PersistentVolume) -> Option<u32> {
    pv.metadata.annotations.as_ref()?.get("pv.beta.kubernetes.io/gid")?.parse().ok()
}
