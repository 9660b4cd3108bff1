//! What a cluster leaves on the machine: found by its folder and its prefix, and taken away by force where the cluster itself no
//! longer can.

use super::Cluster;
use crate::{has, output, run};
use anyhow::Context;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use skiff_netlink::Route;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where cgroups are, by the versions and controllers that a machine may have.
const GROUPS: [&str; 4] = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"];
/// How often a group is tried to remove: processes that were killed take a moment.
const TRIES: u32 = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    Process {
        pid: i32,
        line: String,
    },
    Mount(PathBuf),
    Link(String),
    /// Of the family `inet`.
    Table(String),
    Group(PathBuf),
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, line } => write!(f, "process {pid}: {line}"),
            Self::Mount(at) => write!(f, "mount {}", at.display()),
            Self::Link(name) => write!(f, "link {name}"),
            Self::Table(name) => write!(f, "table inet {name}"),
            Self::Group(at) => write!(f, "cgroup {}", at.display()),
        }
    }
}

/// In the order in which they can be removed.
pub fn find(cluster: &Cluster) -> anyhow::Result<Vec<Leftover>> {
    let mut left = processes(&cluster.dir)?;
    left.extend(mounts(&cluster.dir)?.into_iter().map(Leftover::Mount));
    let ours = format!("{}-", cluster.prefix);
    left.extend(Route::open()?.links()?.into_iter().map(|l| l.name).filter(|n| n.starts_with(&ours)).map(Leftover::Link));
    if rustix::process::geteuid().is_root() && has("nft") {
        left.extend(tables(&output(Command::new("nft").args(["list", "tables"]))?, &ours).into_iter().map(Leftover::Table));
    }
    let groups = GROUPS.iter().flat_map(|base| std::fs::read_dir(base).into_iter().flatten().flatten());
    left.extend(groups.filter(|g| group_is_ours(&g.file_name().to_string_lossy(), &cluster.prefix)).map(|g| Leftover::Group(g.path())));
    Ok(left)
}

/// Processes that were told the folder, but for this one.
fn processes(dir: &Path) -> anyhow::Result<Vec<Leftover>> {
    let within = format!("{}/", dir.display());
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").context("read the processes")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).unwrap_or_default()).replace('\0', " ");
        if pid.unsigned_abs() != std::process::id() && line.contains(&within) {
            left.push(Leftover::Process { pid, line });
        }
    }
    Ok(left)
}

/// Mounts below the folder, the innermost first.
pub fn mounts(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    let mut below: Vec<PathBuf> = text.lines().filter_map(|l| l.split(' ').nth(1)).map(PathBuf::from).filter(|at| at.starts_with(dir) && at != dir).collect();
    below.reverse();
    Ok(below)
}

/// Names out of lines such as `table inet s1d4d-pods`.
fn tables(list: &str, ours: &str) -> Vec<String> {
    list.lines().filter_map(|l| l.strip_prefix("table inet ")).filter(|n| n.starts_with(ours)).map(str::to_owned).collect()
}

/// `<prefix>`, or `<prefix>-n<i>` of a node of several.
fn group_is_ours(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("-n"))
}

impl Leftover {
    pub fn remove(&self) -> anyhow::Result<()> {
        match self {
            Self::Process { pid, .. } => {
                kill(*pid);
                Ok(())
            }
            Self::Mount(at) => Ok(unmount(at, UnmountFlags::DETACH)?),
            Self::Link(name) => Ok(Route::open()?.remove_link(name)?),
            Self::Table(name) => run(Command::new("nft").args(["delete", "table", "inet", name])),
            Self::Group(at) => remove_group(at),
        }
    }
}

/// One that has ended meanwhile is gone as well.
fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// With all groups below it and all processes in them.
fn remove_group(at: &Path) -> anyhow::Result<()> {
    let below = std::fs::read_dir(at).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    for group in below {
        remove_group(&group.path())?;
    }
    let mut tries = 0;
    loop {
        let inside = std::fs::read_to_string(at.join("cgroup.procs")).unwrap_or_default();
        inside.lines().filter_map(|l| l.parse().ok()).for_each(kill);
        match std::fs::remove_dir(at) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(_) if tries < TRIES => std::thread::sleep(Duration::from_millis(50)),
            done => return done.with_context(|| format!("remove {}", at.display())),
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_cluster() {
        assert_eq!(tables("table inet s1-pods\ntable inet s12-pods\ntable ip s1-x\n", "s1-"), ["s1-pods"]);
        for (name, ours) in [("s1", true), ("s1-n2", true), ("s12", false), ("s12-n1", false), ("s", false), ("s1-x", false)] {
            assert_eq!(group_is_ours(name, "s1"), ours, "{name}");
        }
    }
}
