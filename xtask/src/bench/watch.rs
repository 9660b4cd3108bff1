//! How long after a write was sent its event is at the watchers.

use super::subject::Subject;
use super::table::{Figure, Unit};
use super::{millis, percentile};
use crate::http::{Client, Watch};
use anyhow::Context;
use skiff_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PATH: &str = "/api/v1/namespaces/default/configmaps";
const PREFIX: &str = "watched-";
/// Writes, and the pause between the beginnings of two.
const WRITES: usize = 500;
const PAUSE: Duration = Duration::from_millis(10);
/// A watcher's thread needs little.
const STACK: usize = 256 << 10;

pub fn delivery(of: &Subject, watchers: usize) -> anyhow::Result<Vec<Figure>> {
    let client = &of.client;
    let watches =
        (0..watchers).map(|_| client.connect()?.watch(&format!("{PATH}?watch=true"))).collect::<anyhow::Result<Vec<_>>>().context("open the watches")?;
    let held = of.resident()?;
    let (start, cpu) = (Instant::now(), of.cpu()?);
    // When each write was sent, in nanoseconds after `start`.
    let sent: Vec<AtomicU64> = (0..WRITES).map(|_| AtomicU64::new(0)).collect();
    let mut times = std::thread::scope(|s| -> anyhow::Result<Vec<Duration>> {
        let spawn = |w: Watch| std::thread::Builder::new().stack_size(STACK).spawn_scoped(s, || follow(w, start, &sent));
        let threads = watches.into_iter().map(spawn).collect::<Result<Vec<_>, _>>().context("start a watcher")?;
        let written = write(client, start, &sent);
        let all: Vec<_> = threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a watcher panicked")))).collect();
        written?;
        Ok(all.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat())
    })?;
    times.sort();
    let cpu = of.cpu()?.saturating_sub(cpu);
    let name = format!("{watchers} watchers, 100 writes/s: write sent → event there");
    let remark = "the watchers decrypt and read on the same cores";
    Ok(vec![
        Figure::new(format!("{name}, p50"), millis(percentile(&times, 0.5)), Unit::Millis).remark(remark),
        Figure::new(format!("{name}, p99"), millis(percentile(&times, 0.99)), Unit::Millis).budget(50.0).remark(remark),
        Figure::new("… server CPU an event and watcher", millis(cpu.div_f64(times.len().max(1) as f64)) * 1000.0, Unit::Micros)
            .remark(format!("{:.0} MiB resident with the watches open", held as f64 / 1024.0)),
    ])
}

fn write(client: &Client, start: Instant, sent: &[AtomicU64]) -> anyhow::Result<()> {
    let mut connection = client.connect()?;
    for (i, at) in sent.iter().enumerate() {
        if let Some(wait) = (PAUSE * i as u32).checked_sub(start.elapsed()) {
            std::thread::sleep(wait);
        }
        at.store(start.elapsed().as_nanos() as u64, Ordering::Release);
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{PREFIX}{i}")}, "data": {"a": "b"}});
        connection.create(PATH, object.to_string().as_bytes())?;
    }
    Ok(())
}

/// Reads until the last write's event; gives every event's delay.
fn follow(mut watch: Watch, start: Instant, sent: &[AtomicU64]) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(sent.len());
    while times.len() < sent.len() {
        let event = watch.next()?.context("a watch ended before the last event")?;
        if let Some(at) = number(&event).and_then(|i| sent.get(i)) {
            times.push(start.elapsed().saturating_sub(Duration::from_nanos(at.load(Ordering::Acquire))));
        }
    }
    Ok(times)
}

/// The number in the name of an event's object.
fn number(event: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(event).ok()?;
    let rest = text.split_once(&format!("\"name\":\"{PREFIX}"))?.1;
    rest.split_once('"')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers() {
        assert_eq!(super::number(br#"{"type":"ADDED","object":{"metadata":{"name":"watched-17","uid":"x"}}}"#), Some(17));
        assert_eq!(super::number(br#"{"object":{"metadata":{"name":"kube-root-ca.crt"}}}"#), None);
    }
}
