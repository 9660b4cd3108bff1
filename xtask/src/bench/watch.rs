//! How long after a write was sent its event is at the watchers.

use super::{Table, ms, percentile, process};
use crate::http::{Client, Watch};
use anyhow::Context;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PATH: &str = "/api/v1/namespaces/default/configmaps";
const PREFIX: &str = "watched-";
/// Writes, and the pause between the beginnings of two.
const WRITES: usize = 500;
const PAUSE: Duration = Duration::from_millis(10);
/// A watcher's thread needs little.
const STACK: usize = 256 << 10;

pub fn delivery(client: &Client, watchers: usize, pid: i32, table: &mut Table) -> anyhow::Result<()> {
    let watches = (0..watchers).map(|_| client.connect()?.watch(&format!("{PATH}?watch=true"))).collect::<anyhow::Result<Vec<_>>>().context("open the watches")?;
    let (start, cpu) = (Instant::now(), process::cpu(pid)?);
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
    let cpu = process::cpu(pid)?.saturating_sub(cpu);
    let text = format!("p50 {}, p99 {}, server CPU {} an event and watcher", ms(percentile(&times, 0.5)), ms(percentile(&times, 0.99)), micro(cpu.div_f64(times.len().max(1) as f64)));
    table.row(format!("{watchers} watchers, 100 writes/s: write sent → event there"), "p99 ≤ 50 ms", text);
    Ok(())
}

fn micro(d: Duration) -> String {
    format!("{:.1} µs", d.as_secs_f64() * 1e6)
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
