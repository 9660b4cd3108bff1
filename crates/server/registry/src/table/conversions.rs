//! Conversions between served and stored versions, for the two kinds whose versions differ in shape.
use super::metrics::{self, Side};
use skiff_json::{Map, Value, json};
use skiff_meta::GroupVersion;

const EVENT_NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// Core Event and events.k8s.io Event hold the same facts under other names.
pub fn event(v: &mut Value, from: &GroupVersion, _to: &GroupVersion) {
    let to_core = !from.group.is_empty();
    let Some(object) = v.as_object_mut() else { return };
    for (core, new) in EVENT_NAMES {
        let (old, name) = if to_core { (new, core) } else { (core, new) };
        if let Some(x) = object.shift_remove(old) {
            object.insert((*name).to_owned(), x);
        }
    }
}

const CPU: &str = "targetCPUUtilizationPercentage";
const OTHER_METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// What v1 keeps in annotations.
pub const AUTOSCALER_NOTES: &[&str] = &[OTHER_METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR];

/// HorizontalPodAutoscaler: what v1 cannot say is kept in annotations, as upstream does.
pub fn autoscaler(v: &mut Value, from: &GroupVersion, to: &GroupVersion) {
    match (&*from.version, &*to.version) {
        ("v1", "v2") => autoscaler_up(v),
        ("v2", "v1") => autoscaler_down(v),
        _ => {}
    }
}

fn take_annotation(v: &mut Value, key: &str) -> Option<Value> {
    let text = v.pointer_mut("/metadata/annotations")?.as_object_mut()?.shift_remove(key)?;
    skiff_json::from_str(text.as_str()?).ok()
}
fn put_annotation(v: &mut Value, key: &str, value: &Value) {
    if let Some(meta) = v.get_mut("metadata").and_then(Value::as_object_mut) {
        let notes = meta.entry("annotations").or_insert_with(|| json!({}));
        if let Some(notes) = notes.as_object_mut() {
            notes.insert(key.to_owned(), value.to_string().into());
        }
    }
}
fn object_at<'a>(v: &'a mut Value, key: &str) -> Option<&'a mut Map> {
    v.get_mut(key).and_then(Value::as_object_mut)
}
fn is_cpu(m: &Value) -> bool {
    m["type"] == "Resource" && m["resource"]["name"] == "cpu"
}

fn autoscaler_up(v: &mut Value) {
    let mut wanted: Vec<Value> = match take_annotation(v, OTHER_METRICS) {
        Some(Value::Array(m)) => m.iter().map(|m| metrics::deep(m, Side::Target)).collect(),
        _ => Vec::new(),
    };
    let behavior = take_annotation(v, BEHAVIOR).map(|b| metrics::outer_behavior(&b)).filter(|b| b.as_object().is_some_and(|m| !m.is_empty()));
    // What the annotation says is more than the one number.
    let mut current: Vec<Value> = match take_annotation(v, CURRENT_METRICS) {
        Some(Value::Array(m)) => m.iter().map(|m| metrics::deep(m, Side::Current)).collect(),
        _ => Vec::new(),
    };
    let conditions = take_annotation(v, CONDITIONS);
    if let Some(notes) = v.pointer("/metadata/annotations").and_then(Value::as_object)
        && notes.is_empty()
        && let Some(meta) = object_at(v, "metadata")
    {
        meta.shift_remove("annotations");
    }
    if let Some(spec) = object_at(v, "spec") {
        if let Some(cpu) = spec.shift_remove(CPU) {
            wanted.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": cpu}}}));
        }
        if !wanted.is_empty() {
            spec.insert("metrics", wanted.into());
        }
        if let Some(b) = behavior {
            spec.insert("behavior", b);
        }
    }
    if let Some(status) = object_at(v, "status") {
        if let Some(cpu) = status.shift_remove("currentCPUUtilizationPercentage")
            && current.is_empty()
        {
            current.push(json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": cpu}}}));
        }
        if !current.is_empty() {
            status.insert("currentMetrics", current.into());
        }
        if let Some(c) = conditions {
            status.insert("conditions", c);
        }
    }
}

fn autoscaler_down(v: &mut Value) {
    let mut notes: Vec<(&str, Value)> = Vec::new();
    if let Some(spec) = object_at(v, "spec") {
        if let Some(Value::Array(all)) = spec.shift_remove("metrics") {
            let (cpu, other): (Vec<_>, Vec<_>) = all.into_iter().partition(|m| is_cpu(m) && m["resource"]["target"]["averageUtilization"].is_i64());
            if let Some(m) = cpu.first() {
                spec.insert(CPU, m["resource"]["target"]["averageUtilization"].clone());
            }
            if !other.is_empty() {
                notes.push((OTHER_METRICS, other.iter().map(|m| metrics::flat(m, Side::Target)).collect()));
            }
        }
        if let Some(b) = spec.shift_remove("behavior") {
            notes.push((BEHAVIOR, metrics::inner_behavior(&b)));
        }
    }
    if let Some(status) = object_at(v, "status") {
        if let Some(Value::Array(all)) = status.shift_remove("currentMetrics") {
            if let Some(m) = all.iter().find(|m| is_cpu(m) && m["resource"]["current"]["averageUtilization"].is_i64()) {
                status.insert("currentCPUUtilizationPercentage", m["resource"]["current"]["averageUtilization"].clone());
            }
            notes.push((CURRENT_METRICS, all.iter().map(|m| metrics::flat(m, Side::Current)).collect()));
        }
        if let Some(c) = status.shift_remove("conditions") {
            notes.push((CONDITIONS, c));
        }
    }
    for (key, value) in notes {
        put_annotation(v, key, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn autoscalers_survive_the_round_trip() {
        let (v1, v2) = (GroupVersion::new("autoscaling", "v1"), GroupVersion::new("autoscaling", "v2"));
        let old = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}});
        let mut v = old.clone();
        autoscaler(&mut v, &v1, &v2);
        assert_eq!(v["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
        autoscaler(&mut v, &v2, &v1);
        assert_eq!(v, old);
    }
    #[test]
    fn events_change_names_only() {
        let (core, new) = (GroupVersion::new("", "v1"), GroupVersion::new("events.k8s.io", "v1"));
        let mut v = json!({"message": "m", "count": 2});
        event(&mut v, &core, &new);
        assert_eq!(v, json!({"note": "m", "deprecatedCount": 2}));
        event(&mut v, &new, &core);
        assert_eq!(v, json!({"message": "m", "count": 2}));
    }
}
