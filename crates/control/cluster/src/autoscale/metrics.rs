//! The metrics APIs: resources of pods, custom metrics of objects, external ones. Amounts in thousandths.
use super::ratio::{Sample, Samples};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use serde::Deserialize;
use skiff_client::{Answer, Call, Client, ListParams, Target, Verb};
use skiff_json::Value;
use skiff_meta::{GroupVersionResource, LabelSelector, Quantity, Reason, Status, Timestamp};
use std::collections::BTreeMap;

const RESOURCES: &str = "metrics.k8s.io";
const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
/// How long a custom metric that doesn't say so was measured, in seconds.
const WINDOW: i64 = 60;

#[derive(Deserialize)]
struct PodMetrics {
    metadata: Named,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    window: String,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}
#[derive(Deserialize)]
struct ContainerMetrics {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, Wire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricValue {
    #[serde(default)]
    described_object: Option<Named>,
    #[serde(default)]
    timestamp: String,
    window_seconds: Option<i64>,
    value: Wire,
}
#[derive(Deserialize)]
struct Values {
    #[serde(default)]
    items: Vec<MetricValue>,
}

fn seconds(text: &str) -> i64 {
    text.parse::<Timestamp>().map_or(0, |t| t.0)
}

fn milli(q: &Wire) -> i64 {
    q.0.parse::<Quantity>().map_or(0, |q| q.milli_value())
}

/// Of Go's duration text, the whole seconds: `30s`, `1m0s`, `1h2m3s`.
fn duration(text: &str) -> i64 {
    let (mut total, mut number) = (0i64, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() || c == '.' {
            number.push(c);
            continue;
        }
        let n = number.parse::<f64>().unwrap_or(0.0) as i64;
        total += match c {
            'h' => n * 3600,
            'm' => n * 60,
            's' => n,
            _ => 0,
        };
        number.clear();
    }
    total
}

/// In client-go's words.
fn told(e: &Status, resource: &str, group: &str) -> String {
    if e.is(Reason::NotFound) { format!("the server could not find the requested resource (get {resource}.{group})") } else { e.to_string() }
}

/// What each pod that the selector finds uses of `resource`; of one container, when it is named.
pub(super) async fn of_pods(client: &Client, namespace: &str, selector: &str, resource: &str, container: &str) -> Result<Samples, String> {
    let params = ListParams { labels: selector.into(), ..ListParams::default() };
    let page = client.list_bytes(GroupVersionResource::new(RESOURCES, "v1beta1", "pods"), namespace, &params).await;
    let page = page.map_err(|e| format!("unable to fetch metrics from resource metrics API: {}", told(&e, "pods", RESOURCES)))?;
    if page.items.is_empty() {
        return Err("no metrics returned from resource metrics API".into());
    }
    let mut samples = Samples::new();
    for item in &page.items {
        let m: PodMetrics = skiff_json::from_slice(item).map_err(|e| format!("unable to fetch metrics from resource metrics API: {e}"))?;
        if let Some(value) = used(&m, resource, container) {
            samples.insert(m.metadata.name, Sample { value, at: seconds(&m.timestamp), window: duration(&m.window) });
        }
    }
    Ok(samples)
}

/// None when a container doesn't say.
fn used(m: &PodMetrics, resource: &str, container: &str) -> Option<i64> {
    let chosen: Vec<&ContainerMetrics> = m.containers.iter().filter(|c| container.is_empty() || c.name == container).collect();
    if chosen.is_empty() {
        return None;
    }
    chosen.iter().map(|c| c.usage.get(resource).map(milli)).sum()
}

/// A selector as a query has it; None selects nothing in Go, which asks for everything here.
fn query(selector: Option<&Value>) -> Result<String, String> {
    match selector {
        None => Ok(String::new()),
        Some(s) => LabelSelector::from_json(Some(s)).map(|s| s.to_string()).map_err(|e| e.to_string()),
    }
}

async fn values(client: &Client, target: Target, labels: &[(&'static str, String)], api: &str) -> Result<Vec<MetricValue>, String> {
    let (resource, group) = (target.resource.resource.to_string(), target.resource.group.to_string());
    let mut call = Call::new(Verb::Get, target);
    for (key, value) in labels.iter().filter(|(_, v)| !v.is_empty()) {
        call = call.query(key, value.clone());
    }
    let failed = |e: String| format!("unable to fetch metrics from {api} metrics API: {e}");
    match client.call(call).await.map_err(|e| failed(told(&e, &resource, &group)))? {
        Answer::Object { bytes, .. } => skiff_json::from_slice::<Values>(&bytes).map(|v| v.items).map_err(|e| failed(e.to_string())),
        Answer::List(l) => l.items.iter().map(|i| skiff_json::from_slice(i).map_err(|e| failed(e.to_string()))).collect(),
        _ => Err(failed("the answer is no list".into())),
    }
}

/// A custom metric of each pod that the selector finds.
pub(super) async fn custom_of_pods(client: &Client, namespace: &str, pods: &str, metric: &str, selector: Option<&Value>) -> Result<Samples, String> {
    let target = Target::new(GroupVersionResource::new(CUSTOM, "v1beta2", "pods"), namespace, "*").sub(metric);
    let all = values(client, target, &[("labelSelector", pods.to_owned()), ("metricLabelSelector", query(selector)?)], "custom").await?;
    if all.is_empty() {
        return Err("no metrics returned from custom metrics API".into());
    }
    let sample = |m: MetricValue| {
        let s = Sample { value: milli(&m.value), at: seconds(&m.timestamp), window: m.window_seconds.unwrap_or(WINDOW) };
        (m.described_object.map(|o| o.name).unwrap_or_default(), s)
    };
    Ok(all.into_iter().map(sample).collect())
}

/// A custom metric of one object of `resource`.
pub(super) async fn custom_of_object(
    client: &Client,
    namespace: &str,
    resource: &str,
    name: &str,
    metric: &str,
    selector: Option<&Value>,
) -> Result<i64, String> {
    let target = Target::new(GroupVersionResource::new(CUSTOM, "v1beta2", resource.to_owned()), namespace, name).sub(metric);
    let all = values(client, target, &[("metricLabelSelector", query(selector)?)], "custom").await?;
    match &all[..] {
        [one] => Ok(milli(&one.value)),
        many => Err(format!(
            "unable to fetch metrics from custom metrics API: the custom metrics API server returned {} results when we asked for exactly one",
            many.len()
        )),
    }
}

/// The values of an external metric.
pub(super) async fn external(client: &Client, namespace: &str, metric: &str, selector: Option<&Value>) -> Result<Vec<i64>, String> {
    let target = Target::new(GroupVersionResource::new(EXTERNAL, "v1beta1", metric.to_owned()), namespace, "");
    let all = values(client, target, &[("labelSelector", query(selector)?)], "external").await?;
    if all.is_empty() {
        return Err("no metrics returned from external metrics API".into());
    }
    Ok(all.iter().map(|m| milli(&m.value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go() {
        for (text, want) in [("30s", 30), ("1m0s", 60), ("1h2m3s", 3723), ("15.5s", 15), ("", 0)] {
            assert_eq!(duration(text), want);
        }
    }

    #[test]
    fn a_pod_is_measured_whole_or_not_at_all() {
        let m: PodMetrics = skiff_json::from_str(
            r#"{"metadata":{"name":"p"},"containers":[{"name":"a","usage":{"cpu":"100m","memory":"1Mi"}},{"name":"b","usage":{"cpu":"1"}}]}"#,
        )
        .unwrap();
        assert_eq!(used(&m, "cpu", ""), Some(1100));
        assert_eq!(used(&m, "memory", ""), None);
        assert_eq!(used(&m, "memory", "a"), Some(1_048_576_000));
        assert_eq!(used(&m, "cpu", "x"), None);
    }
}
