//! Starts, pods and idleness of one node.

use super::{Table, ms, percentile, process};
use crate::cluster::Cluster;
use crate::image;
use anyhow::Context;
use std::path::Path;
use std::time::{Duration, Instant};

const IMAGE: &str = "skiff.local/bench/busybox:1";
/// Pods that are created one after the other.
const SINGLE: usize = 20;
/// Pods that are created at once; a node has 110 places.
const MANY: usize = 100;

/// Starts the server and gives its process id.
pub fn starts(cluster: &Cluster, table: &mut Table) -> anyhow::Result<i32> {
    let start = Instant::now();
    let pid = cluster.start(&[])?;
    cluster.wait_every("the API", Duration::from_secs(60), Duration::from_millis(2), || cluster.port_answers())?;
    table.row("process start → API answers", "≤ 150 ms", ms(start.elapsed()));
    cluster.wait("the node", Duration::from_secs(60), || cluster.kubectl(&["get", "nodes", "--no-headers"]).is_ok_and(|o| o.contains(" Ready")))?;
    table.row("process start → node Ready (polled with kubectl)", "≤ 500 ms", ms(start.elapsed()));
    Ok(pid)
}

pub fn pods(cluster: &Cluster, dir: &Path, table: &mut Table) -> anyhow::Result<()> {
    let archive = dir.join("busybox.tar");
    image::busybox(IMAGE, dir, &archive)?;
    cluster.import(&archive)?;
    let mut times = (0..SINGLE).map(|i| single(cluster, &format!("single-{i}"))).collect::<anyhow::Result<Vec<_>>>()?;
    times.sort();
    let what = format!("pod create → Running, image present, p50 · p99 of {SINGLE} (as a watch sees it)");
    table.row(what, "100 ms", format!("{} · {}", ms(percentile(&times, 0.5)), ms(percentile(&times, 0.99))));
    cluster.kubectl(&["delete", "pods", "--all", "--now"])?;
    let start = Instant::now();
    cluster.kubectl(&["create", "deployment", "many", &format!("--image={IMAGE}"), &format!("--replicas={MANY}"), "--", "sleep", "3600"])?;
    cluster.kubectl(&["rollout", "status", "deployment/many", "--timeout=180s"])?;
    table.row(format!("{MANY} pods at once → all ready"), "≤ 5 s", format!("{:.1} s", start.elapsed().as_secs_f64()));
    table.row("private memory of a shim, median", "≤ 300 KiB", shims(cluster)?);
    cluster.kubectl(&["delete", "deployment", "many", "--cascade=foreground", "--timeout=120s"])?;
    cluster.wait("the pods' end", Duration::from_secs(120), || cluster.kubectl(&["get", "pods", "-o", "name"]).is_ok_and(|o| o.is_empty()))
}

/// Creates a pod and waits, by a watch on it, until it runs.
fn single(cluster: &Cluster, name: &str) -> anyhow::Result<Duration> {
    let client = crate::http::Client::of(&cluster.kubeconfig())?;
    let path = "/api/v1/namespaces/default/pods";
    let mut watch = client.connect()?.watch(&format!("{path}?watch=true&fieldSelector=metadata.name%3D{name}"))?;
    let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": IMAGE, "command": ["sleep", "3600"]}]}});
    let mut writer = client.connect()?;
    let start = Instant::now();
    writer.create(path, pod.to_string().as_bytes())?;
    loop {
        let event = watch.next()?.with_context(|| format!("the watch ended before pod {name} ran"))?;
        let event: serde_json::Value = serde_json::from_slice(&event).context("read an event")?;
        if event.pointer("/object/status/phase").is_some_and(|p| p == "Running") {
            return Ok(start.elapsed());
        }
    }
}

fn shims(cluster: &Cluster) -> anyhow::Result<String> {
    let run = cluster.dir.join("run").to_string_lossy().into_owned();
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("shim") && line.contains(&run) {
            all.extend(process::private(pid));
        }
    }
    all.sort_unstable();
    Ok(all.get(all.len() / 2).map_or_else(|| "no shim found".into(), |k| format!("{k} KiB (of {})", all.len())))
}

/// What the server takes while nothing happens.
pub fn idle(pid: i32, time: Duration, table: &mut Table) -> anyhow::Result<()> {
    let seconds = time.as_secs_f64();
    let (cpu, io) = (process::cpu(pid)?, process::written(pid)?);
    std::thread::sleep(time);
    let used = process::cpu(pid)?.saturating_sub(cpu).as_secs_f64();
    let written = process::written(pid)?.saturating_sub(io) as f64;
    table.row("RSS, idle, after those pods", "≤ 60 MiB", format!("{:.1} MiB", process::resident(pid)? as f64 / 1024.0));
    table.row("CPU, idle, of a core", "≤ 0.3 %", format!("{:.2} % over {seconds:.0} s", used / seconds * 100.0));
    table.row("disk writes, idle, an hour", "≤ 60 KB", format!("{:.0} KB (from {:.0} KB in {seconds:.0} s)", written / seconds * 3.6, written / 1000.0));
    Ok(())
}
