//! What to do for each of a pod's volumes. Pure.
use crate::claim;
use crate::error::VolumeError;
use crate::host_path::PathKind;
use crate::payload::{Context, Payload, checked, mode_or};
use crate::sources::{Sources, claim_of};
use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, NFSVolumeSource, Pod, Volume};
use skiff_meta::Quantity;
use skiff_pod::field::NodeFacts;
use skiff_pod::{cgroup, view};
use std::path::{Component, Path, PathBuf};

const DEFAULT_MODE: u32 = 0o644;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    Disk,
    /// A tmpfs of at most that many bytes; None leaves the kernel's half of the memory.
    Memory {
        size: Option<u64>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    pub payload: Payload,
    pub medium: Medium,
    /// Mount points of other volumes below this one, made ahead because nobody can later: it is mounted read-only.
    pub nested: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum VolumeAction {
    EmptyDir {
        medium: Medium,
    },
    HostPath {
        kind: PathKind,
        mode: u32,
    },
    Files(Files),
    /// A folder of the node, or the file system on a block device, mounted at the volume's path.
    Local {
        source: PathBuf,
        fs_type: String,
        options: Vec<String>,
        on_root_mismatch: bool,
    },
    Nfs {
        source: String,
        options: Vec<String>,
    },
    /// A block device of the node, given to containers as a device.
    Device,
    /// Mounted by whoever has the images.
    Image,
}

#[derive(Clone, Debug, PartialEq)]
pub struct VolumePlan {
    pub volume: String,
    /// Where containers' mounts start.
    pub path: PathBuf,
    /// No container may write, whatever its mount says.
    pub read_only: bool,
    pub fs_group: Option<u32>,
    pub action: VolumeAction,
}

pub(crate) struct Place<'a> {
    pub pod: &'a Pod,
    /// `<root>/pods/<uid>`.
    pub pod_dir: &'a Path,
    pub facts: &'a NodeFacts<'a>,
    pub sources: &'a Sources,
    pub fs_group: Option<u32>,
}

impl Place<'_> {
    /// The path of a volume that has a folder of its own.
    pub fn dir(&self, plugin: &str, name: &str) -> PathBuf {
        self.pod_dir.join("volumes").join(format!("kubernetes.io~{plugin}")).join(name)
    }
}

/// A plan, or the reason against it, for each of the pod's volumes in order.
pub fn plan(pod: &Pod, pod_dir: &Path, facts: &NodeFacts<'_>, sources: &Sources) -> Vec<Result<VolumePlan, VolumeError>> {
    let spec = view::spec(pod);
    let fs_group = spec.security_context.as_ref().and_then(|s| s.fs_group).and_then(|g| u32::try_from(g).ok());
    let place = Place { pod, pod_dir, facts, sources, fs_group };
    spec.volumes.iter().flatten().map(|v| one(&place, v)).collect()
}

fn one(place: &Place<'_>, v: &Volume) -> Result<VolumePlan, VolumeError> {
    let set_up = |cause: String| VolumeError::SetUp { volume: v.name.clone(), cause };
    // The name becomes a folder; the API has checked it, a manifest on the node has not been.
    if !matches!(Path::new(&v.name).components().collect::<Vec<_>>().as_slice(), [Component::Normal(n)] if n.len() == v.name.len()) {
        return Err(set_up("its name cannot be a folder's".to_owned()));
    }
    if let Some((name, read_only)) = claim_of(place.pod, v) {
        return claim::claimed(place, v, &name, read_only);
    }
    let volume = |path, read_only, action| VolumePlan { volume: v.name.clone(), path, read_only, fs_group: place.fs_group, action };
    if let Some(h) = &v.host_path {
        let (kind, path) = host_path(&h.path, h.type_.as_deref()).map_err(set_up)?;
        return Ok(volume(path, false, VolumeAction::HostPath { kind, mode: 0o755 }));
    }
    if let Some(n) = &v.nfs {
        return Ok(volume(place.dir("nfs", &v.name), n.read_only == Some(true), nfs(n, &[], false)));
    }
    if v.image.is_some() {
        let why = place.sources.failure(|w| matches!(w, crate::Wanted::Image(name, _) if *name == v.name)).unwrap_or("the image is not mounted");
        let path = place.sources.images.get(&v.name).cloned().ok_or_else(|| set_up(why.to_owned()))?;
        return Ok(volume(path, true, VolumeAction::Image));
    }
    if let Some((plugin, files)) = files(place, v) {
        return Ok(volume(place.dir(plugin, &v.name), true, VolumeAction::Files(files.map_err(set_up)?)));
    }
    if let Some(csi) = &v.csi {
        return Err(set_up(format!("driver name {} not found in the list of registered CSI drivers", csi.driver)));
    }
    // A volume that names no source at all is an emptyDir.
    let e = match &v.empty_dir {
        Some(e) => e,
        None if names_no_source(v) => &EmptyDirVolumeSource::default(),
        None => return Err(VolumeError::Process { volume: v.name.clone(), cause: "no volume plugin matched".to_owned() }),
    };
    let medium = match e.medium.as_deref().unwrap_or_default() {
        "" => Medium::Disk,
        "Memory" => Medium::Memory { size: memory_size(place, e.size_limit.as_ref().and_then(|q| q.0.parse().ok())) },
        m if m.starts_with("HugePages") => return Err(set_up(format!("storage medium {m:?} is not supported on this node"))),
        m => return Err(set_up(format!("unknown storage medium {m:?}"))),
    };
    Ok(volume(place.dir("empty-dir", &v.name), false, VolumeAction::EmptyDir { medium }))
}

