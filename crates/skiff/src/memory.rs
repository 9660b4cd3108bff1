//! Memory that a burst took goes back to the machine. The allocator keeps what was freed for the next burst, which on a
//! quiet cluster may never come.
use std::time::Duration;

const LOOK: Duration = Duration::from_secs(30);
/// Bytes that the process must have grown by before the allocator is asked: walking its lists costs milliseconds.
const GROWTH: usize = 8 << 20;

/// What was resident when it was last little, in bytes.
struct Floor(usize);

impl Floor {
    /// Whether it is worth while to give back.
    fn grown(&mut self, resident: usize) -> bool {
        self.0 = self.0.min(resident);
        resident > self.0 + GROWTH
    }
}

/// Runs as long as the process.
pub async fn give_back() {
    let mut floor = Floor(usize::MAX);
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(resident) = resident() else { return };
        if floor.grown(resident) {
            trim();
            floor = Floor(self::resident().unwrap_or(resident));
            tracing::debug!(target: "skiff", before = resident, after = floor.0, "memory given back");
        }
    }
}

fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?.split_whitespace().next()?;
    Some(kib.parse::<usize>().ok()? << 10)
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: it takes no pointer, and the allocator locks its own lists.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_is_worth_while() {
        let mut floor = Floor(usize::MAX);
        assert!(!floor.grown(50 << 20));
        assert!(!floor.grown(57 << 20));
        assert!(!floor.grown(40 << 20));
        assert!(floor.grown(49 << 20));
    }

    #[test]
    fn this_process() {
        assert!(resident().is_some_and(|r| r > 0));
    }
}
