//! What is measured: Skiff, or upstream beside it. Both are a kubeconfig and processes.

use super::process;
use crate::http::Client;
use crate::output;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Upstream's programs that answer a request: the rest of them watch and reconcile.
const SERVERS: [&str; 4] = ["apiserver", "kube-apiserver", "etcd", "kine"];

pub struct Subject {
    pub client: Client,
    kubeconfig: PathBuf,
    /// The processes that answer requests and keep objects.
    server: Vec<i32>,
    /// These and all others of it.
    all: Vec<i32>,
    /// Requests are this many times fewer: what takes long is measured well enough by less.
    pub fewer: usize,
    /// An image that its node has.
    pub image: Option<String>,
    /// Words of a shim's command line.
    shim: [String; 2],
}

impl Subject {
    pub fn skiff(kubeconfig: &Path, pid: i32, image: &str, run: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::of(kubeconfig)?,
            kubeconfig: kubeconfig.to_owned(),
            server: vec![pid],
            all: vec![pid],
            fewer: 1,
            image: Some(image.to_owned()),
            shim: ["shim".into(), run.to_string_lossy().into_owned()],
        })
    }
    /// Upstream by the kubeconfig of its administrator and the folder where a file NAME.pid tells each program's process.
    pub fn upstream(kubeconfig: &Path, pids: &Path, image: Option<&str>) -> anyhow::Result<Self> {
        let mut named = Vec::new();
        for file in std::fs::read_dir(pids).with_context(|| format!("read the folder of upstream's process ids, {}", pids.display()))? {
            let path = file?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".pid")) else { continue };
            let text = std::fs::read_to_string(&path)?;
            named.push((name.to_owned(), text.trim().parse::<i32>().with_context(|| format!("{}: {text:?} is no process id", path.display()))?));
        }
        let server: Vec<i32> = named.iter().filter(|(n, _)| SERVERS.contains(&n.as_str())).map(|(_, p)| *p).collect();
        ensure!(!server.is_empty(), "{} names none of {}", pids.display(), SERVERS.join(", "));
        Ok(Self {
            client: Client::of(kubeconfig)?,
            kubeconfig: kubeconfig.to_owned(),
            server,
            all: named.into_iter().map(|(_, p)| p).collect(),
            fewer: 5,
            image: image.map(str::to_owned),
            shim: ["containerd-shim".into(), "containerd".into()],
        })
    }
    /// Processor time of what answers requests.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        self.server.iter().map(|p| process::cpu(*p)).sum()
    }
    /// Processor time of all of it.
    pub fn cpu_of_all(&self) -> anyhow::Result<Duration> {
        self.all.iter().map(|p| process::cpu(*p)).sum()
    }
    /// Bytes handed to the disk.
    pub fn written(&self) -> anyhow::Result<u64> {
        self.all.iter().map(|p| process::written(*p)).sum()
    }
    /// Resident memory of what answers requests, in KiB.
    pub fn resident(&self) -> anyhow::Result<u64> {
        self.server.iter().map(|p| process::resident(*p)).sum()
    }
    /// Resident memory of all, and what of it is not the pages of files, in KiB.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let sum = |of: fn(i32) -> anyhow::Result<u64>| self.all.iter().map(|p| of(*p)).sum::<anyhow::Result<u64>>();
        Ok((sum(process::resident)?, sum(process::anonymous)?))
    }
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        output(Command::new("kubectl").arg("--kubeconfig").arg(&self.kubeconfig).args(args))
    }
    /// Private memory of its shims in KiB, sorted.
    pub fn shims(&self) -> anyhow::Result<Vec<u64>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            if self.shim.iter().all(|word| line.contains(word.as_str())) {
                all.extend(process::private(pid));
            }
        }
        all.sort_unstable();
        Ok(all)
    }
}
