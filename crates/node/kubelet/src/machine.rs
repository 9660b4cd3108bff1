//! Facts about the machine, read once, and its free memory and disk, read when asked.
use skiff_meta::Quantity;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub kernel: String,
    pub os_image: String,
    pub architecture: &'static str,
    pub cpus: i64,
    /// Bytes.
    pub memory: i64,
}

impl Machine {
    pub fn read() -> Self {
        let text = |p: &str| std::fs::read_to_string(p).map(|s| s.trim().to_owned()).unwrap_or_default();
        let mem = meminfo(&text("/proc/meminfo"));
        let os = text("/etc/os-release");
        let pretty = os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).map(|v| v.trim_matches('"').to_owned());
        Self {
            machine_id: text("/etc/machine-id"),
            system_uuid: Some(text("/sys/class/dmi/id/product_uuid")).filter(|s| !s.is_empty()).unwrap_or_else(|| text("/etc/machine-id")),
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            kernel: text("/proc/sys/kernel/osrelease"),
            os_image: pretty.unwrap_or_else(|| "Unknown".into()),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
            cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as i64),
            memory: mem.get("MemTotal").copied().unwrap_or_default(),
        }
    }
    pub fn capacity(&self, disk: u64, max_pods: u32) -> BTreeMap<String, Quantity> {
        BTreeMap::from([
            ("cpu".to_owned(), Quantity::units(self.cpus)),
            ("memory".to_owned(), kibibytes(self.memory)),
            ("ephemeral-storage".to_owned(), kibibytes(i64::try_from(disk).unwrap_or(i64::MAX))),
            ("pods".to_owned(), Quantity::units(i64::from(max_pods))),
            ("hugepages-1Gi".to_owned(), Quantity::units(0)),
            ("hugepages-2Mi".to_owned(), Quantity::units(0)),
        ])
    }
}

fn kibibytes(bytes: i64) -> Quantity {
    Quantity::bytes(bytes / 1024 * 1024)
}

/// Bytes by name.
fn meminfo(text: &str) -> BTreeMap<String, i64> {
    let one = |l: &str| {
        let (name, rest) = l.split_once(':')?;
        let n: i64 = rest.split_whitespace().next()?.parse().ok()?;
        Some((name.to_owned(), n.saturating_mul(1024)))
    };
    text.lines().filter_map(one).collect()
}

/// Bytes that could be given to new programs.
pub fn memory_available() -> Option<u64> {
    meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?).get("MemAvailable").and_then(|n| u64::try_from(*n).ok())
}

/// Process ids that are still free.
pub fn pids_available() -> Option<u64> {
    let number = |p: &str| std::fs::read_to_string(p).ok()?.trim().parse::<u64>().ok();
    let most = number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?);
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let threads = load.split_whitespace().nth(3)?.split_once('/')?.1.parse::<u64>().ok()?;
    Some(most.saturating_sub(threads))
}

/// Size and free bytes of the file system that holds `path`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    pub size: u64,
    pub free: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

pub fn disk(path: &Path) -> Option<Disk> {
    let s = rustix::fs::statvfs(path).ok()?;
    let size = s.f_frsize;
    Some(Disk { size: s.f_blocks.saturating_mul(size), free: s.f_bavail.saturating_mul(size), inodes: s.f_files, inodes_free: s.f_favail })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn meminfo_is_in_bytes() {
        assert_eq!(meminfo("MemTotal:   2 kB\nHugePages_Total:  0\nbad line")["MemTotal"], 2048);
    }
}
