//! `cargo xtask bench`: the budgets, measured on a fresh cluster of the release build, and upstream beside it where it is
//! named. Nothing is asserted by a clock: the table says what was seen beside what is wanted.
//!
//! [`node`] measures starts, pods and idleness; [`api`], [`custom`] and [`lists`] requests of many clients; [`bound`] the whole
//! control plane; [`watch`] delivery to many watchers. [`subject`] is who is measured, [`process`] reads what the kernel counted.

mod api;
mod bound;
mod custom;
mod lists;
mod load;
mod node;
mod process;
mod subject;
mod table;
mod watch;

pub use process::resident;

use crate::cluster::Cluster;
use crate::{build, image, root};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use subject::Subject;
use table::{Figure, Table, Unit};

/// Where the measured server's API is by default.
const PORT: u16 = 7943;

#[derive(clap::Args)]
pub struct Args {
    /// Groups of figures to measure; all by default
    #[arg(value_enum)]
    only: Vec<Group>,
    /// Seconds to watch the idle cluster; what is said of an hour is extrapolated from them
    #[arg(long, default_value_t = 600)]
    idle: u64,
    /// Pods to list
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Nodes on paper that pods are bound to
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// Watchers at once
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    /// Port of the API
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Kubeconfig of an upstream cluster's administrator: it is measured in the same run
    #[arg(long)]
    beside: Option<PathBuf>,
    /// Folder with a file NAME.pid for each of upstream's programs; by default `run` beside its kubeconfig
    #[arg(long, requires = "beside")]
    beside_pids: Option<PathBuf>,
    /// Image with `sleep` that upstream's node has; without one its pods are not measured
    #[arg(long, requires = "beside")]
    beside_image: Option<String>,
    /// How the table is printed
    #[arg(long, value_enum, default_value_t = Output::Markdown)]
    output: Output,
    /// Write the table to docs/benchmarks.md too, below what is written there by hand
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Markdown,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Group {
    /// The binary's size, and starts
    Start,
    /// Pods that run
    Pods,
    /// Memory, CPU and disk writes while nothing happens
    Idle,
    /// Small objects
    Api,
    /// Custom objects
    Custom,
    /// Pods bound to nodes on paper
    Bound,
    /// Delivery to watchers
    Watch,
    /// Many pods, and lists of them
    Lists,
}

/// The order in which they are measured: what is idle comes before what makes the memory grow.
const GROUPS: [Group; 8] = [Group::Start, Group::Pods, Group::Idle, Group::Api, Group::Custom, Group::Bound, Group::Watch, Group::Lists];

pub fn task(args: &Args) -> anyhow::Result<()> {
    let binary = build::binary(true)?;
    let upstream = args.beside.as_deref().map(|k| beside(k, args)).transpose().context("upstream to measure beside")?;
    let mut table = Table::default();
    let measured = on_fresh_cluster(binary, upstream.as_ref(), args, &mut table);
    // What was measured is shown, whatever came then.
    let machine = process::machine()?;
    match args.output {
        Output::Markdown => println!("{machine}\n\n{}", table.markdown()),
        Output::Json => println!("{:#}", table.json(&machine)),
    }
    measured?;
    if args.write {
        write(&format!("{machine}\n\n{}", table.markdown()))?;
    }
    Ok(())
}

/// The requests without a table, and fewer: what a binary is trained with.
pub fn exercise(binary: PathBuf) -> anyhow::Result<()> {
    let only = vec![Group::Api, Group::Custom, Group::Bound, Group::Watch, Group::Lists];
    let args = Args {
        only,
        idle: 0,
        pods: 2000,
        nodes: 100,
        watchers: 200,
        port: PORT,
        beside: None,
        beside_pids: None,
        beside_image: None,
        output: Output::Json,
        write: false,
    };
    on_fresh_cluster(binary, None, &args, &mut Table::silent())
}

fn beside(kubeconfig: &Path, args: &Args) -> anyhow::Result<Subject> {
    let pids = args.beside_pids.clone().unwrap_or_else(|| kubeconfig.with_file_name("run"));
    Subject::upstream(kubeconfig, &pids, args.beside_image.as_deref())
}

/// Measures a cluster that ends with it, whatever comes.
fn on_fresh_cluster(binary: PathBuf, upstream: Option<&Subject>, args: &Args, table: &mut Table) -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("skiff-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let cluster = Cluster::of(&dir.join("c"), binary, args.port).owned(&dir);
    let measured = measure(&cluster, upstream, &dir, args, table);
    let log = cluster.log_end();
    let ended = cluster.down();
    let _ = std::fs::remove_dir_all(&dir);
    measured.with_context(|| format!("the server's log ends with:\n{log}"))?;
    ended
}

fn measure(cluster: &Cluster, upstream: Option<&Subject>, dir: &Path, args: &Args, table: &mut Table) -> anyhow::Result<()> {
    let archive = dir.join("busybox.tar");
    image::busybox(node::IMAGE, dir, &archive)?;
    let (_, mut starts) = node::first_start(cluster, &archive)?;
    cluster.end_server(false)?;
    let (pid, again) = node::next_start(cluster)?;
    starts.extend(again);
    let subject = Subject::skiff(&cluster.kubeconfig(), pid, node::IMAGE, &cluster.dir.join("run"))?;
    subject.kubectl(&["delete", "pods", "--all", "--now"])?;
    let wanted = |g: Group| args.only.is_empty() || args.only.contains(&g);
    if wanted(Group::Start) {
        let size = std::fs::metadata(&cluster.binary)?.len() as f64 / 1e6;
        table.add(vec![Figure::new("stripped binary", size, Unit::Megabytes).budget(40.0)], &[]);
        table.add(starts, &[]);
    }
    for s in std::iter::once(&subject).chain(upstream) {
        api::namespace(&s.client)?;
    }
    for group in GROUPS.into_iter().filter(|g| *g != Group::Start && wanted(*g)) {
        if group == Group::Idle {
            let all: Vec<&Subject> = std::iter::once(&subject).chain(upstream).collect();
            let mut figures = node::idle(&all, Duration::from_secs(args.idle))?.into_iter();
            table.add(figures.next().unwrap_or_default(), &figures.next().unwrap_or_default());
            continue;
        }
        for phase in phases(group) {
            let ours = phase(&subject, args).with_context(|| format!("measure {group:?}"))?;
            // Upstream's trouble is no reason to lose our own figures.
            let theirs = upstream.map_or_else(Vec::new, |u| {
                phase(u, args).unwrap_or_else(|e| {
                    eprintln!("upstream could not be measured: {e:#}");
                    Vec::new()
                })
            });
            table.add(ours, &theirs);
        }
    }
    let (resident, anonymous) = subject.memory()?;
    let after = Figure::new("resident memory after all of this", resident as f64 / 1024.0, Unit::MiB)
        .remark(format!("without the pages of files: {:.0} MiB", anonymous as f64 / 1024.0));
    table.add(vec![after], &[]);
    Ok(())
}

type Phase = fn(&Subject, &Args) -> anyhow::Result<Vec<Figure>>;

fn phases(group: Group) -> Vec<Phase> {
    match group {
        Group::Start | Group::Idle => Vec::new(),
        Group::Pods => vec![|s, _| node::pods(s)],
        Group::Api => vec![|s, _| api::creates(s), |s, _| api::reads(s), |s, _| api::updates(s), |s, _| api::applies(s)],
        Group::Custom => vec![|s, _| custom::creates(s)],
        Group::Bound => vec![|s, a| bound::bound(s, a.nodes)],
        Group::Watch => vec![|s, a| watch::delivery(s, a.watchers)],
        Group::Lists => vec![|s, a| lists::lists(s, a.pods)],
    }
}

/// Where the table begins in the document.
const TABLE: &str = "<!-- cargo xtask bench --write: what follows is written by it -->\n";

fn write(table: &str) -> anyhow::Result<()> {
    let path = root().join("docs/benchmarks.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let Some((above, _)) = text.split_once(TABLE) else { bail!("{} has no line {TABLE}", path.display()) };
    std::fs::write(&path, format!("{above}{TABLE}\n{table}")).with_context(|| format!("write {}", path.display()))?;
    eprintln!("written to {}", path.display());
    Ok(())
}

/// Looks again and again; an error when it does not come.
fn until(what: &str, at_most: Duration, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > at_most {
            bail!("{what} did not come within {} s", at_most.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The value below which this share of the sorted values lies.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
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
}
