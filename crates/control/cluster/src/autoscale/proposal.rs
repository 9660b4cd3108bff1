//! One metric of an autoscaler: reads what it needs and says how many replicas it asks for.
use super::metrics;
use super::plan::{Proposal, Silent};
use super::ratio::{self, Count, Target, World};
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricIdentifier, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricStatus,
    PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use skiff_client::Client;
use skiff_json::Value;
use skiff_meta::Quantity;

/// What all metrics of an autoscaler share.
pub(super) struct Ask<'a> {
    pub client: &'a Client,
    pub namespace: &'a str,
    /// The target's selector, as its scale has it.
    pub selector: &'a str,
    pub world: World<'a>,
    /// How many replicas there are, by the target's status.
    pub there: i32,
    /// The resource that serves a kind of a group, if any.
    pub resource_of: &'a (dyn Fn(&str, &str) -> Option<String> + Send + Sync),
}

type Answer = Result<Proposal, Silent>;
type Current = Result<(Count, MetricValueStatus), String>;

fn silent(reason: &'static str, cause: String, of: &str) -> Silent {
    Silent { reason, error: format!("failed to get {of}: {cause}"), cause }
}
fn milli(q: Option<&Wire>) -> Option<i64> {
    q?.0.parse::<Quantity>().ok().map(|q| q.milli_value())
}
fn wire(milli: i64, binary: bool) -> Wire {
    let bytes = milli.saturating_add(999) / 1000;
    Wire(if binary && bytes >= 1024 { Quantity::bytes(bytes) } else { Quantity::milli(milli) }.to_string())
}
fn value(milli: i64) -> MetricValueStatus {
    MetricValueStatus { value: Some(wire(milli, false)), ..MetricValueStatus::default() }
}
fn average(milli: i64) -> MetricValueStatus {
    MetricValueStatus { average_value: Some(wire(milli, false)), ..MetricValueStatus::default() }
}
fn json(selector: Option<&LabelSelector>) -> Option<Value> {
    selector.and_then(|s| skiff_json::to_value(s).ok())
}

pub(super) async fn of(ask: &Ask<'_>, spec: &MetricSpec) -> Answer {
    match (spec.type_.as_str(), &spec.resource, &spec.container_resource, &spec.pods, &spec.object, &spec.external) {
        ("Resource", Some(r), ..) => {
            let (count, current) =
                resource(ask, &r.name, "", &r.target).await.map_err(|e| silent("FailedGetResourceMetric", e, &format!("{} resource metric value", r.name)))?;
            let status = MetricStatus { resource: Some(ResourceMetricStatus { name: r.name.clone(), current }), ..typed(spec) };
            Ok(Proposal { replicas: count.replicas, name: resource_name(&r.name, "", &r.target), status })
        }
        ("ContainerResource", _, Some(r), ..) => {
            let failed = |e| silent("FailedGetContainerResourceMetric", e, &format!("{} container metric value", r.container));
            let (count, current) = resource(ask, &r.name, &r.container, &r.target).await.map_err(failed)?;
            let status = ContainerResourceMetricStatus { name: r.name.clone(), container: r.container.clone(), current };
            Ok(Proposal {
                replicas: count.replicas,
                name: resource_name(&r.name, "container ", &r.target),
                status: MetricStatus { container_resource: Some(status), ..typed(spec) },
            })
        }
        ("Pods", _, _, Some(p), ..) => {
            let (count, current) = pods(ask, &p.metric, &p.target).await.map_err(|e| silent("FailedGetPodsMetric", e, "pods metric value"))?;
            let status = MetricStatus { pods: Some(PodsMetricStatus { metric: p.metric.clone(), current }), ..typed(spec) };
            Ok(Proposal { replicas: count.replicas, name: format!("pods metric {}", p.metric.name), status })
        }
        ("Object", _, _, _, Some(o), _) => {
            let about = &o.described_object;
            let per_pod = o.target.type_ == "AverageValue";
            let failed = |e: String| {
                let cause = if per_pod { format!("failed to get {} object metric: {e}", o.metric.name) } else { e.clone() };
                Silent { reason: "FailedGetObjectMetric", error: format!("failed to get object metric value: {cause}"), cause: e }
            };
            let read = async {
                let (group, _) = about.api_version.as_deref().unwrap_or_default().split_once('/').unwrap_or_default();
                let plural = (ask.resource_of)(group, &about.kind).ok_or_else(|| format!("no matches for kind {:?} in group {group:?}", about.kind))?;
                let selector = json(o.metric.selector.as_ref());
                metrics::custom_of_object(ask.client, ask.namespace, &plural, &about.name, &o.metric.name, selector.as_ref()).await
            };
            let told = |e| format!("unable to get metric {} on {} {}/{}: {e}", o.metric.name, about.kind, ask.namespace, about.name);
            let (count, current) = number(ask, read.await.map_err(told), &o.target).map_err(failed)?;
            let name = if per_pod { format!("external metric {}", described(&o.metric)) } else { format!("{} metric {}", about.kind, o.metric.name) };
            let status = ObjectMetricStatus { described_object: about.clone(), metric: o.metric.clone(), current };
            Ok(Proposal { replicas: count.replicas, name, status: MetricStatus { object: Some(status), ..typed(spec) } })
        }
        ("External", .., Some(e)) => {
            let metric = &e.metric;
            let of = if e.target.average_value.is_some() { format!("{} external metric", metric.name) } else { format!("external metric {}", metric.name) };
            let failed = |cause: String| Silent {
                reason: "FailedGetExternalMetric",
                error: format!("failed to get {} external metric value: failed to get {of}: {cause}", metric.name),
                cause,
            };
            let selector = json(metric.selector.as_ref());
            let read = metrics::external(ask.client, ask.namespace, &metric.name, selector.as_ref()).await;
            let sum = read
                .map(|all| all.into_iter().fold(0i64, i64::saturating_add))
                .map_err(|e| format!("unable to get external metric {}/{}/{}: {e}", ask.namespace, metric.name, go(metric.selector.as_ref())));
            let (count, current) = number(ask, sum, &e.target).map_err(failed)?;
            let status = MetricStatus { external: Some(ExternalMetricStatus { metric: metric.clone(), current }), ..typed(spec) };
            Ok(Proposal { replicas: count.replicas, name: format!("external metric {}", described(metric)), status })
        }
        (other, ..) => {
            let cause = format!("unknown metric source type {other:?}");
            Err(Silent { reason: "InvalidMetricSourceType", error: cause.clone(), cause })
        }
    }
}

