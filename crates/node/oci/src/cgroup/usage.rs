//! What a control group has used, out of its files.

use std::fs;

use super::{Cgroup, Hierarchies};

/// Nanoseconds and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu: u64,
    pub cpu_user: u64,
    pub cpu_system: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
    pub memory: u64,
    pub memory_working_set: u64,
    pub memory_rss: u64,
    /// Zero without a limit.
    pub memory_limit: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    pub pids: u64,
}

/// The number behind a key in a file of `key number` lines.
fn value(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

impl Cgroup {
    fn read(&self, controller: &str, file: &str) -> String {
        self.folder(controller).and_then(|folder| fs::read_to_string(folder.join(file)).ok()).unwrap_or_default()
    }

    fn number(&self, controller: &str, file: &str) -> u64 {
        self.read(controller, file).trim().parse().unwrap_or(0)
    }

    /// How many of its processes were killed for lack of memory.
    pub fn oom_kills(&self) -> u64 {
        match &self.hierarchies {
            Hierarchies::V2(_) => value(&self.read("memory", "memory.events"), "oom_kill"),
            Hierarchies::V1(_) => value(&self.read("memory", "memory.oom_control"), "oom_kill"),
        }
    }

    pub fn usage(&self) -> Usage {
        match &self.hierarchies {
            Hierarchies::V2(_) => self.usage_v2(),
            Hierarchies::V1(_) => self.usage_v1(),
        }
    }

    fn usage_v1(&self) -> Usage {
        // Ticks of a hundredth of a second.
        const TICK: u64 = 10_000_000;
        let (accounting, throttling, memory) = (self.read("cpuacct", "cpuacct.stat"), self.read("cpu", "cpu.stat"), self.read("memory", "memory.stat"));
        let used = self.number("memory", "memory.usage_in_bytes");
        let limit = self.number("memory", "memory.limit_in_bytes");
        Usage {
            cpu: self.number("cpuacct", "cpuacct.usage"),
            cpu_user: value(&accounting, "user") * TICK,
            cpu_system: value(&accounting, "system") * TICK,
            throttled_periods: value(&throttling, "nr_throttled"),
            throttled_time: value(&throttling, "throttled_time"),
            memory: used,
            memory_working_set: used.saturating_sub(value(&memory, "total_inactive_file")),
            memory_rss: value(&memory, "total_rss"),
            // "No limit" is the largest number of whole pages.
            memory_limit: if limit >= 1 << 62 { 0 } else { limit },
            page_faults: value(&memory, "total_pgfault"),
            major_page_faults: value(&memory, "total_pgmajfault"),
            pids: self.number("pids", "pids.current"),
        }
    }

    fn usage_v2(&self) -> Usage {
        let (cpu, memory) = (self.read("cpu", "cpu.stat"), self.read("memory", "memory.stat"));
        let used = self.number("memory", "memory.current");
        Usage {
            cpu: value(&cpu, "usage_usec") * 1000,
            cpu_user: value(&cpu, "user_usec") * 1000,
            cpu_system: value(&cpu, "system_usec") * 1000,
            throttled_periods: value(&cpu, "nr_throttled"),
            throttled_time: value(&cpu, "throttled_usec") * 1000,
            memory: used,
            memory_working_set: used.saturating_sub(value(&memory, "inactive_file")),
            memory_rss: value(&memory, "anon"),
            memory_limit: self.number("memory", "memory.max"),
            page_faults: value(&memory, "pgfault"),
            major_page_faults: value(&memory, "pgmajfault"),
            pids: self.number("pids", "pids.current"),
        }
    }
}
