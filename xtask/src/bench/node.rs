//! Starts, pods and idleness of one node.

use super::subject::Subject;
use super::table::{Figure, Unit};
use super::{millis, percentile, until};
use crate::cluster::Cluster;
use crate::http::{Client, Connection};
use anyhow::{Context, ensure};
use skiff_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

pub const IMAGE: &str = "skiff.local/bench/busybox:1";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// Pods that are created one after the other.
const SINGLE: usize = 20;
/// Pods that are created at once; a node has 110 places.
const AT_ONCE: usize = 100;
const LONG: Duration = Duration::from_secs(60);

/// Starts a server on an empty folder, which finds the archive in its folder of images; gives its process id.
pub fn first_start(cluster: &Cluster, archive: &Path) -> anyhow::Result<(i32, Vec<Figure>)> {
    let images = cluster.dir.join("data/agent/images");
    std::fs::create_dir_all(&images)?;
    std::fs::copy(archive, images.join("busybox.tar")).context("lay the image ready")?;
    let (pid, times) = start(cluster, "first")?;
    let remark = "on an empty folder: keys, certificates and the bootstrap objects are made, the image is imported";
    Ok((pid, figures("first start", times, remark)))
}

/// Starts the server again where everything is there.
pub fn next_start(cluster: &Cluster) -> anyhow::Result<(i32, Vec<Figure>)> {
    let (pid, times) = start(cluster, "next")?;
    Ok((pid, figures("start", times, "the state is there")))
}

fn figures(name: &str, times: [Duration; 3], remark: &str) -> Vec<Figure> {
    let budgets = [("API ready", 150.0), ("node Ready", 500.0), ("first pod Running", 1000.0)];
    budgets
        .iter()
        .zip(times)
        .map(|((to, budget), time)| Figure::new(format!("{name} → {to}"), millis(time), Unit::Millis).budget(*budget).remark(remark))
        .collect()
}

/// Starts a server; from there to an API that is ready, to a Ready node, and to a running pod.
fn start(cluster: &Cluster, pod: &str) -> anyhow::Result<(i32, [Duration; 3])> {
    let start = Instant::now();
    let pid = cluster.start(&[])?;
    cluster.wait_every("the API", LONG, Duration::from_millis(1), || cluster.port_answers())?;
    let api = start.elapsed();
    let client = Client::of(&cluster.kubeconfig())?;
    let (mut nodes, mut pods) = (client.connect()?, client.connect()?);
    let (mut ready, mut running, mut created) = (None, None, false);
    until("a Ready node and a running pod", LONG, || {
        // The node's Lease of the last run may say Ready still: only what this run wrote counts.
        if ready.is_none() && beat(&mut nodes, start)? {
            ready = Some(start.elapsed());
        }
        if !created {
            created = nodes.request("POST", PODS, &["content-type: application/json"], &sleeper(pod, IMAGE))?.status == 201;
        } else if running.is_none() && phase(&mut pods, pod)? == "Running" {
            running = Some(start.elapsed());
        }
        Ok(ready.is_some() && running.is_some())
    })?;
    Ok((pid, [api, ready.unwrap_or_default(), running.unwrap_or_default()]))
}

