//! Control groups, v1 and v2, behind one type.
//!
//! Files that a kernel doesn't have are skipped; a limit that can't be set is an error that names it.

mod apply;
mod usage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use usage::Usage;

use crate::error::{At, Result};

/// The controllers of v1 that a container is put into, where mounted.
const V1_CONTROLLERS: [&str; 7] = ["cpu", "cpuacct", "memory", "pids", "devices", "cpuset", "hugetlb"];

/// The hierarchies of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchies {
    V1(Vec<(String, PathBuf)>),
    V2(PathBuf),
}

impl Hierarchies {
    /// Reads the mount table, once a process: hierarchies stay where they are, and the table of a node is long.
    pub fn detect() -> Result<Self> {
        static FOUND: OnceLock<Hierarchies> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        let table = fs::read_to_string("/proc/self/mounts").at(|| "read /proc/self/mounts".into())?;
        Ok(FOUND.get_or_init(|| Self::from_mounts(&table)).clone())
    }

    /// v2 where any controller lies there, otherwise v1 (a hybrid machine counts as v1).
    pub fn from_mounts(table: &str) -> Self {
        let mut v1 = Vec::new();
        let mut v2 = None;
        for line in table.lines() {
            let mut fields = line.split(' ');
            let (Some(_), Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            match kind {
                "cgroup2" => {
                    v2.get_or_insert_with(|| PathBuf::from(point));
                }
                "cgroup" => {
                    for controller in options.split(',').filter(|option| V1_CONTROLLERS.contains(option)) {
                        v1.push((controller.to_owned(), PathBuf::from(point)));
                    }
                }
                _ => {}
            }
        }
        match v2 {
            Some(point) if v1.is_empty() => Self::V2(point),
            _ => Self::V1(v1),
        }
    }
}

/// One control group, in every hierarchy.
#[derive(Clone, Debug)]
pub struct Cgroup {
    hierarchies: Hierarchies,
    path: PathBuf,
}

impl Cgroup {
    /// `path` is from the root, e.g. `/kubepods/pod1/c1`.
    pub fn new(hierarchies: Hierarchies, path: &str) -> Self {
        Self { hierarchies, path: PathBuf::from(path.trim_start_matches('/')) }
    }

    pub fn open(path: &str) -> Result<Self> {
        Ok(Self::new(Hierarchies::detect()?, path))
    }

    /// The distinct folders: controllers of v1 may be mounted together.
    pub fn folders(&self) -> Vec<PathBuf> {
        match &self.hierarchies {
            Hierarchies::V2(root) => vec![root.join(&self.path)],
            Hierarchies::V1(list) => {
                let mut folders: Vec<PathBuf> = list.iter().map(|(_, root)| root.join(&self.path)).collect();
                folders.sort();
                folders.dedup();
                folders
            }
        }
    }

    /// Where a controller's files are.
    pub fn folder(&self, controller: &str) -> Option<PathBuf> {
        match &self.hierarchies {
            Hierarchies::V2(root) => Some(root.join(&self.path)),
            Hierarchies::V1(list) => list.iter().find(|(name, _)| name == controller).map(|(_, root)| root.join(&self.path)),
        }
    }

    /// Controllers of v1 with their mount point on the host; empty on v2.
    pub fn v1_mounts(&self) -> &[(String, PathBuf)] {
        match &self.hierarchies {
            Hierarchies::V1(list) => list,
            Hierarchies::V2(_) => &[],
        }
    }

    pub fn is_v2(&self) -> bool {
        matches!(self.hierarchies, Hierarchies::V2(_))
    }

    /// Makes it with its parents.
    pub fn create(&self) -> Result<()> {
        match &self.hierarchies {
            Hierarchies::V2(root) => self.create_v2(root),
            Hierarchies::V1(_) => {
                for folder in self.folders() {
                    fs::create_dir_all(&folder).at(|| format!("create cgroup {}", folder.display()))?;
                }
                self.fill_cpuset()
            }
        }
    }

