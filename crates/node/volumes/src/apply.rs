//! Carries plans out. Calling it again does only what is missing or has changed.
use crate::error::VolumeError;
use crate::plan::{Files, Medium, VolumeAction, VolumePlan};
use crate::{atomic, host_path, ownership, sys};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Mounts of block devices are shared by pods: made by the first and taken away by the last one.
pub(crate) static SHARED: Mutex<()> = Mutex::new(());

/// Volumes that are ready.
#[derive(Clone, Debug, Default)]
pub struct Mounted {
    /// By the volume's name in the pod.
    pub paths: BTreeMap<String, PathBuf>,
    /// Volumes that every container gets read-only, whatever its mount says.
    pub read_only: BTreeSet<String>,
    /// Block devices for `volumeDevices`.
    pub devices: BTreeMap<String, PathBuf>,
    /// Volumes whose files are others than before, the first time included.
    pub changed: Vec<String>,
    /// Volumes that could not be brought up to date; they stay as they were.
    pub warnings: Vec<VolumeError>,
}

/// Makes all volumes ready. Either all are, or every reason why not is told (and the others are ready all the same).
pub fn set_up(pod_dir: &Path, plans: Vec<Result<VolumePlan, VolumeError>>, now: Timestamp) -> Result<Mounted, Vec<VolumeError>> {
    let mut mounted = Mounted::default();
    let mut errors = Vec::new();
    for plan in plans {
        let done = plan.and_then(|p| match apply(pod_dir, &p, now) {
            Ok(changed) => Ok((p, changed)),
            Err(cause) => Err(VolumeError::SetUp { volume: p.volume, cause }),
        });
        match done {
            Ok((p, changed)) => {
                if changed {
                    mounted.changed.push(p.volume.clone());
                }
                if p.read_only {
                    mounted.read_only.insert(p.volume.clone());
                }
                let kind = if p.action == VolumeAction::Device { &mut mounted.devices } else { &mut mounted.paths };
                kind.insert(p.volume, p.path);
            }
            // A ConfigMap that was deleted under a running pod doesn't take its files away.
            Err(e) => match earlier(pod_dir, e.volume()) {
                Some(path) => {
                    mounted.paths.insert(e.volume().to_owned(), path);
                    mounted.read_only.insert(e.volume().to_owned());
                    mounted.warnings.push(e);
                }
                None => errors.push(e),
            },
        }
    }
    if errors.is_empty() { Ok(mounted) } else { Err(errors) }
}

/// Where an earlier version of a volume of files shows.
fn earlier(pod_dir: &Path, volume: &str) -> Option<PathBuf> {
    let dir = |plugin| pod_dir.join("volumes").join(format!("kubernetes.io~{plugin}")).join(volume);
    ["configmap", "secret", "downward-api", "projected"].into_iter().map(dir).find(|d| atomic::published(d))
}

fn apply(pod_dir: &Path, p: &VolumePlan, now: Timestamp) -> Result<bool, String> {
    match &p.action {
        VolumeAction::EmptyDir { medium } => empty_dir(pod_dir, p, *medium),
        VolumeAction::Files(files) => write_files(p, files, now),
        VolumeAction::HostPath { kind, mode } => host_path::prepare(&p.path, *kind, *mode).map(|()| false),
        VolumeAction::Local { source, fs_type, options, on_root_mismatch } => local(pod_dir, p, source, fs_type, options, *on_root_mismatch),
        VolumeAction::Nfs { source, options } => nfs(&p.path, source, options),
        VolumeAction::Device => match host_path::is_block_device(&p.path)? {
            true => Ok(false),
            false => Err(format!("{} is not a block device", p.path.display())),
        },
        VolumeAction::Image => Ok(false),
    }
}

fn at(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> String {
    let path = path.display().to_string();
    move |e| format!("{step} {path}: {e}")
}

pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), String> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(at("mkdir", path))
}

/// The file that says that a volume was made completely.
struct Ready(PathBuf);

impl Ready {
    fn of(pod_dir: &Path, plugin: &str, name: &str) -> Self {
        Self(pod_dir.join("plugins").join(format!("kubernetes.io~{plugin}")).join(name).join("ready"))
    }
    fn is_set(&self) -> bool {
        self.0.is_file()
    }
    fn set(&self) -> Result<(), String> {
        if let Some(parent) = self.0.parent() {
            make_dir(parent, 0o750)?;
        }
        fs::write(&self.0, b"").map_err(at("write", &self.0))
    }
}

fn empty_dir(pod_dir: &Path, p: &VolumePlan, medium: Medium) -> Result<bool, String> {
    let ready = Ready::of(pod_dir, "empty-dir", &p.volume);
    let there = match medium {
        Medium::Disk => p.path.is_dir(),
        Medium::Memory { .. } => sys::is_mount(&p.path).map_err(at("stat", &p.path))?,
    };
    if there && ready.is_set() {
        return Ok(false);
    }
    make_medium(&p.path, medium)?;
    if let Some(group) = p.fs_group {
        ownership::give(&p.path, group, false).map_err(at("changing the owning group of", &p.path))?;
    }
    ready.set()?;
    Ok(true)
}

