//! Limits, in the kernel's own units.

use serde::{Deserialize, Serialize};

/// Zero and empty mean "not set" as in CRI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// cgroup v1 shares (2..=262144); turned into a weight on v2.
    pub cpu_shares: u64,
    /// Microseconds of CPU in each period; zero or less is no limit.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_period: u64,
    /// Bytes.
    pub memory_limit: i64,
    pub pids_limit: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    pub hugepages: Vec<HugepageLimit>,
    /// -1000..=1000; raised to what the machine lets us set.
    pub oom_score_adj: i32,
    /// Further cgroup v2 files, such as `memory.min` or `memory.high`.
    pub unified: Vec<(String, String)>,
}

impl Resources {
    /// Takes what is set in `change`.
    pub fn change(&mut self, change: &Self) {
        fn is_default<T: Default + PartialEq>(value: &T) -> bool {
            *value == T::default()
        }
        macro_rules! take {
            ($($field:ident),*) => { $(if !is_default(&change.$field) { self.$field = change.$field.clone(); })* };
        }
        take!(cpu_shares, cpu_quota, cpu_period, memory_limit, pids_limit, cpuset_cpus, cpuset_mems, hugepages, oom_score_adj, unified);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugepageLimit {
    /// As the kernel writes it in file names: `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}
