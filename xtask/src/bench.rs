//! The budgets, measured on a fresh cluster of the release build.
use crate::{build, cluster::Cluster, image, output};
use anyhow::Context;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Args {
    /// Seconds to watch the idle cluster
    #[arg(long, default_value_t = 120)]
    idle: u64,
}

/// One row of the table.
struct Row {
    what: &'static str,
    budget: &'static str,
    measured: String,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    let binary = build::binary(true)?;
    let dir = std::env::temp_dir().join(format!("skiff-bench-{}", std::process::id()));
    let cluster = Cluster::of(&dir.join("c"), binary.clone(), 7943);
    let measured = measure(&cluster, &dir, args);
    let ended = cluster.down();
    let _ = std::fs::remove_dir_all(&dir);
    let mut rows = measured?;
    ended?;
    rows.push(Row { what: "stripped binary", budget: "40 MB", measured: format!("{:.1} MB", std::fs::metadata(&binary)?.len() as f64 / 1e6) });
    println!("| what | budget | measured |\n|---|---|---|");
    rows.iter().for_each(|r| println!("| {} | {} | {} |", r.what, r.budget, r.measured));
    Ok(())
}

fn measure(cluster: &Cluster, dir: &Path, args: &Args) -> anyhow::Result<Vec<Row>> {
    std::fs::create_dir_all(dir)?;
    let mut rows = Vec::new();
    let start = Instant::now();
    let pid = cluster.start(&[])?;
    let since = |t: Instant| format!("{} ms", t.elapsed().as_millis());
    cluster.wait("the API", Duration::from_secs(60), || log_has(cluster, "serving"))?;
    rows.push(Row { what: "process start → API serving", budget: "150 ms", measured: since(start) });
    cluster.wait("the node", Duration::from_secs(60), || cluster.kubectl(&["get", "nodes", "--no-headers"]).is_ok_and(|o| o.contains(" Ready")))?;
    rows.push(Row { what: "process start → node Ready (seen by kubectl)", budget: "500 ms", measured: since(start) });
    let archive = dir.join("busybox.tar");
    image::busybox("docker.io/library/bench:1", dir, &archive)?;
    cluster.import(&archive)?;
    let mut times = Vec::new();
    for i in 0..10 {
        times.push(pod(cluster, &format!("p{i}"))?);
    }
    times.sort();
    rows.push(Row { what: "pod create → Ready, image present, p50 of 10 (with kubectl's own start)", budget: "100 ms", measured: format!("{} ms", times[times.len() / 2].as_millis()) });
    rows.push(hundred(cluster)?);
    rows.push(Row { what: "private memory of a shim, median", budget: "300 KiB", measured: shims(cluster)? });
    cluster.kubectl(&["delete", "pods,deployments", "--all", "--now"])?;
    rows.push(Row { what: "RSS, idle, after that work", budget: "60 MiB", measured: format!("{:.1} MiB", status(pid, "VmRSS:")? as f64 / 1024.0) });
    let (cpu, io) = (cpu_ticks(pid)?, written(pid)?);
    std::thread::sleep(Duration::from_secs(args.idle));
    let ticks = cpu_ticks(pid)? - cpu;
    rows.push(Row { what: "CPU, idle, of a core", budget: "0.3 %", measured: format!("{:.2} % over {} s", ticks as f64 / args.idle as f64, args.idle) });
    let per_hour = (written(pid)? - io) as f64 / 1000.0 * 3600.0 / args.idle as f64;
    rows.push(Row { what: "disk writes, idle, an hour", budget: "60 KB", measured: format!("{per_hour:.0} KB (extrapolated)") });
    Ok(rows)
}

fn log_has(cluster: &Cluster, word: &str) -> bool {
    std::fs::read_to_string(cluster.dir.join("log")).unwrap_or_default().contains(word)
}

fn pod(cluster: &Cluster, name: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    cluster.kubectl(&["run", name, "--image=docker.io/library/bench:1", "--restart=Never", "--command", "--", "sleep", "3600"])?;
    cluster.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"])?;
    Ok(start.elapsed())
}

fn hundred(cluster: &Cluster) -> anyhow::Result<Row> {
    let start = Instant::now();
    cluster.kubectl(&["create", "deployment", "many", "--image=docker.io/library/bench:1", "--replicas=90", "--", "sleep", "3600"])?;
    cluster.kubectl(&["rollout", "status", "deployment/many", "--timeout=180s"])?;
    Ok(Row { what: "90 pods at once → all ready", budget: "5 s (100 pods)", measured: format!("{:.1} s", start.elapsed().as_secs_f64()) })
}

fn shims(cluster: &Cluster) -> anyhow::Result<String> {
    let run = cluster.dir.join("run").to_string_lossy().into_owned();
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("shim") && line.contains(&run) {
            let text = std::fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
            all.push(text.lines().filter(|l| l.starts_with("Private_")).filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>());
        }
    }
    all.sort_unstable();
    Ok(all.get(all.len() / 2).map_or_else(|| "no shim found".into(), |k| format!("{k} KiB of {}", all.len())))
}

fn status(pid: i32, field: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    text.lines().find_map(|l| l.strip_prefix(field)?.split_whitespace().next()?.parse().ok()).with_context(|| format!("no {field} of process {pid}"))
}

/// Hundredths of a second.
fn cpu_ticks(pid: i32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let n = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Ok(n(11) + n(12))
}

/// Bytes that were handed to the disk.
fn written(pid: i32) -> anyhow::Result<u64> {
    let text = output(Command::new("cat").arg(format!("/proc/{pid}/io")))?;
    text.lines().find_map(|l| l.strip_prefix("write_bytes: ")?.parse().ok()).context("no write_bytes")
}
