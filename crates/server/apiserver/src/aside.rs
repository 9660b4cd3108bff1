//! Which requests are worked on beside the runtime's workers ([`skiff_aside`]), because they may compute for long; the many small
//! ones are polled where they are.
//!
//! That is told by [`Size`], and learnt by [`Past`]: what computed for long is expected to do so again.
//! Who may ask how much at once is not decided here: seats are priority and fairness' (`flow`).
use rustix::time::{ClockId, clock_gettime};
use skiff_aside::Places;
use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

/// Bytes of a body that may take long.
const BODY: usize = 48 << 10;
/// Objects and bytes of a list that may.
const OBJECTS: u64 = 2_000;
const BYTES: u64 = 4 << 20;
/// A poll that computed for so long held up others. The time on a core counts: on a busy machine a thread is off its core for as long.
const LONG: Duration = Duration::from_millis(20);
/// One that took less than this need not have gone aside.
const SHORT: Duration = Duration::from_millis(2);
/// So many short ones in a row, and those alike are polled where they are again.
const WARY: u8 = 32;

/// What is known of a request before it is worked on.
pub(crate) enum Size {
    /// A body of so many bytes; packed, it may become anything.
    Body { bytes: usize, packed: bool },
    /// A list that had so many objects and bytes when it was last answered.
    List { objects: u64, bytes: u64 },
    /// A document that is made of the whole table of resources.
    Document,
    /// At most one object is read.
    Small,
}

impl Size {
    fn large(&self) -> bool {
        match self {
            Self::Body { bytes, packed } => *packed || *bytes >= BODY,
            Self::List { objects, bytes } => *objects >= OBJECTS || *bytes >= BYTES,
            Self::Document => true,
            Self::Small => false,
        }
    }
}

/// What requests that are alike did lately.
#[derive(Debug, Default)]
pub(crate) struct Past {
    wary: AtomicU8,
}

impl Past {
    fn took(&self, time: Duration) {
        if time >= LONG {
            self.wary.store(WARY, Ordering::Relaxed);
        } else if time < SHORT {
            let left = self.wary.load(Ordering::Relaxed);
            if left > 0 {
                // Two that end at once count as one: it need not be exact.
                self.wary.store(left - 1, Ordering::Relaxed);
            }
        }
    }
    fn long(&self) -> bool {
        self.wary.load(Ordering::Relaxed) > 0
    }
}

/// Works on a request, aside where it may take long.
pub(crate) async fn run<T>(places: &Places, size: &Size, past: Option<&Past>, work: impl Future<Output = T>) -> T {
    match past {
        None if size.large() => places.run(work).await,
        None => work.await,
        _ if matches!(size, Size::Small) => work.await,
        Some(past) => {
            let mut work = pin!(work);
            let work = poll_fn(|cx| timed(past, || work.as_mut().poll(cx)));
            if size.large() || past.long() { places.run(work).await } else { work.await }
        }
    }
}

fn timed<T>(past: &Past, poll: impl FnOnce() -> T) -> T {
    let (begun, computed) = (Instant::now(), on_core());
    let polled = poll();
    let passed = begun.elapsed();
    past.took(if passed < LONG { passed } else { on_core().saturating_sub(computed) });
    polled
}

/// For how long this thread has been on a core.
fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn sizes_and_what_is_learnt() {
        for (size, large) in [
            (Size::Body { bytes: BODY - 1, packed: false }, false),
            (Size::Body { bytes: BODY, packed: false }, true),
            (Size::Body { bytes: 9, packed: true }, true),
            (Size::List { objects: OBJECTS - 1, bytes: BYTES - 1 }, false),
            (Size::List { objects: 1, bytes: BYTES }, true),
            (Size::Document, true),
            (Size::Small, false),
        ] {
            assert_eq!(size.large(), large);
        }
        let past = Past::default();
        past.took(LONG - Duration::from_nanos(1));
        assert!(!past.long());
        past.took(LONG);
        (1..WARY).for_each(|_| past.took(Duration::ZERO));
        past.took(SHORT);
        assert!(past.long());
        past.took(Duration::ZERO);
        assert!(!past.long());
    }

    /// A thread that waits is no request that computes.
    #[test]
    fn the_time_on_a_core_counts() {
        let past = Past::default();
        let (wake, woken) = mpsc::channel();
        let wait = std::thread::spawn(move || {
            let begun = Instant::now();
            while begun.elapsed() < 2 * LONG {
                std::thread::yield_now();
            }
            wake.send(()).unwrap();
        });
        timed(&past, || woken.recv().unwrap());
        wait.join().unwrap();
        assert!(!past.long());
        let begun = on_core();
        timed(&past, || while on_core() < begun + LONG {});
        assert!(past.long());
    }
}