fn names_no_source(v: &Volume) -> bool {
    *v == Volume { name: v.name.clone(), ..Volume::default() }
}

/// The kind to check and the path, if the path can be meant.
pub(crate) fn host_path(path: &str, kind: Option<&str>) -> Result<(PathKind, PathBuf), String> {
    if path.split('/').any(|e| e == "..") {
        return Err(format!("invalid HostPath `{path}`: must not contain '..'"));
    }
    Ok((PathKind::parse(kind.unwrap_or_default())?, Path::new("/").join(path)))
}

pub(crate) fn nfs(n: &NFSVolumeSource, more: &[String], read_only: bool) -> VolumeAction {
    let server = if n.server.contains(':') { format!("[{}]", n.server) } else { n.server.clone() };
    let mut options = more.to_vec();
    if read_only || n.read_only == Some(true) {
        options.push("ro".to_owned());
    }
    VolumeAction::Nfs { source: format!("{server}:{}", n.path), options }
}

/// The smallest of what the node has for pods, the pod's own limit and the volume's.
fn memory_size(place: &Place<'_>, size_limit: Option<Quantity>) -> Option<u64> {
    let all = [Some(place.facts.allocatable_memory), cgroup::pod_limit(place.pod, "memory"), size_limit];
    all.into_iter().flatten().filter_map(|q| u64::try_from(q.value()).ok()).filter(|b| *b > 0).min()
}

fn files(place: &Place<'_>, v: &Volume) -> Option<(&'static str, Result<Files, String>)> {
    let context = |mode: Option<i32>| Context {
        pod: place.pod,
        facts: place.facts,
        sources: place.sources,
        default_mode: mode_or(mode, DEFAULT_MODE),
        fs_group: place.fs_group,
        fs_user: fs_user(place.pod),
        volume: &v.name,
    };
    let memory = Medium::Memory { size: memory_size(place, None) };
    let (plugin, medium, payload) = if let Some(c) = &v.config_map {
        ("configmap", Medium::Disk, context(c.default_mode).config_map(&c.name, c.items.as_deref(), c.optional == Some(true)))
    } else if let Some(s) = &v.secret {
        let name = s.secret_name.as_deref().unwrap_or_default();
        ("secret", memory, context(s.default_mode).secret(name, s.items.as_deref(), s.optional == Some(true)))
    } else if let Some(d) = &v.downward_api {
        ("downward-api", memory, context(d.default_mode).downward(d.items.as_deref()))
    } else if let Some(p) = &v.projected {
        ("projected", memory, context(p.default_mode).projected(p))
    } else {
        return None;
    };
    let files = payload.and_then(checked).and_then(|payload| Ok(Files { payload, medium, nested: nested(place.pod, &v.name)? }));
    Some((plugin, files))
}

fn every_container(pod: &Pod) -> impl Iterator<Item = Container> {
    let declared = view::init_containers(pod).iter().chain(view::containers(pod)).cloned();
    declared.chain(view::ephemeral_containers(pod).iter().map(view::as_container))
}

/// The user that every container runs as, if they are declared and agree.
fn fs_user(pod: &Pod) -> Option<u32> {
    let of_pod = view::spec(pod).security_context.as_ref().and_then(|s| s.run_as_user);
    let mut users = every_container(pod).map(|c| c.security_context.and_then(|s| s.run_as_user).or(of_pod));
    let first = users.next()??;
    users.all(|u| u == Some(first)).then(|| u32::try_from(first).ok())?
}

/// Mount points of other volumes inside this one, in any container; only the outermost of those below each other.
fn nested(pod: &Pod, volume: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for c in every_container(pod) {
        let all: Vec<(bool, PathBuf)> =
            c.volume_mounts.iter().flatten().map(|m| (m.name == volume, Path::new("/").join(&m.mount_path).components().collect())).collect();
        for (_, mine) in all.iter().filter(|(own, _)| *own) {
            let mut below: Vec<&Path> = all.iter().filter_map(|(_, p)| p.strip_prefix(mine).ok()).filter(|p| !p.as_os_str().is_empty()).collect();
            below.sort();
            let mut outermost: Vec<&Path> = Vec::new();
            for p in below {
                if p.components().any(|c| c == Component::ParentDir) {
                    return Err(format!("invalid container mount point {}", p.display()));
                }
                if !outermost.iter().any(|o| p.starts_with(o)) {
                    outermost.push(p);
                }
            }
            found.extend(outermost.into_iter().map(Path::to_owned));
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
