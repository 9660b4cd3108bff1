//! Where requests are worked on that may compute for long: beside the runtime's workers, a few at a time.
//!
//! A worker that computes polls nothing else, and what waits in its own slot waits with it: as many such requests as there
//! are workers would stop health checks, watches and leases. So each poll of such a request gives its worker to another
//! thread first (`block_in_place`), which costs some ten microseconds; the many small requests are polled where they are.
//! A place is held while a request computes, not while it waits for the disk or an admission webhook, which may ask this server
//! in turn. So those never wait for themselves, threads are bounded, and who goes away is dropped at the next wait. Two waits do
//! hold it, because they stand within a computation: a policy's expression that asks an authorisation webhook, and a key that a
//! KMS plug-in must open. Their time-outs bound them; a webhook that makes large requests of its own waits with them.
//!
//! Which requests these are is told by [`Size`], and learnt by [`Past`]: what computed for long is expected to do so again.
//! Who may ask how much at once is not decided here: seats are priority and fairness' (`flow`).
use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicU8, Ordering},
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{runtime::{Handle, RuntimeFlavor}, sync::Semaphore};

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

pub(crate) struct Aside {
    places: Semaphore,
}

impl Default for Aside {
    /// As many places as there are cores: more would share them, and gain nothing.
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(2, std::num::NonZero::get))
    }
}

impl Aside {
    fn new(places: usize) -> Self {
        Self { places: Semaphore::new(places) }
    }

    /// Works on a request, aside where it may take long.
    pub async fn run<T>(&self, size: &Size, past: Option<&Past>, work: impl Future<Output = T>) -> T {
        match (size, past) {
            (Size::Small, _) | (_, None) if !size.large() => work.await,
            (_, Some(past)) if !size.large() && !past.long() => {
                let mut work = pin!(work);
                poll_fn(|cx| timed(Some(past), || work.as_mut().poll(cx))).await
            }
            _ => self.aside(past, work).await,
        }
    }

    async fn aside<T>(&self, past: Option<&Past>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            // The semaphore is never closed; without a place it is only slower for others.
            let place = self.places.acquire().await;
            let polled = poll_fn(|cx| Poll::Ready(beside(|| timed(past, || work.as_mut().poll(cx))))).await;
            drop(place);
            match polled {
                Poll::Ready(done) => return done,
                Poll::Pending => woken().await,
            }
        }
    }
}

fn timed<T>(past: Option<&Past>, poll: impl FnOnce() -> T) -> T {
    let (begun, computed) = (Instant::now(), on_core());
    let polled = poll();
    if let Some(past) = past {
        let passed = begun.elapsed();
        past.took(if passed < LONG { passed } else { on_core().saturating_sub(computed) });
    }
    polled
}

/// For how long this thread has been on a core.
fn on_core() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Without the worker, where there are others to take over its work.
fn beside<T>(compute: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|h| h.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(compute),
        _ => compute(),
    }
}

/// Until whoever was polled before wakes this task.
async fn woken() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};

    const BIG: Size = Size::Body { bytes: BODY, packed: false };

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
        timed(Some(&past), || woken.recv().unwrap());
        wait.join().unwrap();
        assert!(!past.long());
        let begun = on_core();
        timed(Some(&past), || while on_core() < begun + LONG {});
        assert!(past.long());
    }

    /// More requests than there are workers compute until a small one has been answered.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_computes_holds_no_worker() {
        let aside = Arc::new(Aside::new(2));
        let (begun, beginnings) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(parking_lot::Mutex::new(gate));
        let heavy: Vec<_> = (0..5)
            .map(|_| {
                let (aside, begun, gate) = (aside.clone(), begun.clone(), gate.clone());
                tokio::spawn(async move {
                    let compute = async {
                        let _ = begun.send(());
                        let _ = gate.lock().recv();
                    };
                    aside.run(&BIG, None, compute).await;
                })
            })
            .collect();
        // This task is the runtime's own thread: that it goes on shows nothing, that others do, does.
        tokio::task::block_in_place(|| (0..2).for_each(|_| beginnings.recv().unwrap()));
        let light = Arc::clone(&aside);
        tokio::spawn(async move { light.run(&Size::Small, None, tokio::task::yield_now()).await }).await.unwrap();
        assert!(beginnings.try_recv().is_err(), "no more than there are places compute at once");
        drop(release);
        for h in heavy {
            h.await.unwrap();
        }
    }

    /// A request that waits has no place: what it waits for may need one.
    #[tokio::test]
    async fn who_waits_holds_no_place() {
        let aside = Aside::new(1);
        let (answer, asked) = tokio::sync::oneshot::channel();
        let outer = aside.run(&BIG, None, asked);
        let inner = aside.run(&BIG, None, async { answer.send(7) });
        let (outer, inner) = tokio::join!(outer, inner);
        assert_eq!((outer, inner), (Ok(7), Ok(())));
        // Who is dropped while it waits leaves its place to others.
        {
            let mut gone = pin!(aside.run(&BIG, None, std::future::pending::<()>()));
            assert!(futures::poll!(gone.as_mut()).is_pending());
        }
        assert_eq!(aside.places.available_permits(), 1);
    }
}
