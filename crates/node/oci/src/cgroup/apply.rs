//! Limits into files.

use std::fs;
use std::io;
use std::path::Path;

use super::{Cgroup, Hierarchies};
use crate::Resources;
use crate::error::{At, Result};

/// CPU shares of v1 as a weight of v2, on a line through (2, 1) and (262144, 10000).
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

impl Cgroup {
    /// Sets what is set in `resources`; the rest stays.
    pub fn apply(&self, resources: &Resources) -> Result<()> {
        match &self.hierarchies {
            Hierarchies::V2(_) => self.apply_v2(resources),
            Hierarchies::V1(_) => self.apply_v1(resources),
        }
    }

    fn apply_v1(&self, resources: &Resources) -> Result<()> {
        self.put("cpu", "cpu.shares", (resources.cpu_shares > 0).then(|| resources.cpu_shares.max(2).to_string()))?;
        self.put("cpu", "cpu.cfs_period_us", (resources.cpu_period > 0).then(|| resources.cpu_period.to_string()))?;
        self.put("cpu", "cpu.cfs_quota_us", (resources.cpu_quota != 0).then(|| resources.cpu_quota.to_string()))?;
        self.put("memory", "memory.limit_in_bytes", (resources.memory_limit != 0).then(|| resources.memory_limit.to_string()))?;
        self.put("pids", "pids.max", limit(resources.pids_limit))?;
        self.put("cpuset", "cpuset.cpus", text(&resources.cpuset_cpus))?;
        self.put("cpuset", "cpuset.mems", text(&resources.cpuset_mems))?;
        for (size, bytes) in &resources.hugepages {
            self.put("hugetlb", &format!("hugetlb.{size}.limit_in_bytes"), Some(bytes.to_string()))?;
        }
        Ok(())
    }

    fn apply_v2(&self, resources: &Resources) -> Result<()> {
        self.put("cpu", "cpu.weight", (resources.cpu_shares > 0).then(|| weight_of_shares(resources.cpu_shares).to_string()))?;
        if resources.cpu_quota != 0 || resources.cpu_period > 0 {
            let quota = if resources.cpu_quota > 0 { resources.cpu_quota.to_string() } else { "max".into() };
            let period = if resources.cpu_period > 0 { resources.cpu_period } else { 100_000 };
            self.put("cpu", "cpu.max", Some(format!("{quota} {period}")))?;
        }
        self.put("memory", "memory.max", limit(resources.memory_limit))?;
        if resources.memory_limit > 0 {
            self.put("memory", "memory.swap.max", Some("0".into()))?;
        }
        self.put("pids", "pids.max", limit(resources.pids_limit))?;
        self.put("cpuset", "cpuset.cpus", text(&resources.cpuset_cpus))?;
        self.put("cpuset", "cpuset.mems", text(&resources.cpuset_mems))?;
        for (size, bytes) in &resources.hugepages {
            self.put("hugetlb", &format!("hugetlb.{size}.max"), Some(bytes.to_string()))?;
        }
        for (file, value) in &resources.unified {
            // A file name, never a path.
            if !file.contains('/') {
                self.put("", file, Some(value.clone()))?;
            }
        }
        Ok(())
    }

    /// Default rules of a container's devices (v1): what every program needs, what the spec adds, and making nodes.
    pub fn allow_devices(&self, extra: &[String]) -> Result<()> {
        if self.is_v2() {
            return Ok(());
        }
        let Some(folder) = self.folder("devices").filter(|folder| folder.exists()) else { return Ok(()) };
        const RULES: [&str; 10] =
            ["c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"];
        write(&folder, "devices.deny", "a")?;
        for rule in RULES.iter().copied().chain(extra.iter().map(String::as_str)) {
            write(&folder, "devices.allow", rule)?;
        }
        Ok(())
    }

    fn put(&self, controller: &str, file: &str, value: Option<String>) -> Result<()> {
        let (Some(value), Some(folder)) = (value, self.folder(controller)) else { return Ok(()) };
        write(&folder, file, &value)
    }
}

fn write(folder: &Path, file: &str, value: &str) -> Result<()> {
    match fs::write(folder.join(file), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.exists() => Ok(()),
        // Opening with O_CREAT for a file that the kernel doesn't have.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !folder.join(file).exists() => Ok(()),
        result => result.at(|| format!("set {file} of {} to {value:?}", folder.display())),
    }
}

fn limit(value: i64) -> Option<String> {
    match value {
        0 => None,
        1.. => Some(value.to_string()),
        _ => Some("max".into()),
    }
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::weight_of_shares;

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }
}
