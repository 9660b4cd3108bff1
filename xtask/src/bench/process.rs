//! What the kernel counted for a process, and the machine's facts.

use anyhow::Context;
use std::time::Duration;

fn file(pid: i32, name: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{name}");
    std::fs::read_to_string(&path).with_context(|| format!("read {path} (did the server end?)"))
}

/// The number behind a field's name in one of the kernel's tables.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Resident memory in KiB.
pub fn resident(pid: i32) -> anyhow::Result<u64> {
    field(&file(pid, "status")?, "VmRSS:").context("no VmRSS")
}

/// Resident memory without the pages of files, in KiB.
pub fn anonymous(pid: i32) -> anyhow::Result<u64> {
    field(&file(pid, "status")?, "RssAnon:").context("no RssAnon")
}

/// Private memory in KiB, with pages of the binary that nobody else has mapped.
pub fn private(pid: i32) -> anyhow::Result<u64> {
    let text = file(pid, "smaps_rollup")?;
    Ok(["Private_Clean:", "Private_Dirty:"].iter().filter_map(|n| field(&text, n)).sum())
}

/// Bytes that were handed to the disk.
pub fn written(pid: i32) -> anyhow::Result<u64> {
    field(&file(pid, "io")?, "write_bytes:").context("no write_bytes")
}

/// Processor time of all threads, living and ended, to a hundredth of a second.
pub fn cpu(pid: i32) -> anyhow::Result<Duration> {
    let text = file(pid, "stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).context("no processor time");
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// A line on processor, memory and kernel.
pub fn machine() -> anyhow::Result<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let model = cpus.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, v)| v.trim())).unwrap_or("unknown processor");
    let memory = field(&std::fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?, "MemTotal:").unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("read the kernel's release")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(format!("Machine: {model}, {cores} cores, {:.0} GiB, Linux {}.", memory as f64 / 1048576.0, kernel.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        assert_eq!(field("VmPeak:\t 1 kB\nVmRSS:\t  4711 kB\n", "VmRSS:"), Some(4711));
        assert_eq!(field("x", "VmRSS:"), None);
    }

    #[test]
    fn this_process() {
        let pid = std::process::id() as i32;
        assert!(resident(pid).unwrap() > 0);
        cpu(pid).unwrap();
        assert!(machine().unwrap().contains("cores"));
    }
}
