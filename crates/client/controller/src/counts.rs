//! What queues count, under the names of client-go's work queues. A queue is shown once [`run`](crate::run) names it, for as
//! long as it lives.
use crate::queue::Queue;
use parking_lot::Mutex;
use skiff_telemetry::metrics::{Exposition, Histogram};
use std::{
    collections::BTreeMap,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

// Ten times each, as Go's floats come to it.
const SECONDS: &[f64] = &[1e-8, 1e-7, 1e-6, 9.999_999_999_999_999e-6, 9.999_999_999_999_999e-5, 0.001, 0.01, 0.1, 1.0, 10.0];

#[derive(Debug)]
pub(crate) struct Counts {
    pub retries: AtomicU64,
    /// Seconds that keys waited, and that work on them took.
    pub waited: Histogram,
    pub worked: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        Self { retries: AtomicU64::new(0), waited: Histogram::new(SECONDS), worked: Histogram::new(SECONDS) }
    }
}

/// Queues with their names. They are named a few dozen times in a process.
static NAMED: LazyLock<Mutex<Vec<(&'static str, Queue)>>> = LazyLock::new(Mutex::default);

/// Shows the queue until what is given is dropped.
pub(crate) fn named(name: &'static str, queue: &Queue) -> Named {
    NAMED.lock().push((name, queue.clone()));
    Named(queue.clone())
}

pub(crate) struct Named(Queue);

impl Drop for Named {
    fn drop(&mut self) {
        NAMED.lock().retain(|(_, q)| !q.is(&self.0));
    }
}

type Gauge = (&'static str, &'static str, fn(&Queue) -> f64);
const GAUGES: [Gauge; 3] = [
    ("workqueue_depth", "Keys that wait", |q| q.len() as f64),
    ("workqueue_unfinished_work_seconds", "Time that has gone into what is worked on", |q| q.unfinished().0),
    ("workqueue_longest_running_processor_seconds", "The longest time that has gone into one key", |q| q.unfinished().1),
];

/// The work queues of this process.
pub fn metrics(out: &mut Exposition) {
    let mut by_name: BTreeMap<&'static str, Vec<Queue>> = BTreeMap::new();
    for (name, queue) in &*NAMED.lock() {
        by_name.entry(name).or_default().push(queue.clone());
    }
    for (name, help, of) in GAUGES {
        out.family(name, "gauge", help);
        // Several of one name are workers of one controller: sums, and of the longest the longest.
        for (n, queues) in &by_name {
            let all = queues.iter().map(of);
            let value = if name.contains("longest") { all.fold(0.0, f64::max) } else { all.sum() };
            out.sample(name, &[("name", n)], value);
        }
    }
    let counter = |out: &mut Exposition, name: &str, help: &str, of: fn(&Queue) -> u64| {
        out.family(name, "counter", help);
        by_name.iter().for_each(|(n, queues)| out.sample(name, &[("name", n)], queues.iter().map(of).sum::<u64>()));
    };
    counter(out, "workqueue_adds_total", "Keys that were added", Queue::added);
    counter(out, "workqueue_retries_total", "Keys that came again after a failure", |q| q.counts().retries.load(Ordering::Relaxed));
    let histogram = |out: &mut Exposition, name: &str, help: &str, of: fn(&Counts) -> &Histogram| {
        out.family(name, "histogram", help);
        by_name.iter().for_each(|(n, queues)| out.histograms(name, &[("name", n)], queues.iter().map(|q| of(q.counts()))));
    };
    histogram(out, "workqueue_queue_duration_seconds", "Time that keys waited", |c| &c.waited);
    histogram(out, "workqueue_work_duration_seconds", "Time of the work on a key", |c| &c.worked);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_named_queue_is_shown() {
        let queue = Queue::new();
        queue.add("a");
        tokio::time::advance(std::time::Duration::from_millis(500)).await;
        let key = queue.get().await.unwrap();
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
        let shown = || {
            let mut out = Exposition::default();
            metrics(&mut out);
            out.text()
        };
        let named = named("a-test-of-counts", &queue);
        let text = shown();
        for line in [
            "workqueue_adds_total{name=\"a-test-of-counts\"} 1",
            "workqueue_queue_duration_seconds_bucket{name=\"a-test-of-counts\",le=\"1\"} 1",
            "workqueue_longest_running_processor_seconds{name=\"a-test-of-counts\"} 0.005",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        queue.done(&key);
        assert_eq!(queue.counts().worked.count(), 1);
        drop(named);
        assert!(!shown().contains("a-test-of-counts"));
    }
}
