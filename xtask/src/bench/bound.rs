//! What the whole control plane takes from a pod's create until it is bound, on nodes that are objects only.

use super::api::{MANY, NAMESPACE, collection};
use super::load::{Load, ok};
use super::subject::Subject;
use super::table::{Figure, Unit};
use super::{millis, until};
use crate::http::{Connection, Watch};
use anyhow::Context;
use skiff_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Pods a node; a node without heartbeats counts as alive for 40 s.
const EACH: usize = 20;
const NODES: &str = "/api/v1/nodes";
const MARK: &str = "bench.skiff.local/paper";
const LONG: Duration = Duration::from_secs(60);
const JSON: &str = "content-type: application/json";

fn node(i: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("paper-{i}"), "labels": {MARK: "true", "kubernetes.io/hostname": format!("paper-{i}")}}})
}

fn status() -> Value {
    let conditions: Vec<Value> = [("Ready", "True"), ("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False")]
        .iter()
        .map(|(kind, status)| json!({"type": kind, "status": status, "reason": "Bench", "message": "on paper"}))
        .collect();
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "250", "ephemeral-storage": "1Ti"});
    json!({"status": {"capacity": room, "allocatable": room, "conditions": conditions}})
}

fn pod(i: usize) -> Vec<u8> {
    let container = json!({"name": "app", "image": "skiff.local/bench/app:1", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}});
    let labels = json!({"app": format!("bound-{}", i % 100)});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("bound-{i}"), "labels": labels}, "spec": {"nodeSelector": {MARK: "true"}, "containers": [container]}}).to_string().into_bytes()
}

pub fn bound(of: &Subject, nodes: usize) -> anyhow::Result<Vec<Figure>> {
    let mut connection = of.client.connect()?;
    for i in 0..nodes {
        connection.create(NODES, node(i).to_string().as_bytes())?;
        ok(&mut connection, "PATCH", &format!("{NODES}/paper-{i}/status"), "content-type: application/merge-patch+json", status().to_string().as_bytes())?;
    }
    let measured = ready(&mut connection).and_then(|()| pods(of, nodes * EACH));
    let gone = format!("?gracePeriodSeconds=0&labelSelector={MARK}");
    ok(&mut connection, "DELETE", &format!("{NODES}{gone}"), JSON, &[])?;
    let (cpu, wall) = measured?;
    let budget = if nodes > 100 { 1.0 } else { 0.8 };
    let count = nodes * EACH;
    let figure = Figure::new(format!("create → bound, the whole control plane's CPU a pod, {nodes} nodes"), millis(cpu.div_f64(count as f64)), Unit::Millis)
        .budget(budget);
    Ok(vec![figure.remark(format!("{count} pods in {:.1} s, with their creates", wall.as_secs_f64()))])
}

/// Waits until no node keeps pods away any more.
fn ready(connection: &mut Connection) -> anyhow::Result<()> {
    until("the nodes on paper", LONG, || {
        let list: Value = skiff_json::from_slice(&connection.get(&format!("{NODES}?labelSelector={MARK}"))?.body).context("read the nodes")?;
        let free = |n: &Value| n["spec"]["taints"].as_array().is_none_or(Vec::is_empty);
        Ok(list["items"].as_array().is_some_and(|l| l.iter().all(free)))
    })
}

fn pods(of: &Subject, count: usize) -> anyhow::Result<(Duration, Duration)> {
    let path = collection("pods");
    let watch = of.client.connect()?.watch(&format!("{path}?watch=true&fieldSelector=spec.nodeName!=&labelSelector=app"))?;
    let (cpu, start) = (of.cpu_of_all()?, Instant::now());
    let all = std::thread::scope(|s| {
        let seen = s.spawn(move || follow(watch, count));
        let made = Load::run(of, MANY, count, |c, i| c.create(&path, &pod(i)).map(drop));
        made.and(seen.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the watcher panicked"))))
    });
    let (cpu, wall) = (of.cpu_of_all()?.saturating_sub(cpu), start.elapsed());
    let mut connection = of.client.connect()?;
    for i in 0..count {
        connection.request("DELETE", &format!("{path}/bound-{i}?gracePeriodSeconds=0"), &[], &[])?;
    }
    all.with_context(|| format!("bind {count} pods of {NAMESPACE}"))?;
    Ok((cpu, wall))
}

/// Reads until so many pods have a node.
fn follow(mut watch: Watch, count: usize) -> anyhow::Result<()> {
    let mut bound = BTreeSet::new();
    while bound.len() < count {
        let event = watch.next()?.with_context(|| format!("the watch ended after {} of {count} pods", bound.len()))?;
        let event: Value = skiff_json::from_slice(&event).context("read an event")?;
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        if name.starts_with("bound-") {
            bound.insert(name.to_owned());
        }
    }
    Ok(())
}