/// Whether there is a node, and all are Ready by what a server of this start has written.
fn beat(connection: &mut Connection, start: Instant) -> anyhow::Result<bool> {
    let answer = connection.get("/api/v1/nodes")?;
    if answer.status != 200 {
        return Ok(false);
    }
    let list: Value = skiff_json::from_slice(&answer.body).context("read the nodes")?;
    let began = std::time::SystemTime::now() - start.elapsed();
    let ready = |node: &Value| {
        let condition = node["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == "Ready")?;
        let text = condition["lastHeartbeatTime"].as_str()?;
        // Times of the API have seconds, so the start is rounded down to one.
        Some(condition["status"] == "True" && seconds(text)? >= began.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
    };
    Ok(list["items"].as_array().is_some_and(|l| !l.is_empty() && l.iter().all(|n| ready(n).unwrap_or(false))))
}

/// `2026-01-02T03:04:05Z` as seconds since 1970.
fn seconds(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days of the civil calendar, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    u64::try_from(days * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?).ok()
}

fn phase(connection: &mut Connection, pod: &str) -> anyhow::Result<String> {
    let pod: Value = skiff_json::from_slice(&connection.get(&format!("{PODS}/{pod}"))?.body).context("read the pod")?;
    Ok(pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn sleeper(name: &str, image: &str) -> Vec<u8> {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": image, "command": ["sleep", "3600"]}]}}).to_string().into_bytes()
}

/// Pods one by one, and many at once.
pub fn pods(of: &Subject) -> anyhow::Result<Vec<Figure>> {
    let Some(image) = &of.image else { return Ok(Vec::new()) };
    let mut times = (0..SINGLE).map(|i| single(of, &format!("single-{i}"), image)).collect::<anyhow::Result<Vec<_>>>()?;
    times.sort();
    of.kubectl(&["delete", "pods", "--all", "--now"])?;
    let remark = format!("of {SINGLE}, one after the other, as a watch sees it; the image is there");
    let mut figures = vec![
        Figure::new("pod create → Running, p50", millis(percentile(&times, 0.5)), Unit::Millis).budget(100.0).remark(&remark),
        Figure::new("pod create → Running, p99", millis(percentile(&times, 0.99)), Unit::Millis).remark(remark),
    ];
    let (start, cpu) = (Instant::now(), of.cpu_of_all()?);
    of.kubectl(&["create", "deployment", "many", &format!("--image={image}"), &format!("--replicas={AT_ONCE}"), "--", "sleep", "3600"])?;
    of.kubectl(&["rollout", "status", "deployment/many", "--timeout=300s"])?;
    let (wall, cpu) = (start.elapsed(), of.cpu_of_all()?.saturating_sub(cpu));
    figures.push(
        Figure::new(format!("{AT_ONCE} pods at once → all ready"), wall.as_secs_f64(), Unit::Seconds)
            .budget(5.0)
            .remark("a Deployment, with kubectl's own time"),
    );
    figures.push(
        Figure::new("… CPU a pod, control plane and node agent", millis(cpu.div_f64(AT_ONCE as f64)), Unit::Millis).remark("without shims and containers"),
    );
    let shims = of.shims()?;
    ensure!(shims.len() >= AT_ONCE, "{} shims for {AT_ONCE} pods", shims.len());
    let median = shims.get(shims.len() / 2).copied().unwrap_or_default();
    figures.push(Figure::new("private memory of a shim", median as f64, Unit::KiB).budget(300.0).remark(format!("median of {}, one a pod", shims.len())));
    of.kubectl(&["delete", "deployment", "many", "--cascade=foreground", "--timeout=120s"])?;
    until("the pods' end", Duration::from_secs(120), || Ok(of.kubectl(&["get", "pods", "-o", "name"])?.is_empty()))?;
    Ok(figures)
}

/// Creates a pod and waits, by a watch on it, until it runs.
fn single(of: &Subject, name: &str, image: &str) -> anyhow::Result<Duration> {
    let mut watch = of.client.connect()?.watch(&format!("{PODS}?watch=true&fieldSelector=metadata.name%3D{name}"))?;
    let mut writer = of.client.connect()?;
    let start = Instant::now();
    writer.create(PODS, &sleeper(name, image))?;
    loop {
        let event = watch.next()?.with_context(|| format!("the watch ended before pod {name} ran"))?;
        let event: Value = skiff_json::from_slice(&event).context("read an event")?;
        if event.pointer("/object/status/phase").is_some_and(|p| p == "Running") {
            return Ok(start.elapsed());
        }
    }
}

/// What the kernel has counted for a subject so far.
struct Counted {
    cpu: Duration,
    written: u64,
}

fn counted(of: &Subject) -> anyhow::Result<Counted> {
    Ok(Counted { cpu: of.cpu_of_all()?, written: of.written()? })
}

/// What each of them takes while nothing happens.
pub fn idle(all: &[&Subject], time: Duration) -> anyhow::Result<Vec<Vec<Figure>>> {
    let before = all.iter().map(|s| counted(s)).collect::<anyhow::Result<Vec<_>>>()?;
    std::thread::sleep(time);
    all.iter().zip(before).map(|(s, b)| idled(s, &b, time.as_secs_f64())).collect()
}

fn idled(of: &Subject, before: &Counted, seconds: f64) -> anyhow::Result<Vec<Figure>> {
    let now = counted(of)?;
    let (resident, anonymous) = of.memory()?;
    let cpu = now.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds * 100.0;
    let kilobytes = now.written.saturating_sub(before.written) as f64 / 1000.0;
    let remark = "server, node agent, DNS, after the pods above";
    Ok(vec![
        Figure::new("idle: resident memory", resident as f64 / 1024.0, Unit::MiB).budget(60.0).remark(remark),
        Figure::new("idle: memory without the pages of files", anonymous as f64 / 1024.0, Unit::MiB),
        Figure::new("idle: CPU of a core", cpu, Unit::Percent).budget(0.3).remark(format!("over {seconds:.0} s")),
        Figure::new("idle: disk writes", kilobytes / seconds * 3600.0, Unit::KilobytesAnHour)
            .budget(60.0)
            .remark(format!("extrapolated from {kilobytes:.0} KB in {seconds:.0} s")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_api() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T12:30:01Z"), Some(951_827_401));
        assert_eq!(seconds("2026-11-25T13:44:29Z"), Some(1_795_614_269));
        assert_eq!(seconds("never"), None);
    }
}
