//! How much of the disk (or the memory) volumes use.
use crate::sys;
use k8s_openapi::api::core::v1::Pod;
use rustix::fs::{AtFlags, CWD, statat, statvfs};
use rustix::io::Errno;
use skiff_cri::FsStats;
use skiff_meta::Quantity;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUsage {
    pub volume: String,
    pub used: u64,
    pub inodes_used: u64,
    /// The volume's sizeLimit, in bytes.
    pub limit: Option<u64>,
    /// It counts as the node's ephemeral storage; otherwise as memory.
    pub on_disk: bool,
}

impl VolumeUsage {
    /// The message of the eviction that is due.
    pub fn excess(&self, written_limit: &str) -> Option<String> {
        let over = self.limit.is_some_and(|l| self.used > l);
        over.then(|| format!("Usage of EmptyDir volume {:?} exceeds the limit {written_limit:?}. ", self.volume))
    }
}

/// Use of each emptyDir of the pod.
pub fn empty_dir_usage(pod: &Pod, pod_dir: &Path) -> io::Result<Vec<VolumeUsage>> {
    let mut all = Vec::new();
    for v in skiff_pod::view::spec(pod).volumes.iter().flatten() {
        let Some(e) = &v.empty_dir else { continue };
        let path = pod_dir.join("volumes/kubernetes.io~empty-dir").join(&v.name);
        let stats = usage(&path)?;
        let limit = e.size_limit.as_ref().and_then(|q| q.0.parse::<Quantity>().ok()).and_then(|q| u64::try_from(q.value()).ok());
        let on_disk = e.medium.as_deref().unwrap_or_default().is_empty();
        all.push(VolumeUsage { volume: v.name.clone(), used: stats.used, inodes_used: stats.inodes_used, limit: limit.filter(|l| *l > 0), on_disk });
    }
    Ok(all)
}

/// Bytes as allocated and inodes at and below a path, without leaving its file system; a mount of its own is asked as a
/// whole. What vanishes meanwhile isn't counted; what isn't there uses nothing.
pub fn usage(path: &Path) -> io::Result<FsStats> {
    if sys::is_mount(path)? {
        let s = statvfs(path)?;
        let used = s.f_blocks.saturating_sub(s.f_bfree).saturating_mul(s.f_frsize);
        return Ok(FsStats { used, inodes_used: s.f_files.saturating_sub(s.f_ffree), ..FsStats::default() });
    }
    let mut stats = FsStats::default();
    let mut linked = BTreeSet::new();
    let mut pending: Vec<PathBuf> = vec![path.to_owned()];
    let mut device = None;
    while let Some(path) = pending.pop() {
        let s = match statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            other => other?,
        };
        if *device.get_or_insert(s.st_dev) != s.st_dev {
            continue;
        }
        let is_dir = rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::Directory;
        if s.st_nlink > 1 && !is_dir && !linked.insert(s.st_ino) {
            continue;
        }
        stats.used += u64::try_from(s.st_blocks).unwrap_or(0) * 512;
        stats.inodes_used += 1;
        if is_dir {
            match std::fs::read_dir(&path) {
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                entries => pending.extend(entries?.filter_map(|e| Some(e.ok()?.path()))),
            }
        }
    }
    Ok(stats)
}
