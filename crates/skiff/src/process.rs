//! A long-running process: its threads, and how it is told to end.
use anyhow::Context;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Few threads: each has a stack and a share of the allocator.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().clamp(1, 4))
}

pub fn run(role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    crate::memory::few_arenas(workers());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .max_blocking_threads(64)
        .thread_name("skiff")
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.spawn(crate::memory::give_back());
    let ended = runtime.block_on(role);
    runtime.shutdown_timeout(Duration::from_secs(2));
    ended
}

/// SIGTERM and SIGINT.
pub struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    pub fn listen() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("listen for signals");
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
