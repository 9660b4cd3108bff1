//! Memory that a burst took goes back to the machine. [`crate::allocator`] gives back what is freed by itself; the C library's
//! allocator, which SQLite uses, keeps it for the next burst, which on a quiet cluster may never come. The start is the first.
use std::time::Duration;

const LOOK: Duration = Duration::from_secs(30);
/// Bytes that the process must have grown by before the allocator is asked: walking its lists costs milliseconds.
const GROWTH: usize = 8 << 20;

/// What was resident when it was last little, in bytes; 0 until memory was given back once.
struct Floor(usize);

impl Floor {
    /// Whether it is worth while to give back.
    fn grown(&mut self, resident: usize) -> bool {
        if self.0 == 0 {
            return true;
        }
        self.0 = self.0.min(resident);
        resident > self.0 + GROWTH
    }
}

/// Called before there are threads: those that wait for disks share what the workers have, instead of each keeping the
/// remains of its last burst.
#[cfg(target_env = "gnu")]
pub fn few_arenas(workers: usize) {
    // SAFETY: it takes no pointer.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, i32::try_from(workers).unwrap_or(1) + 1) };
}

#[cfg(not(target_env = "gnu"))]
pub fn few_arenas(_: usize) {}

/// Runs as long as the process.
pub async fn give_back() {
    let mut floor = Floor(0);
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
        let mut floor = Floor(0);
        assert!(floor.grown(70 << 20), "the start");
        floor = Floor(50 << 20);
        assert!(!floor.grown(57 << 20));
        assert!(!floor.grown(40 << 20));
        assert!(floor.grown(49 << 20));
    }

    #[test]
    fn this_process() {
        assert!(resident().is_some_and(|r| r > 0));
    }
}