fn typed(spec: &MetricSpec) -> MetricStatus {
    MetricStatus { type_: spec.type_.clone(), ..MetricStatus::default() }
}

fn resource_name(name: &str, container: &str, target: &MetricTarget) -> String {
    if target.average_value.is_some() { format!("{name} resource") } else { format!("{name} {container}resource utilization (percentage of request)") }
}

async fn resource(ask: &Ask<'_>, name: &str, container: &str, target: &MetricTarget) -> Current {
    let cpu = name == "cpu";
    let of = if target.average_value.is_some() { "usage" } else { "utilization" };
    if target.average_value.is_none() && target.average_utilization.is_none() {
        return Err("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".into());
    }
    let read = metrics::of_pods(ask.client, ask.namespace, ask.selector, name, container).await;
    let failed = |e: String| format!("failed to get {name} {of}: {e}");
    let samples = read.map_err(|e| failed(format!("unable to get metrics for resource {name}: {e}")))?;
    let count = match (milli(target.average_value.as_ref()), target.average_utilization) {
        (Some(wanted), _) => ratio::of_pods(&ask.world, samples, &Target::Average(wanted), cpu),
        (None, percent) => ratio::requests(ask.world.pods, name, container)
            .and_then(|requests| ratio::of_pods(&ask.world, samples, &Target::Utilization { percent: percent.unwrap_or(0), requests: &requests }, cpu)),
    };
    let count = count.map_err(failed)?;
    let current = MetricValueStatus { average_value: Some(wire(count.usage, name == "memory")), average_utilization: count.utilization, value: None };
    Ok((count, current))
}

async fn pods(ask: &Ask<'_>, metric: &MetricIdentifier, target: &MetricTarget) -> Current {
    let selector = json(metric.selector.as_ref());
    let read = metrics::custom_of_pods(ask.client, ask.namespace, ask.selector, &metric.name, selector.as_ref()).await;
    let samples = read.map_err(|e| format!("unable to get metric {}: {e}", metric.name))?;
    let count = ratio::of_pods(&ask.world, samples, &Target::Average(milli(target.average_value.as_ref()).unwrap_or(0)), false)?;
    let current = average(count.usage);
    Ok((count, current))
}

/// One number: the whole target's, or to be shared by its pods.
fn number(ask: &Ask<'_>, usage: Result<i64, String>, target: &MetricTarget) -> Current {
    match (milli(target.average_value.as_ref()), milli(target.value.as_ref())) {
        (Some(wanted), _) => {
            let count = ratio::of_average(ask.world.tolerance, usage?, wanted, ask.there);
            let current = average(count.usage);
            Ok((count, current))
        }
        (None, Some(wanted)) => {
            let count = ratio::of_value(&ask.world, usage?, wanted)?;
            let current = value(count.usage);
            Ok((count, current))
        }
        (None, None) => Err("invalid metric source: neither a value target nor an average value target was set".into()),
    }
}

fn described(metric: &MetricIdentifier) -> String {
    format!("{}({})", metric.name, go(metric.selector.as_ref()))
}

/// A selector in the words that upstream's messages have.
fn go(selector: Option<&LabelSelector>) -> String {
    let Some(s) = selector else { return "nil".into() };
    let labels: String = s.match_labels.iter().flatten().map(|(k, v)| format!("{k}: {v},")).collect();
    let one = |r: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement| {
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},", r.key, r.operator, r.values.clone().unwrap_or_default().join(" "))
    };
    let expressions: String = s.match_expressions.iter().flatten().map(one).collect();
    format!("&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_amounts() {
        assert_eq!(go(None), "nil");
        let s: LabelSelector = skiff_json::from_value(skiff_json::json!({"matchLabels": {"a": "b"}})).unwrap();
        assert_eq!(go(Some(&s)), "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}");
        assert_eq!([wire(1500, false).0, wire(2000, false).0, wire(3_145_728_000, true).0, wire(500_000, true).0], ["1500m", "2", "3Mi", "500"]);
    }
}