/// A folder that anybody may write, on disk or in memory.
fn make_medium(dir: &Path, medium: Medium) -> Result<(), String> {
    let is_mount = sys::is_mount(dir).map_err(at("stat", dir))?;
    if !is_mount {
        if let Some(parent) = dir.parent() {
            make_dir(parent, 0o750)?;
        }
        make_dir(dir, 0o777)?;
        let mode = fs::symlink_metadata(dir).map_err(at("lstat", dir))?.permissions().mode() & 0o777;
        if mode != 0o777 {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).map_err(at("chmod", dir))?;
        }
    }
    match medium {
        Medium::Memory { size } if !is_mount => sys::tmpfs(dir, size).map_err(at("mount of tmpfs at", dir)),
        _ => Ok(()),
    }
}

fn write_files(p: &VolumePlan, files: &Files, now: Timestamp) -> Result<bool, String> {
    let dir = &p.path;
    let missing = match files.medium {
        Medium::Disk => !dir.is_dir(),
        Medium::Memory { .. } => !sys::is_mount(dir).map_err(at("stat", dir))?,
    };
    if missing {
        make_medium(dir, files.medium)?;
    }
    if !atomic::published(dir) {
        for nested in &files.nested {
            make_dir(&dir.join(nested), 0o755)?;
        }
    }
    let finish = || p.fs_group.map_or(Ok(()), |group| ownership::give(dir, group, true));
    atomic::write(dir, &files.payload, now, finish).map_err(at("writing the files of", dir))
}

fn local(pod_dir: &Path, p: &VolumePlan, source: &Path, fs_type: &str, options: &[String], on_root_mismatch: bool) -> Result<bool, String> {
    let name = p.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ready = Ready::of(pod_dir, "local-volume", &name);
    let _alone = SHARED.lock();
    let is_mount = sys::is_mount(&p.path).map_err(at("stat", &p.path))?;
    if is_mount && ready.is_set() {
        return Ok(false);
    }
    let used = used_by_others(pod_dir, &name);
    let read_only = options.iter().any(|o| o == "ro");
    if !is_mount {
        let source = if host_path::is_block_device(source)? { device(pod_dir, source, &name, fs_type, options)? } else { source.to_owned() };
        make_dir(&p.path, 0o750)?;
        sys::bind(&source, &p.path).map_err(at("mount of", &source))?;
        if read_only {
            sys::make_read_only(&p.path).map_err(at("read-only mount of", &source))?;
        }
    }
    if let Some(group) = p.fs_group.filter(|_| !read_only && !used)
        && !(on_root_mismatch && ownership::root_matches(&p.path, group, false))
    {
        ownership::give(&p.path, group, false).map_err(at("changing the owning group of", &p.path))?;
    }
    ready.set()?;
    Ok(true)
}

/// `<root>/plugins/kubernetes.io/local-volume/mounts/<name>`.
pub(crate) fn device_mount(pod_dir: &Path, name: &str) -> Option<PathBuf> {
    let root = pod_dir.parent()?.parent()?;
    Some(root.join("plugins/kubernetes.io/local-volume/mounts").join(name))
}

/// Whether another pod has this local volume.
pub(crate) fn used_by_others(pod_dir: &Path, name: &str) -> bool {
    let Some(entries) = pod_dir.parent().and_then(|pods| fs::read_dir(pods).ok()) else { return false };
    let others = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.file_name() != pod_dir.file_name());
    others.map(|p| p.join("volumes/kubernetes.io~local-volume").join(name)).any(|p| sys::is_mount(&p).unwrap_or(false))
}

fn device(pod_dir: &Path, device: &Path, name: &str, fs_type: &str, options: &[String]) -> Result<PathBuf, String> {
    let target = device_mount(pod_dir, name).ok_or_else(|| format!("{} is no pod's folder", pod_dir.display()))?;
    if !sys::is_mount(&target).map_err(at("stat", &target))? {
        make_dir(&target, 0o750)?;
        run_mount(fs_type, &device.to_string_lossy(), &target, options)
            .map_err(|e| format!("local: failed to mount device {} at {} (fstype: {fs_type}), error {e}", device.display(), target.display()))?;
    }
    Ok(target)
}

fn nfs(path: &Path, source: &str, options: &[String]) -> Result<bool, String> {
    if sys::is_mount(path).map_err(at("stat", path))? {
        return Ok(false);
    }
    make_dir(path, 0o750)?;
    run_mount("nfs", source, path, options).inspect_err(|_| drop(fs::remove_dir(path)))?;
    Ok(true)
}

/// File systems with helpers of their own, and options that only mount(8) knows how to read.
fn run_mount(fs_type: &str, source: &str, target: &Path, options: &[String]) -> Result<(), String> {
    let mut command = Command::new("mount");
    command.arg("-t").arg(fs_type);
    if !options.is_empty() {
        command.arg("-o").arg(options.join(","));
    }
    command.arg("--").arg(source).arg(target).stdin(Stdio::null());
    let out = command.output().map_err(|e| format!("mount failed: the program mount: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    let said = out.stderr.get(..out.stderr.len().min(1024)).unwrap_or_default();
    Err(format!(
        "mount failed: {}\nMounting command: mount\nMounting arguments: -t {fs_type} {source} {}\nOutput: {}",
        out.status,
        target.display(),
        String::from_utf8_lossy(said).trim()
    ))
}
