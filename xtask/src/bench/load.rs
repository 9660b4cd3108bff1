//! Many equal requests by a number of clients, each on a connection of its own.

use super::subject::Subject;
use super::table::{Figure, Unit};
use super::{millis, percentile};
use crate::http::Connection;
use anyhow::ensure;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What they took.
pub struct Load {
    pub count: usize,
    pub wall: Duration,
    /// Of the server, over all requests.
    pub cpu: Duration,
    /// Handed to the disk by the server, in bytes.
    pub written: u64,
    /// Latencies, sorted.
    pub times: Vec<Duration>,
}

impl Load {
    /// `count` requests, shared among `clients`; `one` gets its connection and the number of its request.
    pub fn run(of: &Subject, clients: usize, count: usize, one: impl Fn(&mut Connection, usize) -> anyhow::Result<()> + Sync) -> anyhow::Result<Self> {
        let connections = (0..clients).map(|_| of.client.connect()).collect::<anyhow::Result<Vec<_>>>()?;
        let (next, one) = (AtomicUsize::new(0), &one);
        let (cpu, written, start) = (of.cpu()?, of.written()?, Instant::now());
        let work = |mut connection: Connection| -> anyhow::Result<Vec<Duration>> {
            let mut times = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    return Ok(times);
                }
                let sent = Instant::now();
                one(&mut connection, i)?;
                times.push(sent.elapsed());
            }
        };
        let results: Vec<_> = std::thread::scope(|s| {
            let all: Vec<_> = connections.into_iter().map(|c| s.spawn(|| work(c))).collect();
            all.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked")))).collect()
        });
        let wall = start.elapsed();
        let mut times = results.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
        times.sort();
        Ok(Self { count, wall, cpu: of.cpu()?.saturating_sub(cpu), written: of.written()?.saturating_sub(written), times })
    }
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }
    /// Server CPU of one request.
    pub fn cpu_each(&self) -> Duration {
        self.cpu.div_f64(self.count.max(1) as f64)
    }
    /// The row of the server's CPU a request.
    pub fn cpu_figure(&self, what: &str, budget: f64) -> Figure {
        let p = |share| millis(percentile(&self.times, share));
        let remark = format!("server CPU each of {}; a client waits {:.1} ms (p50), {:.1} ms (p99)", self.count, p(0.5), p(0.99));
        Figure::new(what, millis(self.cpu_each()), Unit::Millis).budget(budget).remark(remark)
    }
}

/// Sends a request that must be answered with 200 and gives the length of the answer.
pub fn ok(connection: &mut Connection, method: &str, path: &str, header: &str, body: &[u8]) -> anyhow::Result<usize> {
    let answer = connection.request(method, path, &[header], body)?;
    ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)]));
    Ok(answer.body.len())
}
