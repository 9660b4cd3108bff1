//! Who allocates: mimalloc in servers and tools, the C library in shims, of which there is one a pod and which are to be small.
//!
//! Which of the two is settled before the first allocation, by the command line, and never changes.
//!
//! mimalloc keeps what a thread freed for that thread, and what others freed of its memory until it looks. [`give_back`] asks
//! all of them to look: each does at its next allocation, once, so that no thread is waited for or woken.
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

#[global_allocator]
static GLOBAL: ByRole = ByRole;

struct ByRole;

static SHIM: AtomicBool = AtomicBool::new(false);

/// How often memory was asked back.
static ASKED: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// How often it was when this thread last gave back. No destructor: it can be read as long as the thread allocates.
    static GIVEN: Cell<u32> = const { Cell::new(0) };
}

unsafe extern "C" {
    /// mimalloc's own; the crate declares it with many others that nobody calls.
    safe fn mi_collect(force: bool);
}

/// Asks every thread for what it does not use.
pub fn give_back() {
    ASKED.fetch_add(1, Relaxed);
}

#[inline]
fn look() {
    let asked = ASKED.load(Relaxed);
    if GIVEN.get() != asked {
        collect(asked);
    }
}

#[cold]
fn collect(asked: u32) {
    GIVEN.set(asked);
    mi_collect(true);
}

/// Runs before main, and before anything that allocates.
#[used]
#[unsafe(link_section = ".init_array")]
static SETTLE: extern "C" fn(c_int, *const *const c_char) = settle;

extern "C" fn settle(argc: c_int, argv: *const *const c_char) {
    if argc < 2 || argv.is_null() {
        return;
    }
    // SAFETY: glibc hands constructors what it hands main: `argc` pointers to texts that end with 0.
    let first = unsafe { CStr::from_ptr(*argv.add(1)) };
    SHIM.store(first.to_bytes() == skiff_shim::ARGUMENT.as_bytes(), Relaxed);
}

// SAFETY: each call goes to one allocator, the same for the whole life of the process.
unsafe impl GlobalAlloc for ByRole {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if SHIM.load(Relaxed) {
            // SAFETY: the caller's promises are those that it asks for.
            return unsafe { System.alloc(layout) };
        }
        look();
        // SAFETY: as above.
        unsafe { MiMalloc.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { if SHIM.load(Relaxed) { System.alloc_zeroed(layout) } else { MiMalloc.alloc_zeroed(layout) } }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; what is given back came from the same one.
        unsafe { if SHIM.load(Relaxed) { System.dealloc(memory, layout) } else { MiMalloc.dealloc(memory, layout) } }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { if SHIM.load(Relaxed) { System.realloc(memory, layout, size) } else { MiMalloc.realloc(memory, layout, size) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gives_back_at_its_next_allocation() {
        let kept: Vec<Vec<u8>> = (0..1000).map(|_| vec![1; 4096]).collect();
        let before = GIVEN.get();
        give_back();
        assert_eq!(GIVEN.get(), before, "nobody is interrupted");
        drop(kept);
        drop(Box::new([7u8; 64]));
        assert_ne!(GIVEN.get(), before);
    }
}
