//! A place that events go to: a queue, a worker behind it, and who waits for whom.
//!
//! ```text
//!   Record ──▶ Outlet ──queue──▶ worker ──batch──▶ Sink (a file, a webhook)
//!               │ batch: nobody waits; what finds the queue full is dropped and counted
//!               │ blocking: the request waits until the sink has the event; failures are counted
//!               └ blocking-strict: as blocking, and a failure at RequestReceived refuses the request
//! ```
use crate::{
    batch::{self, Batching, Throttle},
    event::Event,
    policy::Stage,
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Batch,
    Blocking,
    BlockingStrict,
}

#[derive(Debug, Error)]
pub enum OutletError {
    #[error("write to {path}")]
    File {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("send to {url}: {why}")]
    Webhook { url: String, why: String },
    #[error("the outlet has ended")]
    Ended,
}

/// What takes batches.
#[async_trait::async_trait]
pub(crate) trait Sink: Send + 'static {
    async fn take(&mut self, events: &[Bytes]) -> Result<(), OutletError>;
}

/// Upstream's `--audit-*-truncate-*`: bodies of larger events go, and events that are still too large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truncation {
    pub event: usize,
    pub batch: usize,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Line,
}

struct Job {
    event: Bytes,
    done: Option<oneshot::Sender<bool>>,
}

/// See the module.
pub struct Outlet {
    /// As metrics call it.
    pub(crate) name: &'static str,
    pub(crate) strict: bool,
    form: Form,
    truncation: Option<Truncation>,
    mode: Mode,
    queue: mpsc::Sender<Job>,
    pub(crate) errors: Arc<AtomicU64>,
}

impl Outlet {
    /// Starts the worker; it ends, once everything is written, when the outlet is dropped.
    pub(crate) fn start(
        name: &'static str,
        mode: Mode,
        form: Form,
        batching: Batching,
        truncation: Option<Truncation>,
        sink: impl Sink,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(batching.buffer.max(1));
        let errors = Arc::new(AtomicU64::new(0));
        let worker = Worker { name, jobs, batching, truncation, errors: errors.clone(), sink: Box::new(sink) };
        let task = tokio::spawn(worker.run());
        (Self { name, strict: mode == Mode::BlockingStrict, form, truncation, mode, queue, errors }, task)
    }

    /// The event as this outlet writes it; None when it is too large whatever is left out.
    fn form(&self, event: &Event, stage: Stage, at: SystemTime, notes: &BTreeMap<String, String>) -> Option<Bytes> {
        if self.form == Form::Line {
            return Some(event.line(stage, at));
        }
        let whole = event.json(stage, at, notes, true);
        let Some(most) = self.truncation.map(|t| t.event).filter(|most| whole.len() > *most) else { return Some(whole) };
        let mut notes = notes.clone();
        notes.insert("audit.k8s.io/truncated".into(), "true".into());
        Some(event.json(stage, at, &notes, false)).filter(|short| short.len() <= most)
    }

    /// Takes an event. False when it is known not to be written; only who is to wait for that waits.
    pub(crate) async fn put(&self, event: &Event, stage: Stage, at: SystemTime, notes: &BTreeMap<String, String>) -> bool {
        let Some(bytes) = self.form(event, stage, at, notes) else { return self.failed("the event is too large", &event.id) };
        if self.mode == Mode::Batch {
            return self.enqueue(bytes, &event.id);
        }
        let (done, written) = oneshot::channel();
        if self.queue.send(Job { event: bytes, done: Some(done) }).await.is_err() {
            return self.failed("the outlet has ended", &event.id);
        }
        written.await.unwrap_or(false)
    }

    /// The same where nobody can wait.
    pub(crate) fn put_now(&self, event: &Event, stage: Stage, at: SystemTime, notes: &BTreeMap<String, String>) {
        match self.form(event, stage, at, notes) {
            Some(bytes) => drop(self.enqueue(bytes, &event.id)),
            None => drop(self.failed("the event is too large", &event.id)),
        }
    }

    fn enqueue(&self, event: Bytes, id: &str) -> bool {
        self.queue.try_send(Job { event, done: None }).is_ok() || self.failed("the queue is full", id)
    }

    fn failed(&self, why: &str, id: &str) -> bool {
        let before = self.errors.fetch_add(1, Ordering::Relaxed);
        // One line for many: a log that cannot keep up must not fill another.
        if before.is_power_of_two() || before == 0 {
            tracing::warn!(target: "audit", outlet = self.name, id, why, lost = before + 1, "an audit event is lost");
        }
        false
    }
}

struct Worker {
    name: &'static str,
    jobs: mpsc::Receiver<Job>,
    batching: Batching,
    truncation: Option<Truncation>,
    errors: Arc<AtomicU64>,
    sink: Box<dyn Sink>,
}

impl Worker {
    async fn run(mut self) {
        let begun = Instant::now();
        let mut throttle = self.batching.throttle.map(|t| Throttle::new(t, 0.0));
        let mut jobs = Vec::new();
        while self.gather(&mut jobs).await {
            if let Some(wait) = throttle.as_mut().map(|t| t.take(begun.elapsed().as_secs_f64())) {
                tokio::time::sleep(Duration::from_secs_f64(wait)).await;
            }
            self.write(std::mem::take(&mut jobs)).await;
        }
    }

