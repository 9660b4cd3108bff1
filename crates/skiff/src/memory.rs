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
            let_go_of_code();
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

/// Takes the pages of the binary's code and constants out of this process. A start and a burst touch nearly all of them, each fault
/// mapping its neighbours, too, and a quiet server needs a tenth. They stay in the page cache, from where the kernel may now drop them; what
/// is touched again is mapped again, 64 KiB at a time, some microseconds each. So a new binary must take the old one's name (`mv`, as
/// installers do), not be written over it: what is read again must be what ran.
#[cfg(target_os = "linux")]
fn let_go_of_code() {
    for (begin, end) in read_only_segments() {
        // SAFETY: this process never writes to these pages: they are the file's, and are read from it again. (A debugger's breakpoints
        // are written to copies of them, and get lost.)
        unsafe { libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_DONTNEED) };
    }
}

#[cfg(not(target_os = "linux"))]
fn let_go_of_code() {}

/// Whole pages of the binary's segments that nobody may write, and that nobody wrote while it was loaded: those of constants that
/// are relocated are not among them.
#[cfg(target_os = "linux")]
fn read_only_segments() -> Vec<(usize, usize)> {
    extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, found: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the loader hands each object's table for the time of the call, and the pointer that the caller gave it.
        let (info, found) = unsafe { (&*info, &mut *found.cast::<Vec<(usize, usize)>>()) };
        // SAFETY: as many headers as the table is told to have.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        for h in headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0) {
            let begin = info.dlpi_addr as usize + h.p_vaddr as usize;
            let (begin, end) = (begin.next_multiple_of(PAGE), (begin + h.p_filesz as usize) / PAGE * PAGE);
            if begin < end {
                found.push((begin, end));
            }
        }
        // The first object is the program itself.
        1
    }
    let mut found = Vec::new();
    // SAFETY: `look` keeps nothing that it is handed.
    unsafe { libc::dl_iterate_phdr(Some(look), std::ptr::from_mut(&mut found).cast()) };
    found
}

/// Segments are cut at the largest page that Linux has, so that none of another size is cut in two.
#[cfg(target_os = "linux")]
const PAGE: usize = 64 << 10;

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
    fn code_that_was_let_go_of_runs_on() {
        let segments = read_only_segments();
        let here = code_that_was_let_go_of_runs_on as fn() as usize;
        assert!(segments.iter().any(|(begin, end)| (*begin..*end).contains(&here)), "{segments:x?} {here:x}");
        let_go_of_code();
        assert!(resident().is_some_and(|r| r > 0));
    }

    #[test]
    fn this_process() {
        assert!(resident().is_some_and(|r| r > 0));
    }
}
