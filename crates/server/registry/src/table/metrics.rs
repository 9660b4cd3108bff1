//! Metrics and behaviour of autoscalers in the older form that `autoscaling/v1` keeps in annotations: flat names instead of a
//! target, and Go's names of fields for the behaviour, which upstream writes from its inner type.
use skiff_json::{Map, Value, json};

/// Whether metrics are what is wanted, or what is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Target,
    Current,
}

impl Side {
    fn word(self) -> &'static str {
        if self == Side::Target { "target" } else { "current" }
    }
}

const SOURCES: [&str; 5] = ["object", "pods", "resource", "containerResource", "external"];

/// A metric of v2 as v1 writes it.
pub fn flat(metric: &Value, side: Side) -> Value {
    let mut out = json!({"type": metric["type"]});
    for source in SOURCES {
        if let Some(m) = metric.get(source).filter(|m| !m.is_null()) {
            out[source] = flat_source(source, m, side).into();
        }
    }
    out
}

fn flat_source(source: &str, m: &Value, side: Side) -> Map {
    let (word, amounts, mut out) = (side.word(), &m[side.word()], Map::new());
    let mut put = |name: &str, value: Option<&Value>| {
        if let Some(v) = value.filter(|v| !v.is_null()) {
            out.insert(name.to_owned(), v.clone());
        }
    };
    let zero = json!("0");
    // Where the older type has no pointer, nothing is written as zero.
    let always = |v: Option<&'_ Value>| v.filter(|v| !v.is_null()).cloned().unwrap_or_else(|| zero.clone());
    let (util, average, value) = (amounts.get("averageUtilization"), amounts.get("averageValue"), amounts.get("value"));
    let (metric, selector) = (m.pointer("/metric/name"), m.pointer("/metric/selector"));
    match source {
        "resource" | "containerResource" => {
            put("name", m.get("name"));
            put(&format!("{word}AverageUtilization"), util);
            match side {
                Side::Target => put("targetAverageValue", average),
                Side::Current => put("currentAverageValue", Some(&always(average))),
            }
            put("container", m.get("container"));
        }
        "pods" => {
            put("metricName", metric);
            put(&format!("{word}AverageValue"), Some(&always(average)));
            put("selector", selector);
        }
        "object" => {
            put("target", m.get("describedObject"));
            put("metricName", metric);
            put(&format!("{word}Value"), Some(&always(value)));
            put("selector", selector);
            put("averageValue", average);
        }
        _ => {
            put("metricName", metric);
            put("metricSelector", selector);
            match side {
                Side::Target => put("targetValue", value),
                Side::Current => put("currentValue", Some(&always(value))),
            }
            put(&format!("{word}AverageValue"), average);
        }
    }
    out
}

/// A metric of v1's annotation as v2 has it.
pub fn deep(metric: &Value, side: Side) -> Value {
    let mut out = json!({"type": metric["type"]});
    for source in SOURCES {
        if let Some(m) = metric.get(source).filter(|m| !m.is_null()) {
            out[source] = deep_source(source, m, side);
        }
    }
    out
}

fn deep_source(source: &str, m: &Value, side: Side) -> Value {
    let word = side.word();
    let part = |name: &str| m.get(name).filter(|v| !v.is_null());
    let (util, average) =
        (part(&format!("{word}AverageUtilization")), part(if source == "object" { "averageValue".to_owned() } else { format!("{word}AverageValue") }.as_str()));
    // Upstream's rule: an object's average makes its zero value nothing.
    let value = part(&format!("{word}Value")).filter(|v| source != "object" || side == Side::Current || average.is_none() || **v != json!("0"));
    let mut amounts = Map::new();
    if side == Side::Target {
        let kind = match source {
            _ if util.is_some() => "Utilization",
            "object" if average.is_none() => "Value",
            "external" if value.is_some() => "Value",
            _ => "AverageValue",
        };
        amounts.insert("type", kind.into());
    }
    for (name, v) in [("value", value), ("averageValue", average), ("averageUtilization", util)] {
        amounts.extend(v.map(|v| (name.to_owned(), v.clone())));
    }
    let mut out = Map::new();
    match source {
        "resource" | "containerResource" => {
            out.extend(part("name").map(|v| ("name".to_owned(), v.clone())));
            out.insert(word, amounts.into());
            out.extend(part("container").map(|v| ("container".to_owned(), v.clone())));
        }
        _ => {
            let selector = part(if source == "external" { "metricSelector" } else { "selector" });
            let mut metric = json!({"name": m["metricName"]});
            if let Some(s) = selector {
                metric["selector"] = s.clone();
            }
            if let Some(object) = part("target") {
                out.insert("describedObject", object.clone());
            }
            if source == "object" {
                out.insert(word, amounts.into());
                out.insert("metric", metric);
            } else {
                out.insert("metric", metric);
                out.insert(word, amounts.into());
            }
        }
    }
    out.into()
}

