//! Memory that a burst took goes back to the machine. The allocator keeps what was freed for the next burst, which on a
//! quiet cluster may never come; the code that it ran stays mapped, too. The start is the first burst.
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
            unmap_code();
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

/// Takes the program's code out of this process' page tables. It stays in the machine's page cache for as long as that
/// has room, and what still runs is mapped again as it is touched.
fn unmap_code() {
    let (Ok(maps), Ok(exe)) = (std::fs::read_to_string("/proc/self/maps"), std::fs::read_link("/proc/self/exe")) else { return };
    for range in maps.lines().filter_map(|line| code(line, exe.to_str()?)) {
        // SAFETY: the range is a private mapping of a file that nobody writes to, so that its pages are the file's; the
        // kernel reads them again from there.
        unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED) };
    }
}

/// The addresses of a line of /proc/self/maps that maps the program's code, readable and executable and not writable.
fn code(line: &str, exe: &str) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (range, mode, path) = (fields.next()?, fields.next()?, fields.nth(3)?);
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    (mode == "r-xp" && path == exe).then_some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_of_the_program() {
        let line = |mode: &str, path: &str| format!("00401000-00402000 {mode} 00001000 fe:00 9436 {path}");
        assert_eq!(code(&line("r-xp", "/bin/skiff"), "/bin/skiff"), Some(0x40_1000..0x40_2000));
        assert_eq!(code(&line("rwxp", "/bin/skiff"), "/bin/skiff"), None);
        assert_eq!(code(&line("r--p", "/bin/skiff"), "/bin/skiff"), None);
        assert_eq!(code(&line("r-xp", "/lib/libc.so.6"), "/bin/skiff"), None);
        assert_eq!(code("7ffd-7ffe r-xp 00000000 00:00 0", ""), None);
        unmap_code();
    }

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
