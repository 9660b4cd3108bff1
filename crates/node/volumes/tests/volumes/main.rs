//! Volumes on a real file system. What needs root says so and is skipped without it.
mod atomic;
mod cleanup;
mod media;
mod subpaths;
mod whole;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use skiff_meta::Quantity;
use skiff_pod::field::NodeFacts;
use skiff_volumes::{Mounted, Sources, VolumeError};
use std::path::{Path, PathBuf};

pub fn root() -> bool {
    let is = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !is {
        eprintln!("skipped: needs root");
    }
    is
}

/// A node's folder with one pod's; nothing stays mounted when it is dropped.
pub struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    pub fn make() -> Self {
        let node = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(node.pod_dir()).unwrap();
        node
    }
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
    pub fn pod_dir(&self) -> PathBuf {
        self.dir.path().join("pods/u1")
    }
    pub fn volume(&self, plugin: &str, name: &str) -> PathBuf {
        self.pod_dir().join(format!("volumes/kubernetes.io~{plugin}/{name}"))
    }
    pub fn set_up(&self, pod: &Pod, sources: &Sources) -> Result<Mounted, Vec<VolumeError>> {
        let facts = NodeFacts { allocatable_memory: Quantity::bytes(1 << 26), ..NodeFacts::default() };
        let plans = skiff_volumes::plan(pod, &self.pod_dir(), &facts, sources);
        skiff_volumes::set_up(&self.pod_dir(), plans, Timestamp::UNIX_EPOCH)
    }
    /// Mount points below the node's folder.
    pub fn mounts(&self) -> Vec<String> {
        let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = self.path().to_str().unwrap();
        all.lines().filter_map(|l| l.split(' ').nth(4)).filter(|p| p.starts_with(root)).map(str::to_owned).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for pod in std::fs::read_dir(self.path().join("pods")).into_iter().flatten().flatten() {
            let _ = skiff_volumes::tear_down(&pod.path());
        }
    }
}

pub fn pod(spec: &str) -> Pod {
    skiff_json::from_str(&format!(r#"{{"metadata":{{"name":"p","namespace":"ns","uid":"u1"}},"spec":{spec}}}"#)).unwrap()
}

pub fn config_map(data: &[(&str, &str)]) -> Sources {
    let c = k8s_openapi::api::core::v1::ConfigMap { data: Some(data.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()), ..Default::default() };
    Sources { config_maps: [("c".to_owned(), c)].into(), ..Sources::default() }
}

pub fn mode(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap()) & 0o7777
}