const RULES: [(&str, &str); 4] =
    [("stabilizationWindowSeconds", "StabilizationWindowSeconds"), ("selectPolicy", "SelectPolicy"), ("policies", "Policies"), ("tolerance", "Tolerance")];
const POLICY: [(&str, &str); 3] = [("type", "Type"), ("value", "Value"), ("periodSeconds", "PeriodSeconds")];

/// The behaviour with Go's names of fields, all of them.
pub fn inner_behavior(behavior: &Value) -> Value {
    let rules = |name: &str| match behavior.get(name).filter(|r| !r.is_null()) {
        None => Value::Null,
        Some(rules) => renamed(rules, &RULES, |name, v| match (name, v.as_array()) {
            ("Policies", Some(all)) => all.iter().map(|p| renamed(p, &POLICY, |_, v| v.clone())).collect(),
            _ => v.clone(),
        }),
    };
    json!({"ScaleUp": rules("scaleUp"), "ScaleDown": rules("scaleDown")})
}

fn renamed(v: &Value, names: &[(&str, &str)], inside: impl Fn(&str, &Value) -> Value) -> Value {
    names.iter().map(|(json, go)| ((*go).to_owned(), inside(go, v.get(*json).unwrap_or(&Value::Null)))).collect::<Map>().into()
}

/// A behaviour of an annotation with the names of v2; Go reads names whatever their case.
pub fn outer_behavior(v: &Value) -> Value {
    match v {
        Value::Object(m) => m.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (lower_first(k), outer_behavior(v))).collect::<Map>().into(),
        Value::Array(all) => all.iter().map(outer_behavior).collect(),
        other => other.clone(),
    }
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (side, new, old) in [
            (
                Side::Target,
                json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}),
                json!({"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}}),
            ),
            (
                Side::Target,
                json!({"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "3"}}}),
                json!({"type": "Pods", "pods": {"metricName": "q", "targetAverageValue": "3"}}),
            ),
            (
                Side::Target,
                json!({"type": "Object", "object": {"describedObject": {"kind": "K", "name": "n"}, "target": {"type": "Value", "value": "3"}, "metric": {"name": "q"}}}),
                json!({"type": "Object", "object": {"target": {"kind": "K", "name": "n"}, "metricName": "q", "targetValue": "3"}}),
            ),
            (
                Side::Target,
                json!({"type": "External", "external": {"metric": {"name": "q", "selector": {}}, "target": {"type": "Value", "value": "3"}}}),
                json!({"type": "External", "external": {"metricName": "q", "metricSelector": {}, "targetValue": "3"}}),
            ),
            (
                Side::Current,
                json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageValue": "0", "averageUtilization": 7}}}),
                json!({"type": "Resource", "resource": {"name": "cpu", "currentAverageUtilization": 7, "currentAverageValue": "0"}}),
            ),
        ] {
            assert_eq!(flat(&new, side), old, "{new}");
            assert_eq!(deep(&old, side), new, "{old}");
        }
        let behavior = json!({"scaleUp": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}});
        let inner = inner_behavior(&behavior);
        assert_eq!(
            inner,
            json!({"ScaleUp": {"StabilizationWindowSeconds": null, "SelectPolicy": "Max", "Policies": [{"Type": "Pods", "Value": 1, "PeriodSeconds": 15}], "Tolerance": null}, "ScaleDown": null})
        );
        assert_eq!(outer_behavior(&inner), behavior);
    }
}
