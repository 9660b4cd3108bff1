//! Many pods that nobody runs: their creates, and lists of all of them in each form.

use super::api::{MANY, collection};
use super::load::{Load, ok};
use super::subject::Subject;
use super::table::{Figure, Unit};
use super::{millis, percentile};
use skiff_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const LISTS: usize = 5;

/// A pod of some 4.7 KB as it is kept, that no scheduler takes.
fn pod(i: usize) -> Vec<u8> {
    let env: Vec<Value> = (0..40).map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("a value of some length, number {n}")})).collect();
    let container = json!({"name": "app", "image": "skiff.local/bench/app:1", "env": env, "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}, "ports": [{"containerPort": 8080}]});
    let labels = json!({"app": format!("app-{}", i % 100), "tier": "bench"});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{i}"), "labels": labels}, "spec": {"schedulerName": "nobody", "containers": [container]}}).to_string().into_bytes()
}

pub fn lists(of: &Subject, pods: usize) -> anyhow::Result<Vec<Figure>> {
    let path = collection("pods");
    let before = of.resident()?;
    let made = Load::run(of, MANY, pods, |c, i| c.create(&path, &pod(i)).map(drop))?;
    let mut figures = vec![made.cpu_figure("durable create of a 4.7 KB pod, 64 clients", 0.4)];
    let grown = of.resident()?.saturating_sub(before) as f64 / 1024.0;
    for (form, budget, accept) in [
        ("JSON", 150.0, "accept: application/json"),
        ("protobuf", 250.0, "accept: application/vnd.kubernetes.protobuf"),
        ("Table", 60.0, "accept: application/json;as=Table;v=v1;g=meta.k8s.io"),
    ] {
        let bytes = AtomicUsize::new(0);
        let got = Load::run(of, 1, LISTS, |c, _| {
            bytes.store(ok(c, "GET", &path, accept, &[])?, Ordering::Relaxed);
            Ok(())
        })?;
        let megabytes = bytes.into_inner() as f64 / 1e6;
        if form == "JSON" {
            // The budget's 40 MiB are there before: what counts is what the objects add.
            let added = Figure::new(format!("memory that {pods} pods add, by their bytes"), grown / (megabytes * 1e6 / 1_048_576.0), Unit::Times).budget(1.5);
            figures.push(added.remark(format!("{grown:.0} MiB resident for {megabytes:.0} MB of JSON, right after the creates")));
        }
        // The budget is for 10,000 pods; of fewer it allows less.
        let figure = Figure::new(format!("LIST of {pods} pods, {form}"), millis(got.cpu_each()), Unit::Millis).budget(budget * pods as f64 / 10_000.0);
        figures.push(figure.remark(format!("server CPU each of {LISTS}; {megabytes:.0} MB, {:.0} ms until all is there", millis(percentile(&got.times, 0.5)))));
    }
    Ok(figures)
}
