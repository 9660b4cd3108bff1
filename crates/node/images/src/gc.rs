//! Which images to remove, as the kubelet decides it: once the disk is fuller than the high threshold, unused images go,
//! least recently used first, until it would be at the low one. Pure: it takes numbers and returns ids.

use crate::digest::Digest;

/// Percent of the file system, and the youngest age in seconds at which an unused image may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub high_percent: u8,
    pub low_percent: u8,
    pub minimum_age: i64,
    /// Unused for so many seconds, an image goes whatever the disk says; zero turns that off.
    pub maximum_age: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80, minimum_age: 120, maximum_age: 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: Digest,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub last_used: i64,
    pub in_use: bool,
    pub pinned: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub remove: Vec<Digest>,
    /// Bytes that should be freed and cannot.
    pub missing: u64,
}

pub fn plan(policy: &Policy, capacity: u64, available: u64, now: i64, mut candidates: Vec<Candidate>) -> Plan {
    candidates.retain(|image| !image.in_use && !image.pinned);
    candidates.sort_by(|a, b| (a.last_used, &a.id).cmp(&(b.last_used, &b.id)));
    let mut wanted = to_free(policy, capacity, available);
    let mut plan = Plan::default();
    for image in candidates {
        let age = now.saturating_sub(image.last_used);
        let stale = policy.maximum_age > 0 && age > policy.maximum_age;
        if stale || (wanted > 0 && age >= policy.minimum_age) {
            wanted = wanted.saturating_sub(image.size);
            plan.remove.push(image.id);
        }
    }
    plan.missing = wanted;
    plan
}

/// Bytes above the low threshold, once the high one is reached.
fn to_free(policy: &Policy, capacity: u64, available: u64) -> u64 {
    let used = u128::from(capacity.saturating_sub(available));
    let whole = u128::from(capacity);
    if capacity == 0 || used * 100 < whole * u128::from(policy.high_percent) {
        return 0;
    }
    let target = whole * u128::from(policy.low_percent) / 100;
    u64::try_from(used.saturating_sub(target)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, size: u64, last_used: i64) -> Candidate {
        Candidate { id: Digest::of(name.as_bytes()), size, last_used, in_use: false, pinned: false }
    }

    fn ids(names: &[&str]) -> Vec<Digest> {
        names.iter().map(|name| Digest::of(name.as_bytes())).collect()
    }

    #[test]
    fn the_oldest_unused_go_until_the_low_threshold() {
        let images = vec![
            image("new", 100, 900),
            image("old", 30, 100),
            Candidate { in_use: true, ..image("used", 500, 1) },
            Candidate { pinned: true, ..image("pause", 500, 1) },
            image("older", 30, 50),
            image("just now", 30, 990),
        ];
        let policy = Policy { minimum_age: 20, ..Policy::default() };
        assert_eq!(plan(&policy, 1000, 160, 1000, images.clone()), Plan::default(), "below the threshold");
        assert_eq!(plan(&policy, 1000, 150, 1000, images.clone()).remove, ids(&["older", "old"]));
        let full = plan(&policy, 1000, 0, 1000, images.clone());
        assert_eq!((full.remove, full.missing), (ids(&["older", "old", "new"]), 40));
        let aged = Policy { maximum_age: 920, ..policy };
        assert_eq!(plan(&aged, 1000, 900, 1000, images).remove, ids(&["older"]));
    }
}
