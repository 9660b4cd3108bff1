//! One process a state folder, and one a run folder: each has a file in it that is locked as long as the process lives.
//!
//! Who the containers of a run folder belong to, after the process is gone, is in [`crate::admin::Traces`].
use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a process that was killed may take to let go of its files.
const DYING: Duration = Duration::from_secs(20);

/// Without its memory a process is about to end, though it may still hold its files.
fn runs(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The state folder, made when it is missing. Held as long as the file is open.
pub fn take(data: &Path) -> anyhow::Result<File> {
    make(data, 0o700).with_context(|| format!("make the state folder {}", data.display()))?;
    hold(&data.join("lock"), data, "--data-dir")
}

/// The run folder, made when it is missing. Held as long as the file is open.
pub fn take_run(run: &Path) -> anyhow::Result<File> {
    make(run, 0o755).with_context(|| format!("make the run folder {}", run.display()))?;
    hold(&of_run(run), run, "--run-dir")
}

/// Not the name of the state folder's: both may be one folder.
pub fn of_run(run: &Path) -> PathBuf {
    run.join("run.lock")
}

fn make(dir: &Path, mode: u32) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(dir)
}

fn hold(path: &Path, dir: &Path, flag: &str) -> anyhow::Result<File> {
    let start = Instant::now();
    loop {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("open {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // `skiff stop` takes the file away with the folder while it holds it.
            if !same(&file, path) {
                make(dir, 0o755).with_context(|| format!("make {}", dir.display()))?;
                continue;
            }
            file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).with_context(|| format!("write {}", path.display()))?;
            return Ok(file);
        }
        let pid = std::fs::read_to_string(path).unwrap_or_default();
        if runs(pid.trim()) || start.elapsed() > DYING {
            bail!("another skiff (process {}) runs on {}: stop it, or give this one another {flag}", pid.trim(), dir.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn same(file: &File, path: &Path) -> bool {
    let id = |m: std::fs::Metadata| (m.dev(), m.ino());
    file.metadata().map(id).ok().is_some_and(|held| std::fs::metadata(path).map(id).ok() == Some(held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once_and_told_by_its_flag() {
        let dir = tempfile::tempdir().unwrap();
        let data = take(dir.path()).unwrap();
        let run = take_run(dir.path()).expect("one folder may be both");
        let told = |e: anyhow::Result<File>| e.unwrap_err().to_string();
        let (pid, at) = (std::process::id(), dir.path().display());
        assert_eq!(told(take(dir.path())), format!("another skiff (process {pid}) runs on {at}: stop it, or give this one another --data-dir"));
        assert!(told(take_run(dir.path())).ends_with("give this one another --run-dir"));
        drop((data, run));
        take_run(dir.path()).expect("free again");
    }

    #[test]
    fn a_lock_whose_file_was_taken_away_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let gone = take_run(&run).unwrap();
        std::fs::remove_dir_all(&run).unwrap();
        assert!(!same(&gone, &of_run(&run)));
        let again = take_run(&run).unwrap();
        assert!(same(&again, &of_run(&run)));
    }
}