    fn create_v2(&self, root: &Path) -> Result<()> {
        let mut at = root.to_owned();
        for name in &self.path {
            let available = fs::read_to_string(at.join("cgroup.controllers")).unwrap_or_default();
            for controller in available.split_whitespace() {
                // One by one: a controller that can't be delegated doesn't hold up the others.
                let _ = fs::write(at.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            at.push(name);
            if let Err(error) = fs::create_dir(&at)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(error).at(|| format!("create cgroup {}", at.display()));
            }
        }
        Ok(())
    }

    /// A v1 cpuset takes no process before it has CPUs and memory nodes: inherit them, from the top.
    fn fill_cpuset(&self) -> Result<()> {
        let Hierarchies::V1(list) = &self.hierarchies else { return Ok(()) };
        let Some((_, root)) = list.iter().find(|(name, _)| name == "cpuset") else { return Ok(()) };
        let mut parent = root.clone();
        for name in &self.path {
            let folder = parent.join(name);
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let own = fs::read_to_string(folder.join(file)).at(|| format!("read {file} of {}", folder.display()))?;
                if own.trim().is_empty() {
                    let inherited = fs::read_to_string(parent.join(file)).at(|| format!("read {file} of {}", parent.display()))?;
                    fs::write(folder.join(file), inherited.trim()).at(|| format!("set {file} of {}", folder.display()))?;
                }
            }
            parent = folder;
        }
        Ok(())
    }

    /// Moves the calling process into it. What the caller forks later is in it as well.
    pub fn join(&self) -> Result<()> {
        for folder in self.folders() {
            fs::write(folder.join("cgroup.procs"), "0").at(|| format!("join cgroup {}", folder.display()))?;
        }
        Ok(())
    }

    /// The processes in it, its children not included.
    pub fn processes(&self) -> Vec<i32> {
        let folder = self.folder("memory").or_else(|| self.folders().into_iter().next());
        let text = folder.and_then(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok()).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// SIGKILL to everything in it.
    pub fn kill(&self) {
        if let Hierarchies::V2(root) = &self.hierarchies
            && fs::write(root.join(&self.path).join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for pid in self.processes() {
            if let Ok(pidfd) = skiff_sys::process::open(pid) {
                let _ = skiff_sys::process::signal(std::os::fd::AsFd::as_fd(&pidfd), 9);
            }
        }
    }

    /// Removes it and what is below, killing what still runs. One that isn't there is no error. Processes take a moment
    /// to leave after they were killed; `patience` is how long we wait for that.
    pub fn remove(&self, patience: Duration) -> Result<()> {
        let begin = Instant::now();
        for folder in self.folders() {
            loop {
                match remove_tree(&folder) {
                    Ok(()) => break,
                    Err(error) if error.raw_os_error() == Some(16) && begin.elapsed() < patience => {
                        kill_tree(&folder);
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Err(error) => return Err(error).at(|| format!("remove cgroup {}", folder.display())),
                }
            }
        }
        Ok(())
    }
}

fn sub_folders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(()) => return Ok(()),
        Err(_) => {}
    }
    for below in sub_folders(folder) {
        remove_tree(&below)?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn kill_tree(folder: &Path) {
    for below in sub_folders(folder) {
        kill_tree(&below);
    }
    for pid in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines().filter_map(|line| line.parse().ok()) {
        if let Ok(pidfd) = skiff_sys::process::open(pid) {
            let _ = skiff_sys::process::signal(std::os::fd::AsFd::as_fd(&pidfd), 9);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_apart() {
        let v2 = Hierarchies::from_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n");
        assert_eq!(v2, Hierarchies::V2("/sys/fs/cgroup".into()));
        let hybrid = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n";
        let cgroup = Cgroup::new(Hierarchies::from_mounts(hybrid), "/a/b");
        assert!(!cgroup.is_v2());
        assert_eq!(cgroup.folders(), [PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/a/b")]);
        assert_eq!(cgroup.folder("memory"), None);
    }
}
