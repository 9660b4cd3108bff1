//! Configuration files that are read again when they change.
use anyhow::bail;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often they are looked at.
pub const EVERY: Duration = Duration::from_secs(5);
/// Longer files are refused, bytes.
const LIMIT: u64 = 1 << 20;

/// A file, and what it was when it was last looked at.
pub struct File {
    path: PathBuf,
    seen: Stamp,
}

/// None: it is not there.
type Stamp = Option<(SystemTime, u64, u64)>;

impl File {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { seen: stamp(&path), path }
    }
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Whether it is there and another than before.
    pub fn changed(&mut self) -> bool {
        let now = stamp(&self.path);
        let changed = now.is_some() && now != self.seen;
        self.seen = now.or(self.seen);
        changed
    }
    pub fn read(path: &Path) -> anyhow::Result<String> {
        if std::fs::metadata(path)?.len() > LIMIT {
            bail!("the file is larger than {LIMIT} bytes");
        }
        Ok(std::fs::read_to_string(path)?)
    }
}

/// Follows links, so that a mounted ConfigMap's swap is seen.
fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_change_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = File::new(&path);
        assert!(!file.changed());
        std::fs::write(&path, "a").unwrap();
        assert_eq!((file.changed(), file.changed()), (true, false));
        std::fs::write(dir.path().join("g"), "b").unwrap();
        std::fs::rename(dir.path().join("g"), &path).unwrap();
        assert!(file.changed());
        std::fs::remove_file(&path).unwrap();
        assert!(!file.changed());
    }
}
