use std::path::PathBuf;

/// Where the runtime keeps its things. Two runtimes on one machine differ in `run` and `cgroup_root`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The binary that becomes a shim by its first argument; `/proc/self/exe` unless a test needs another.
    pub exe: PathBuf,
    /// Sockets, pins, records: `/run/skiff`. A tmpfs on a real node.
    pub run: PathBuf,
    /// Above every pod's cgroup, e.g. `/skiff`; removed by [`crate::EmbeddedRuntime::stop_all`].
    pub cgroup_root: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { exe: "/proc/self/exe".into(), run: "/run/skiff".into(), cgroup_root: "/skiff".into() }
    }
}

impl Config {
    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.run.join("sandboxes")
    }

    pub(crate) fn sandbox(&self, id: &skiff_cri::SandboxId) -> PathBuf {
        self.sandboxes().join(id.as_str())
    }
}
