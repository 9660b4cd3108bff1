//! Memory that a burst took goes back to the machine. Allocators keep it for the next burst, which on a quiet cluster may never
//! come: [`crate::allocator`] for each thread, and the C library's, which SQLite uses. The start is the first burst.
use std::time::Duration;

const LOOK: Duration = Duration::from_secs(30);
/// Bytes that the process must have grown by before the allocator is asked: walking its lists costs milliseconds.
const GROWTH: usize = 8 << 20;

/// How long threads have to give back before it is measured what came of it.
const GIVEN: Duration = Duration::from_secs(5);

/// What was resident when it was last little, in bytes; 0 until memory was given back once.
struct Floor {
    bytes: usize,
    /// The burst may have gone on when memory was given back: it is once more.
    again: bool,
}

impl Floor {
    /// Whether it is worth while to give back.
    fn grown(&mut self, resident: usize) -> bool {
        let first = self.bytes == 0;
        if !first {
            self.bytes = self.bytes.min(resident);
        }
        let grown = first || resident > self.bytes + GROWTH;
        grown | std::mem::replace(&mut self.again, grown)
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
    let mut floor = Floor { bytes: 0, again: false };
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(resident) = resident() else { return };
        if floor.grown(resident) {
            crate::allocator::give_back();
            trim();
            tokio::time::sleep(GIVEN).await;
            floor.bytes = self::resident().unwrap_or(resident);
            tracing::debug!(target: "skiff", before = resident, after = floor.bytes, "memory given back");
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
        let mut floor = Floor { bytes: 0, again: false };
        assert!(floor.grown(70 << 20), "the start");
        floor.bytes = 50 << 20;
        assert!(floor.grown(51 << 20), "once more");
        assert!(!floor.grown(57 << 20));
        assert!(!floor.grown(40 << 20));
        assert!(floor.grown(49 << 20) && floor.grown(41 << 20));
        assert!(!floor.grown(41 << 20));
    }

    #[test]
    fn this_process() {
        assert!(resident().is_some_and(|r| r > 0));
    }
}
