//! A runtime in temporary folders, with root file systems made of busybox.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use skiff_cri::fake::FakeNetwork;
use skiff_cri::*;
use skiff_runtime::{Config, EmbeddedRuntime};

const BUSYBOX: &str = "/bin/busybox";

pub fn missing() -> Option<&'static str> {
    // SAFETY: no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    match (root, Path::new(BUSYBOX).exists()) {
        (false, _) => Some("needs root"),
        (_, false) => Some("needs /bin/busybox (busybox-static)"),
        _ => None,
    }
}

/// Root file systems below one folder, one for each container.
pub struct Roots(pub PathBuf);

impl Roots {
    fn fill(root: &Path) -> std::io::Result<()> {
        for folder in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy(BUSYBOX, root.join("bin/busybox"))?;
        for applet in [
            "sh", "sleep", "cat", "echo", "id", "ls", "hostname", "mount", "grep", "dd", "stty", "nc", "ps", "head", "yes", "true", "test", "mkdir", "wc",
            "touch", "chroot", "readlink", "stat", "kill", "seq", "tail", "mkdir", "unshare",
        ] {
            let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(applet));
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\n")?;
        fs::write(root.join("etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:40:web\n")
    }
}

#[async_trait]
impl Snapshots for Roots {
    async fn prepare(&self, _image: &ImageId, container: &ContainerId) -> Result<PreparedRootfs> {
        let path = self.0.join(container.as_str());
        Self::fill(&path).map_err(|error| RuntimeError::failed("make a root", error))?;
        Ok(PreparedRootfs { path, config: ImageConfig { cmd: vec!["sh".into()], ..ImageConfig::default() } })
    }

    async fn release(&self, container: &ContainerId) -> Result<()> {
        let _ = fs::remove_dir_all(self.0.join(container.as_str()));
        Ok(())
    }

    async fn usage(&self, _container: &ContainerId) -> Result<FsStats> {
        Ok(FsStats::default())
    }

    async fn prepared(&self) -> Result<Vec<ContainerId>> {
        let entries = fs::read_dir(&self.0).map_err(|error| RuntimeError::failed("list roots", error))?;
        Ok(entries.flatten().map(|entry| ContainerId::new(entry.file_name().to_string_lossy())).collect())
    }
}

pub struct Bed {
    pub folder: tempfile::TempDir,
    pub config: Config,
    pub roots: Arc<Roots>,
    pub network: Arc<FakeNetwork>,
    pub runtime: EmbeddedRuntime,
}

impl Bed {
    pub async fn make() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().expect("temporary folder");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let config = Config { run: folder.path().join("run"), cgroup_root: format!("/skiff-rt-test-{}-{number}", std::process::id()), ..Config::default() };
        fs::create_dir_all(folder.path().join("roots")).expect("roots");
        let roots = Arc::new(Roots(folder.path().join("roots")));
        let network = Arc::new(FakeNetwork::default());
        let runtime = open(&config, &roots, &network).await;
        Self { folder, config, roots, network, runtime }
    }

    /// A second daemon over what the first has left.
    pub async fn reopen(&self) -> EmbeddedRuntime {
        open(&self.config, &self.roots, &self.network).await
    }

    pub async fn tear_down(self) {
        self.runtime.stop_all().await.unwrap_or_else(|error| panic!("stop_all: {}", error.full_message()));
        let run = self.config.run.to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        assert!(!mounts.contains(&run), "mounts are left: {mounts}");
        let left = Path::new("/sys/fs/cgroup/memory").join(self.config.cgroup_root.trim_start_matches('/'));
        assert!(!left.exists(), "{} is left", left.display());
    }

    pub fn sandbox_config(&self, name: &str) -> SandboxConfig {
        SandboxConfig {
            metadata: PodMetadata { name: name.into(), namespace: "test".into(), uid: format!("uid-{name}"), attempt: 0 },
            hostname: name.into(),
            log_directory: self.folder.path().join("logs").join(name),
            cgroup_parent: format!("/kubepods/pod{name}"),
            ..SandboxConfig::default()
        }
    }

    pub async fn sandbox(&self, name: &str) -> SandboxId {
        self.sandbox_with(&self.sandbox_config(name)).await
    }

    pub async fn sandbox_with(&self, config: &SandboxConfig) -> SandboxId {
        self.runtime.run_sandbox(config).await.unwrap_or_else(|error| panic!("run_sandbox: {}", error.full_message()))
    }

    pub async fn create(&self, sandbox: &SandboxId, config: &ContainerConfig) -> ContainerId {
        let id = self.runtime.create_container(sandbox, config).await.unwrap_or_else(|error| panic!("create: {}", error.full_message()));
        self.runtime.start_container(&id).await.unwrap_or_else(|error| panic!("start: {}", error.full_message()));
        id
    }

    /// What a shell script printed, and its exit code, as the first process of a container.
    pub async fn run(&self, sandbox: &SandboxId, config: ContainerConfig, script: &str) -> (i32, String) {
        let mut config = config;
        config.command = shell(script);
        config.log_path = format!("{}.log", config.metadata.name).into();
        let id = self.create(sandbox, &config).await;
        let status = wait(&self.runtime, &id).await;
        let text = read_log(&status.log_path);
        self.runtime.remove_container(&id).await.expect("remove");
        let _ = fs::remove_file(&status.log_path);
        (status.exit_code, text)
    }

    pub async fn exec(&self, id: &ContainerId, script: &str) -> (i32, String) {
        let output = self.runtime.exec_sync(id, &shell(script), Duration::from_secs(60)).await;
        let output = output.unwrap_or_else(|error| panic!("exec: {}", error.full_message()));
        (output.exit_code, String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    }
}

async fn open(config: &Config, roots: &Arc<Roots>, network: &Arc<FakeNetwork>) -> EmbeddedRuntime {
    let opened = EmbeddedRuntime::open(config.clone(), roots.clone(), network.clone()).await;
    opened.unwrap_or_else(|error| panic!("open: {}", error.full_message()))
}

pub fn shell(script: &str) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), script.into()]
}

pub fn container(name: &str) -> ContainerConfig {
    ContainerConfig::new(name, "sha256:test".into())
}

/// A container that runs until it is stopped.
pub fn idle(name: &str) -> ContainerConfig {
    let mut config = container(name);
    config.command = shell("trap 'exit 143' TERM; while :; do sleep 1000 & wait; done");
    config
}

/// Waits until the shell of [`idle`] has set its trap: a namespace's first process does not hear of a signal that it has no handler for.
pub async fn heedful(runtime: &EmbeddedRuntime, id: &ContainerId) {
    let pid = runtime.container_status(id).await.expect("status").pid.expect("a pid");
    let caught = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the shell runs");
        let mask = status.lines().find_map(|l| l.strip_prefix("SigCgt:")).expect("its signals").trim();
        u64::from_str_radix(mask, 16).expect("a mask") & 1 << (libc::SIGTERM - 1) != 0
    };
    let waited = async {
        while !caught() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("the shell sets its trap");
}

/// Waits for the end, by events.
pub async fn wait(runtime: &EmbeddedRuntime, id: &ContainerId) -> ContainerStatus {
    let mut events = runtime.events();
    let ended = async {
        loop {
            let status = runtime.container_status(id).await.expect("status");
            if status.state == ContainerState::Exited {
                return status;
            }
            events.recv().await.expect("events");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the container ends")
}

/// The text of a log without time, stream and tag.
pub fn read_log(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| format!("{}\n", line.splitn(4, ' ').nth(3).unwrap_or_default())).collect()
}
