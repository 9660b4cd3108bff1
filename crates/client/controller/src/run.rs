//! The loop around a reconciler.
use crate::{Queue, counts};
use futures::{FutureExt, future::join_all};
use skiff_meta::{Reason, Status};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// What to do with a key that was reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Done,
    /// Look again by then, even if nothing wakes it.
    RequeueAfter(Duration),
}

/// A step that the API server refused.
#[derive(Debug, thiserror::Error)]
#[error("{step} {object}")]
pub struct Failed {
    pub step: &'static str,
    /// `namespace/name`, or a bare name.
    pub object: String,
    #[source]
    pub source: Status,
}

impl Failed {
    pub fn is(&self, reason: Reason) -> bool {
        self.source.is(reason)
    }
}

/// Names the step and the object of a failure.
pub trait At<T> {
    fn at(self, step: &'static str, object: impl std::fmt::Display) -> Result<T, Failed>;
}
impl<T> At<T> for Result<T, Status> {
    fn at(self, step: &'static str, object: impl std::fmt::Display) -> Result<T, Failed> {
        self.map_err(|source| Failed { step, object: object.to_string(), source })
    }
}

/// Brings one object's surroundings to what it asks for. It takes no input but the key: it reads the present state.
#[async_trait::async_trait]
pub trait Reconcile: Send + Sync + 'static {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed>;
}

/// Takes keys to `reconciler`, `workers` at a time, until `shutdown`; what is begun is finished.
pub async fn run(name: &'static str, queue: Queue, workers: usize, reconciler: Arc<dyn Reconcile>, shutdown: CancellationToken) {
    let _shown = counts::named(name, &queue);
    let closing = {
        let queue = queue.clone();
        async move {
            shutdown.cancelled().await;
            queue.close();
        }
    };
    let work = (0..workers.max(1)).map(|_| work(name, &queue, &*reconciler));
    tokio::join!(closing, join_all(work));
}

/// A reconciler that panics over one object must not end the work on all others.
async fn guarded(reconciler: &dyn Reconcile, key: &str) -> Result<Action, Failed> {
    let done = AssertUnwindSafe(reconciler.reconcile(key)).catch_unwind().await;
    done.unwrap_or_else(|_| Err(Status::internal("the reconciler panicked")).at("reconcile", key))
}

async fn work(name: &'static str, queue: &Queue, reconciler: &dyn Reconcile) {
    while let Some(key) = queue.get().await {
        match guarded(reconciler, &key).await {
            Ok(Action::Done) => queue.forget(&key),
            Ok(Action::RequeueAfter(delay)) => {
                queue.forget(&key);
                queue.add_after(key.clone(), delay);
            }
            Err(e) => {
                let routine = matches!(e.source.reason, Reason::Conflict | Reason::NotFound | Reason::AlreadyExists);
                if routine && queue.failures(&key) < 5 {
                    tracing::debug!(target: "controller", controller = name, key = &*key, step = %e, why = %e.source, "reconcile again");
                } else {
                    tracing::warn!(target: "controller", controller = name, key = &*key, step = %e, why = %e.source, "reconcile failed");
                }
                queue.add_limited(key.clone());
            }
        }
        queue.done(&key);
        // An API in the same process may answer without ever waiting: others must have their turn.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    struct Flaky(Mutex<Vec<String>>);
    #[async_trait::async_trait]
    impl Reconcile for Flaky {
        async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
            let mut log = self.0.lock();
            log.push(key.to_owned());
            match log.iter().filter(|k| *k == key).count() {
                1 if key == "panics" => panic!("over this object"),
                1 if key == "bad" => Err(Status::internal("x")).at("get pod", key),
                1 if key == "again" => Ok(Action::RequeueAfter(Duration::from_secs(1))),
                _ => Ok(Action::Done),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_come_again_and_shutdown_ends_it() {
        let (queue, stop, r) = (Queue::new(), CancellationToken::new(), Arc::new(Flaky(Mutex::default())));
        for k in ["good", "bad", "again", "panics"] {
            queue.add(k);
        }
        let task = tokio::spawn(run("test", queue.clone(), 2, r.clone(), stop.clone()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.cancel();
        task.await.unwrap();
        let mut log = r.0.lock().clone();
        log.sort();
        assert_eq!(log, ["again", "again", "bad", "bad", "good", "panics", "panics"]);
    }
}
