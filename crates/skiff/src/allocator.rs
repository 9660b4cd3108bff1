//! Who allocates: mimalloc in servers and tools, the C library in shims, of which there is one a pod and which are to be small.
//!
//! Which of the two is settled before the first allocation, by the command line, and never changes.
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[global_allocator]
static GLOBAL: ByRole = ByRole;

struct ByRole;

static SHIM: AtomicBool = AtomicBool::new(false);

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
        // SAFETY: the caller's promises are those that it asks for.
        unsafe { if SHIM.load(Relaxed) { System.alloc(layout) } else { MiMalloc.alloc(layout) } }
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
