//! Which cluster has which port.
//!
//! Links, tables and cgroups are named for the port, so of two clusters of one port the later would undo the earlier. A claim says whose they
//! are. It also finds what an aborted run left behind: a cluster whose owner has gone, or whose folder has, is taken away
//! before another one of its port starts.

use super::{Cluster, leftovers};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The process that a cluster is for, told from a later one of the same number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Owner {
    pid: u32,
    /// Clock ticks since the machine's start.
    started: u64,
    /// Its own folder, in which the cluster's is.
    folder: PathBuf,
}

impl Owner {
    /// This process, and a folder that goes with it.
    pub fn this(folder: &Path) -> Option<Self> {
        let pid = std::process::id();
        Some(Self { pid, started: started_of(pid)?, folder: folder.to_owned() })
    }
    fn lives(&self) -> bool {
        started_of(self.pid) == Some(self.started)
    }
}

fn started_of(pid: u32) -> Option<u64> {
    started(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The 22nd field of `/proc/<pid>/stat`. The second one, the program's name, may hold anything.
fn started(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// What to do about the claim of another cluster on the same port.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Ours,
    Abandoned,
    Taken,
}

/// `owner`: whether the other's owner lives, if it has one. `recorded`: whether a folder still has a cluster's record.
fn judge(other: &Path, mine: &Path, owner: Option<bool>, recorded: impl Fn(&Path) -> bool) -> Finding {
    match (owner, recorded(other)) {
        (_, true) if other == mine => Finding::Ours,
        (Some(true), _) if other != mine => Finding::Taken,
        (None, true) => Finding::Taken,
        _ => Finding::Abandoned,
    }
}

fn folder() -> PathBuf {
    let user = rustix::process::geteuid();
    if user.is_root() { "/run/skiff-clusters".into() } else { std::env::temp_dir().join(format!("skiff-clusters-{}", user.as_raw())) }
}

fn file(prefix: &str) -> PathBuf {
    folder().join(prefix)
}

/// Claims the cluster's port, after what an abandoned cluster left there is taken away.
pub fn take(cluster: &Cluster) -> anyhow::Result<()> {
    let path = file(&cluster.prefix);
    let other: Option<Cluster> = match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        // A torn claim claims nothing.
        other => skiff_json::from_slice(&other.with_context(|| format!("read {}", path.display()))?).ok(),
    };
    if let Some(other) = other {
        let recorded = |dir: &Path| Cluster::record(dir).exists();
        match judge(&other.dir, &cluster.dir, other.owner.as_ref().map(Owner::lives), recorded) {
            Finding::Ours => {}
            Finding::Taken => bail!(
                "port {} belongs to the cluster in {}: end it with `cargo xtask cluster down --dir {}`, or take another port",
                other.port,
                other.dir.display(),
                other.dir.display()
            ),
            Finding::Abandoned => clear(&other).with_context(|| format!("take away what the cluster in {} left behind", other.dir.display()))?,
        }
    }
    std::fs::create_dir_all(folder()).with_context(|| format!("make {}", folder().display()))?;
    std::fs::write(&path, skiff_json::to_vec(cluster)?).with_context(|| format!("write {}", path.display()))
}

/// Gives the port back.
pub fn release(cluster: &Cluster) {
    let path = file(&cluster.prefix);
    let ours = std::fs::read(&path).ok().and_then(|b| skiff_json::from_slice::<Cluster>(&b).ok()).is_some_and(|c| c.dir == cluster.dir);
    if ours {
        let _ = std::fs::remove_file(&path);
        // Unless there are more.
        let _ = std::fs::remove_dir(folder());
    }
}

/// Ends an abandoned cluster: as it would end itself if that is possible, and what stays after that by force.
fn clear(other: &Cluster) -> anyhow::Result<()> {
    eprintln!("the cluster in {} was abandoned; it is taken away", other.dir.display());
    if let Err(e) = other.down() {
        eprintln!("it does not go by itself: {e:#}");
    }
    for left in leftovers::find(other)? {
        left.remove().with_context(|| format!("remove the {left}"))?;
    }
    let folder = other.owner.as_ref().map_or(&other.dir, |o| &o.folder);
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.with_context(|| format!("remove {}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one() {
        assert_eq!(started("7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"), Some(4711));
        assert_eq!(started("7 (a) S 1"), None);
        let me = Owner::this(Path::new("/a")).unwrap();
        assert!(me.lives());
        assert!(!Owner { started: me.started + 1, ..me }.lives());
    }

    #[test]
    fn whose_a_port_is() {
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        for (other, owner, recorded, want) in [
            (a, None, true, Finding::Ours),
            (a, Some(false), true, Finding::Ours),
            // The folder was emptied while the cluster ran.
            (a, None, false, Finding::Abandoned),
            (a, Some(true), false, Finding::Abandoned),
            (b, None, true, Finding::Taken),
            (b, None, false, Finding::Abandoned),
            (b, Some(true), true, Finding::Taken),
            (b, Some(true), false, Finding::Taken),
            (b, Some(false), true, Finding::Abandoned),
        ] {
            assert_eq!(judge(other, a, owner, |_| recorded), want, "{other:?} {owner:?} {recorded}");
        }
    }
}
