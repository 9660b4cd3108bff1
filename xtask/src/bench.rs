//! `cargo xtask bench`: the budgets, measured on a fresh cluster of the release build. Nothing is asserted by a clock: the
//! table says what was seen beside what is wanted.
//!
//! [`node`] measures starts, pods and idleness, [`api`] requests of many clients, [`watch`] delivery to many watchers,
//! [`process`] reads what the kernel counted.

mod api;
mod node;
mod process;
mod watch;

pub use process::resident;

use crate::cluster::Cluster;
use crate::http::Client;
use crate::{build, root};
use anyhow::Context;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// Seconds to watch the idle cluster
    #[arg(long, default_value_t = 600)]
    idle: u64,
    /// Pods to list
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Watchers at once
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    /// Port of the API
    #[arg(long, default_value_t = 7943)]
    port: u16,
    /// Write the table to docs/benchmarks.md too
    #[arg(long)]
    write: bool,
}

/// One row of the table.
pub(crate) struct Row {
    what: String,
    budget: &'static str,
    measured: String,
}

/// The rows so far; each is shown when it is there, because the whole takes minutes.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    fn row(&mut self, what: impl Into<String>, budget: &'static str, measured: impl Into<String>) {
        let row = Row { what: what.into(), budget, measured: measured.into() };
        eprintln!("{}: {} (budget {})", row.what, row.measured, row.budget);
        self.0.push(row);
    }
    fn markdown(&self) -> String {
        let mut text = String::from("| what | budget | measured |\n|---|---|---|\n");
        for r in &self.0 {
            let _ = writeln!(text, "| {} | {} | {} |", r.what, r.budget, r.measured);
        }
        text
    }
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    let binary = build::binary(true)?;
    let dir = std::env::temp_dir().join(format!("skiff-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let cluster = Cluster::of(&dir.join("c"), binary.clone(), args.port).owned();
    let mut table = Table::default();
    table.row("stripped binary", "≤ 40 MB", format!("{:.1} MB", std::fs::metadata(&binary)?.len() as f64 / 1e6));
    let measured = measure(&cluster, &dir, args, &mut table);
    let log = cluster.log_end();
    let ended = cluster.down();
    let _ = std::fs::remove_dir_all(&dir);
    measured.with_context(|| format!("the server's log ends with:\n{log}"))?;
    ended?;
    let text = table.markdown();
    println!("{text}");
    if args.write {
        write(&text, args)?;
    }
    Ok(())
}

fn measure(cluster: &Cluster, dir: &Path, args: &Args, table: &mut Table) -> anyhow::Result<()> {
    let pid = node::starts(cluster, table)?;
    node::pods(cluster, dir, table)?;
    node::idle(pid, Duration::from_secs(args.idle), table)?;
    let client = Client::of(&cluster.kubeconfig())?;
    api::small(&client, pid, table)?;
    watch::delivery(&client, args.watchers, pid, table)?;
    api::lists(&client, pid, args.pods, table)?;
    table.row("RSS after all of this", "", format!("{:.1} MiB", process::resident(pid)? as f64 / 1024.0));
    Ok(())
}

fn write(table: &str, args: &Args) -> anyhow::Result<()> {
    let path = root().join("docs/benchmarks.md");
    let text = format!(
        "# Benchmarks\n\nWritten by `cargo xtask bench --write` (idle for {} s, {} pods, {} watchers). Budgets are DESIGN's; wall-clock figures depend on how\nbusy the machine is, CPU time and bytes much less. Clients run on the same machine and take their share of it.\n\n{}\n\n{table}",
        args.idle,
        args.pods,
        args.watchers,
        process::machine()?
    );
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}

/// The value below which this share of the sorted values lies.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

pub(crate) fn ms(d: Duration) -> String {
    let ms = d.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let values: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&values, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&values, 1.0), Duration::from_millis(100));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn a_table() {
        let mut table = Table::default();
        table.row("a", "1 ms", "2 ms");
        assert_eq!(table.markdown(), "| what | budget | measured |\n|---|---|---|\n| a | 1 ms | 2 ms |\n");
    }
}