    /// A batch; false when there will be no more.
    async fn gather(&mut self, jobs: &mut Vec<Job>) -> bool {
        let most = self.batching.size.max(1);
        if self.jobs.recv_many(jobs, most).await == 0 {
            return false;
        }
        let deadline = Instant::now() + self.batching.wait;
        // Who waits for an event waits for nobody else's.
        while jobs.len() < most && jobs.iter().all(|j| j.done.is_none()) && !self.batching.wait.is_zero() {
            let left = most - jobs.len();
            match tokio::time::timeout_at(deadline, self.jobs.recv_many(jobs, left)).await {
                Ok(n) if n > 0 => {}
                _ => break,
            }
        }
        true
    }

    async fn write(&mut self, jobs: Vec<Job>) {
        let (events, mut waiting): (Vec<Bytes>, Vec<Option<oneshot::Sender<bool>>>) = jobs.into_iter().map(|j| (j.event, j.done)).unzip();
        let sizes: Vec<usize> = events.iter().map(Bytes::len).collect();
        let mut rest = events.as_slice();
        for count in batch::split(&sizes, self.truncation.map_or(usize::MAX, |t| t.batch)) {
            let (part, behind) = rest.split_at(count.min(rest.len()));
            rest = behind;
            let written = self.sink.take(part).await;
            if let Err(error) = &written {
                self.errors.fetch_add(part.len() as u64, Ordering::Relaxed);
                tracing::error!(target: "audit", outlet = self.name, events = part.len(), error = chain(error), "audit events are lost");
            }
            for done in waiting.drain(..count.min(waiting.len())).flatten() {
                let _ = done.send(written.is_ok());
            }
        }
    }
}

/// An error with what it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(s) = source {
        text = format!("{text}: {s}");
        source = s.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<usize>>>, Arc<AtomicU64>);
    #[async_trait::async_trait]
    impl Sink for Kept {
        async fn take(&mut self, events: &[Bytes]) -> Result<(), OutletError> {
            self.0.lock().push(events.len());
            // The more it is asked the slower it is.
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.1.load(Ordering::Relaxed) > 0 { Err(OutletError::Ended) } else { Ok(()) }
        }
    }

    async fn put(o: &Outlet, n: usize) -> Vec<bool> {
        let mut out = Vec::new();
        for _ in 0..n {
            out.push(o.put(&Event::default(), Stage::ResponseComplete, SystemTime::UNIX_EPOCH, &BTreeMap::new()).await);
        }
        out
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_slow_sink_and_what_is_too_much_is_counted() {
        let kept = Kept::default();
        let batching = Batching { buffer: 10, size: 4, wait: Duration::ZERO, throttle: None };
        let (o, worker) = Outlet::start("log", Mode::Batch, Form::Json, batching, None, kept.clone());
        let begun = Instant::now();
        let put = put(&o, 15).await;
        assert_eq!((begun.elapsed(), put.iter().filter(|p| **p).count(), o.errors.load(Ordering::Relaxed)), (Duration::ZERO, 10, 5));
        drop(o);
        worker.await.unwrap();
        assert_eq!(*kept.0.lock(), [4, 4, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn batches_wait_for_more() {
        let kept = Kept::default();
        let batching = Batching { buffer: 10, size: 4, wait: Duration::from_secs(30), throttle: Some((1.0, 1)) };
        let (o, worker) = Outlet::start("webhook", Mode::Batch, Form::Json, batching, None, kept.clone());
        put(&o, 2).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(kept.0.lock().is_empty());
        put(&o, 1).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(*kept.0.lock(), [3]);
        drop(o);
        worker.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_to_wait_waits_and_learns_of_failures() {
        let kept = Kept::default();
        let (o, _worker) = Outlet::start("log", Mode::BlockingStrict, Form::Json, Batching::LOG, None, kept.clone());
        let begun = Instant::now();
        assert_eq!(put(&o, 2).await, [true, true]);
        assert_eq!((begun.elapsed(), o.strict), (Duration::from_secs(2), true));
        kept.1.store(1, Ordering::Relaxed);
        assert_eq!((put(&o, 1).await, o.errors.load(Ordering::Relaxed)), (vec![false], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn large_events_lose_their_bodies() {
        let (o, _worker) = Outlet::start("log", Mode::Batch, Form::Json, Batching::LOG, Some(Truncation { event: 400, batch: 1000 }), Kept::default());
        let event = Event { request: Some(format!("\"{}\"", "x".repeat(500)).into()), ..Event::default() };
        let text = |e: &Event| o.form(e, Stage::Panic, SystemTime::UNIX_EPOCH, &BTreeMap::new()).map(|b| String::from_utf8(b.to_vec()).unwrap());
        let short = text(&event).unwrap();
        assert!(short.contains("audit.k8s.io/truncated") && !short.contains("xxx"), "{short}");
        assert_eq!(text(&Event { uri: "u".repeat(500), ..Event::default() }), None);
    }
}
