//! Requests of one and of many clients, each on a connection of its own.

use super::{Table, ms, percentile, process};
use crate::http::{Client, Connection};
use anyhow::ensure;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const NAMESPACE: &str = "bench";
/// Clients at once.
const MANY: usize = 64;

/// What a number of equal requests took.
struct Load {
    count: usize,
    wall: Duration,
    /// Of the server, over all requests.
    cpu: Duration,
    /// Handed to the disk by the server, in bytes.
    written: u64,
    /// Latencies, sorted.
    times: Vec<Duration>,
}

impl Load {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }
    fn cpu_each(&self) -> Duration {
        self.cpu.div_f64(self.count.max(1) as f64)
    }
    fn text(&self) -> String {
        format!("{:.0}/s, server CPU {} each, p50 {}, p99 {}", self.per_second(), ms(self.cpu_each()), ms(percentile(&self.times, 0.5)), ms(percentile(&self.times, 0.99)))
    }
}

/// `count` requests, shared among `clients`; `one` gets its connection and the number of its request.
fn load(client: &Client, pid: i32, clients: usize, count: usize, one: impl Fn(&mut Connection, usize) -> anyhow::Result<()> + Sync) -> anyhow::Result<Load> {
    let connections = (0..clients).map(|_| client.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let (next, one) = (AtomicUsize::new(0), &one);
    let (cpu, written, start) = (process::cpu(pid)?, process::written(pid)?, Instant::now());
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
    Ok(Load { count, wall, cpu: process::cpu(pid)?.saturating_sub(cpu), written: process::written(pid)?.saturating_sub(written), times })
}

fn collection(kind: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{kind}")
}

/// A ConfigMap of 1 KiB.
fn small_object(name: &str, round: usize) -> Vec<u8> {
    let text = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"round": round.to_string(), "text": "x".repeat(880)}});
    text.to_string().into_bytes()
}

fn status(connection: &mut Connection, method: &str, path: &str, header: &str, body: &[u8]) -> anyhow::Result<usize> {
    let answer = connection.request(method, path, &[header], body)?;
    ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)]));
    Ok(answer.body.len())
}

/// Durable creates, reads, updates and applies of small objects.
pub fn small(client: &Client, pid: i32, table: &mut Table) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    client.connect()?.create("/api/v1/namespaces", namespace.to_string().as_bytes())?;
    let path = collection("configmaps");
    for (clients, count) in [(1, 1000), (MANY, 20_000)] {
        let made = load(client, pid, clients, count, |c, i| c.create(&path, &small_object(&format!("c{clients}-{i}"), 0)).map(drop))?;
        table.row(format!("durable create of 1 KiB, {clients} client{}", if clients == 1 { "" } else { "s" }), "CPU ≤ 0.25 ms", made.text());
        table.row(format!("… bytes written a create, {clients} client{}", if clients == 1 { "" } else { "s" }), if clients == 1 { "" } else { "≤ 6 KiB" }, format!("{:.1} KiB", made.written as f64 / count as f64 / 1024.0));
    }
    let gets = load(client, pid, MANY, 40_000, |c, i| status(c, "GET", &format!("{path}/c1-{}", i % 1000), "accept: application/json", &[]).map(drop))?;
    table.row("GET of 1 KiB, 64 clients", "CPU ≤ 0.04 ms", gets.text());
    let json = "content-type: application/json";
    let updates = load(client, pid, MANY, 10_000, |c, i| status(c, "PUT", &format!("{path}/c64-{i}"), json, &small_object(&format!("c64-{i}"), 1)).map(drop))?;
    table.row("update of 1 KiB, 64 clients", "CPU ≤ 0.3 ms", updates.text());
    let applies = load(client, pid, 8, 2000, |c, i| {
        let name = format!("applied-{}", i % 100);
        let lines: serde_json::Map<String, Value> = (0..200).map(|n| (format!("key-{n}"), json!(format!("value {n} of {i}")))).collect();
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": lines}).to_string();
        let answer = c.request("PATCH", &format!("{path}/{name}?fieldManager=bench&force=true"), &["content-type: application/apply-patch+yaml"], object.as_bytes())?;
        ensure!(answer.status < 300, "apply: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(())
    })?;
    table.row("server-side apply of 200 lines, 8 clients", "CPU ≤ 0.8 ms", applies.text());
    Ok(())
}

/// A pod of some 4.7 KB that no scheduler takes.
fn pod(i: usize) -> Vec<u8> {
    let env: Vec<Value> = (0..40).map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("a value of some length, number {n}")})).collect();
    let container = json!({"name": "app", "image": "skiff.local/bench/app:1", "env": env, "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}, "ports": [{"containerPort": 8080}]});
    let labels = json!({"app": format!("app-{}", i % 100), "tier": "bench"});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{i}"), "labels": labels}, "spec": {"schedulerName": "nobody", "containers": [container]}}).to_string().into_bytes()
}

/// Creates of pods, then lists of all of them in each form.
pub fn lists(client: &Client, pid: i32, pods: usize, table: &mut Table) -> anyhow::Result<()> {
    let path = collection("pods");
    let made = load(client, pid, MANY, pods, |c, i| c.create(&path, &pod(i)).map(drop))?;
    table.row("durable create of a 4.7 KB pod, 64 clients", "CPU ≤ 0.4 ms", made.text());
    for (form, budget, accept) in [
        ("JSON", "CPU ≤ 150 ms", "accept: application/json"),
        ("protobuf", "CPU ≤ 250 ms", "accept: application/vnd.kubernetes.protobuf"),
        ("Table", "CPU ≤ 60 ms", "accept: application/json;as=Table;v=v1;g=meta.k8s.io"),
    ] {
        let bytes = AtomicUsize::new(0);
        let got = load(client, pid, 1, 5, |c, _| {
            bytes.store(status(c, "GET", &path, accept, &[])?, Ordering::Relaxed);
            Ok(())
        })?;
        table.row(format!("LIST of {pods} pods, {form}"), budget, format!("server CPU {}, {} in all, {:.0} MB", ms(got.cpu_each()), ms(percentile(&got.times, 0.5)), bytes.into_inner() as f64 / 1e6));
    }
    Ok(())
}
