//! Creates, reads, updates and applies of small objects.

use super::load::{Load, ok};
use super::subject::Subject;
use super::table::{Figure, Unit};
use crate::http::Client;
use anyhow::ensure;
use skiff_json::{Value, json};
use std::time::Duration;

pub const NAMESPACE: &str = "bench";
/// Clients at once.
pub const MANY: usize = 64;
/// How long an update is tried again where another writer was first.
const BUSY: Duration = Duration::from_secs(30);

pub fn collection(kind: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{kind}")
}

/// Makes the namespace and waits until objects may be created in it.
pub fn namespace(client: &Client) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let mut connection = client.connect()?;
    connection.create("/api/v1/namespaces", namespace.to_string().as_bytes())?;
    let account = format!("{}/default", collection("serviceaccounts"));
    super::until("the namespace's service account", BUSY, || Ok(connection.get(&account)?.status == 200))
}

/// A ConfigMap of 1 KiB.
fn small_object(name: &str, round: usize) -> Vec<u8> {
    let text = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"round": round.to_string(), "text": "x".repeat(880)}});
    text.to_string().into_bytes()
}

pub fn creates(of: &Subject) -> anyhow::Result<Vec<Figure>> {
    let path = collection("configmaps");
    let mut figures = Vec::new();
    for (clients, count) in [(1, 1000), (MANY, 20_000)] {
        let made = Load::run(of, clients, count / of.fewer, |c, i| c.create(&path, &small_object(&format!("c{clients}-{i}"), 0)).map(drop))?;
        let name = format!("durable create of 1 KiB, {clients} client{}", if clients == 1 { "" } else { "s" });
        let mut rate = Figure::new(format!("… a second, {clients} client{}", if clients == 1 { "" } else { "s" }), made.per_second(), Unit::ASecond);
        let mut bytes = Figure::new(
            format!("… bytes written each, {clients} client{}", if clients == 1 { "" } else { "s" }),
            made.written as f64 / made.count as f64 / 1024.0,
            Unit::KiB,
        );
        if clients == MANY {
            rate = rate.budget(5000.0).remark("the clients take their share of the same cores");
            bytes = bytes.budget(6.0);
        }
        figures.extend([made.cpu_figure(&name, 0.25), rate, bytes]);
    }
    Ok(figures)
}

pub fn reads(of: &Subject) -> anyhow::Result<Vec<Figure>> {
    let (path, there) = (collection("configmaps"), 1000 / of.fewer);
    let gets = Load::run(of, MANY, 40_000 / of.fewer, |c, i| ok(c, "GET", &format!("{path}/c1-{}", i % there), "accept: application/json", &[]).map(drop))?;
    let rate = Figure::new("… a second", gets.per_second(), Unit::ASecond).budget(30_000.0).remark("the clients take their share of the same cores");
    Ok(vec![gets.cpu_figure("GET of 1 KiB, 64 clients", 0.04), rate])
}

pub fn updates(of: &Subject) -> anyhow::Result<Vec<Figure>> {
    let path = collection("configmaps");
    let put = |c: &mut crate::http::Connection, i: usize| {
        ok(c, "PUT", &format!("{path}/c64-{i}"), "content-type: application/json", &small_object(&format!("c64-{i}"), 1)).map(drop)
    };
    let updates = Load::run(of, MANY, 10_000 / of.fewer, put)?;
    Ok(vec![updates.cpu_figure("update of 1 KiB, 64 clients", 0.3)])
}

/// A Deployment that makes some 200 lines of YAML and no pods.
fn deployment(name: &str, round: usize) -> Value {
    let env: Vec<Value> = (0..80).map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("value {n} of {round}")})).collect();
    let container = json!({"name": "app", "image": "skiff.local/bench/app:1", "env": env, "ports": [{"containerPort": 8080}], "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}});
    let labels = json!({"app": name});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": {
        "replicas": 0, "paused": true, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }})
}

pub fn applies(of: &Subject) -> anyhow::Result<Vec<Figure>> {
    let applies = Load::run(of, 8, 2000 / of.fewer, |c, i| {
        let name = format!("applied-{}", i % 50);
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}?fieldManager=bench&force=true");
        let answer = c.request("PATCH", &path, &["content-type: application/apply-patch+yaml"], deployment(&name, i).to_string().as_bytes())?;
        ensure!(answer.status < 300, "apply: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(())
    })?;
    let figure = applies.cpu_figure("server-side apply of a Deployment of 200 lines, 8 clients", 0.8);
    let remark = format!("{}; every one changes 80 values; Skiff's includes its controllers", figure.remark);
    Ok(vec![figure.remark(remark)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_the_rows_say() {
        let size = small_object("c64-12345", 0).len();
        assert!((950..1100).contains(&size), "{size}");
        // A line a name, a value and each further field.
        let lines = skiff_json::to_string_pretty(&deployment("a", 0)).unwrap().lines().filter(|l| l.contains("\": ")).count();
        assert!((180..220).contains(&lines), "{lines}");
    }
}
