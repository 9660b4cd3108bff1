//! Places for what computes for long: beside the runtime's workers, a few at a time.
//!
//! A worker that computes polls nothing else, and what waits in its own slot waits with it: as many such futures as there
//! are workers would stop health checks, watches and leases. So each poll of one gives its worker to another thread first
//! (`block_in_place`), which costs some ten microseconds.
//!
//! A place is held while one computes, not while it waits: its next poll takes one again. A computation that must wait in its
//! midst, because what needs the answer is no future (an expression, a value that is opened), does so by [`wait`], which gives its
//! place up for the rest of the poll. So nothing that waits keeps a place from what it waits for, threads are bounded by the
//! places and by what those who wait bound themselves to, and who goes away is dropped at the next wait.
use std::{cell::Cell, future::poll_fn, pin::pin, sync::Arc, task::Poll};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{OwnedSemaphorePermit, Semaphore},
};

thread_local! {
    /// The place of what this thread polls.
    static HELD: Cell<Option<OwnedSemaphorePermit>> = const { Cell::new(None) };
}

/// How many compute at once.
#[derive(Clone)]
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    /// As many as there are cores: more would share them, and gain nothing.
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(2, std::num::NonZero::get))
    }
}

impl Places {
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Works on what may compute for long.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            // The semaphore is never closed; without a place it is only slower for others.
            let mut place = Arc::clone(&self.0).acquire_owned().await.ok();
            match poll_fn(|cx| Poll::Ready(holding(place.take(), || beside(|| work.as_mut().poll(cx))))).await {
                Poll::Ready(done) => return done,
                Poll::Pending => woken().await,
            }
        }
    }

    /// Those that nobody holds.
    pub fn free(&self) -> usize {
        self.0.available_permits()
    }
}

/// Waits for `future` within a computation: the runtime puts another thread in this one's place, and a place of [`Places`] that
/// this thread holds is given up. `runtime` is where the future's timers and sockets live.
pub fn wait<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
    drop(HELD.take());
    beside(|| runtime.block_on(future))
}

/// Can a thread of this runtime wait without keeping others from theirs? Where there is one thread, it cannot.
pub fn can_wait() -> bool {
    matches!(Handle::try_current().map(|h| h.runtime_flavor()), Ok(RuntimeFlavor::MultiThread))
}

/// The place that this thread had before, if polls nest, is there again when this is over, whatever happens.
struct Outer(Option<OwnedSemaphorePermit>);

impl Drop for Outer {
    fn drop(&mut self) {
        HELD.set(self.0.take());
    }
}

fn holding<T>(place: Option<OwnedSemaphorePermit>, compute: impl FnOnce() -> T) -> T {
    let _outer = Outer(HELD.replace(place));
    compute()
}

/// Without the worker, where there are others to take over its work.
fn beside<T>(compute: impl FnOnce() -> T) -> T {
    if can_wait() { tokio::task::block_in_place(compute) } else { compute() }
}

/// Until whoever was polled before wakes this task.
async fn woken() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, mpsc};
    use tokio::sync::oneshot;

    /// More futures than there are workers compute until a small one is done.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_computes_holds_no_worker() {
        let places = Places::new(2);
        let (begun, beginnings) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let heavy: Vec<_> = (0..5)
            .map(|_| {
                let (places, begun, gate) = (places.clone(), begun.clone(), gate.clone());
                tokio::spawn(async move {
                    let compute = async {
                        let _ = begun.send(());
                        let _ = gate.lock().unwrap().recv();
                    };
                    places.run(compute).await;
                })
            })
            .collect();
        // This task is the runtime's own thread: that it goes on shows nothing, that others do, does.
        tokio::task::block_in_place(|| (0..2).for_each(|_| beginnings.recv().unwrap()));
        tokio::spawn(tokio::task::yield_now()).await.unwrap();
        assert!(beginnings.try_recv().is_err(), "no more than there are places compute at once");
        drop(release);
        for h in heavy {
            h.await.unwrap();
        }
    }

    /// What waits has no place: what it waits for may need one.
    #[tokio::test]
    async fn who_waits_holds_no_place() {
        let places = Places::new(1);
        let (answer, asked) = oneshot::channel();
        let (outer, inner) = tokio::join!(places.run(asked), places.run(async { answer.send(7) }));
        assert_eq!((outer, inner), (Ok(7), Ok(())));
        // Who is dropped while it waits leaves its place to others.
        {
            let mut gone = pin!(places.run(std::future::pending::<()>()));
            assert!(futures::poll!(gone.as_mut()).is_pending());
        }
        assert_eq!(places.free(), 1);
    }

    /// Nor has what waits in the midst of a poll.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_waits_within_a_computation_holds_no_place() {
        let places = Places::new(1);
        let (answer, asked) = oneshot::channel();
        let (begun, beginning) = oneshot::channel();
        let theirs = places.clone();
        let waiter = tokio::spawn(async move {
            let compute = async {
                let _ = begun.send(());
                wait(&Handle::current(), asked)
            };
            theirs.run(compute).await
        });
        beginning.await.unwrap();
        assert_eq!(places.run(async { answer.send(7) }).await, Ok(()));
        assert_eq!(waiter.await.unwrap(), Ok(7));
        assert_eq!(places.free(), 1);
    }
}
