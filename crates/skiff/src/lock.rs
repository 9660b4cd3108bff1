//! One server a state folder.
use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a process that was killed may take to let go of its files.
const DYING: Duration = Duration::from_secs(20);

/// Without its memory a process is about to end, though it may still hold its files.
fn runs(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Held as long as the file is open.
pub fn take(data: &Path) -> anyhow::Result<File> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).with_context(|| format!("make the state folder {}", data.display()))?;
    let path = data.join("lock");
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).read(true).mode(0o600).open(&path).with_context(|| format!("open {}", path.display()))?;
    let start = Instant::now();
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let pid = std::fs::read_to_string(&path).unwrap_or_default();
        if runs(pid.trim()) || start.elapsed() > DYING {
            bail!("another skiff (process {}) runs on {}: stop it, or give this one another --data-dir", pid.trim(), data.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).with_context(|| format!("write {}", path.display()))?;
    Ok(file)
}
