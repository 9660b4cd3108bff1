//! RuntimeClass: a pod gets the overhead and the scheduling of its class, and no other overhead.
use crate::{
    request::{creates, forbidden, stored},
    value,
};
use async_trait::async_trait;
use skiff_json::{Map, Value};
use skiff_meta::{Quantity, Status};
use skiff_policy::{Admission, Attributes};

pub struct RuntimeClass;

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

#[async_trait]
impl Admission for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(class) = class(a)? else { return Ok(()) };
        set_overhead(a, &class)?;
        set_scheduling(a, &class)
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !creates(a, "", "pods") {
            return Ok(());
        }
        let class = class(a)?;
        let defined = class.as_ref().and_then(|c| value::at(c, "overhead"));
        let given = a.object.as_deref().and_then(|p| value::map(p, "spec.overhead"));
        match (defined, given) {
            (Some(d), given) if same(value::map(d, "podFixed"), given) => Ok(()),
            (Some(_), _) => Err(forbidden(a, MISMATCH)),
            (None, Some(_)) => Err(forbidden(a, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")),
            (None, None) => Ok(()),
        }
    }
}

fn class(a: &Attributes<'_>) -> Result<Option<Value>, Status> {
    let pod = a.object.as_deref().filter(|_| creates(a, "", "pods"));
    let Some(name) = pod.and_then(|p| value::at(p, "spec.runtimeClassName")).and_then(Value::as_str) else { return Ok(None) };
    match stored(a, "runtimeclasses.node.k8s.io", "", name) {
        Some(class) => Ok(Some(class)),
        None => Err(forbidden(a, format!("pod rejected: RuntimeClass {name:?} not found"))),
    }
}

fn same(a: Option<&Map>, b: Option<&Map>) -> bool {
    let empty = Map::new();
    let (a, b) = (a.unwrap_or(&empty), b.unwrap_or(&empty));
    let quantity = |v: &Value| v.as_str().and_then(|s| s.parse::<Quantity>().ok());
    a.len() == b.len() && a.iter().all(|(k, x)| b.get(k).is_some_and(|y| x == y || quantity(x).is_some_and(|x| quantity(y) == Some(x))))
}

fn set_overhead(a: &mut Attributes<'_>, class: &Value) -> Result<(), Status> {
    let Some(overhead) = value::at(class, "overhead") else { return Ok(()) };
    let fixed = value::map(overhead, "podFixed");
    let given = a.object.as_deref().and_then(|p| value::map(p, "spec.overhead"));
    if given.is_some_and(|g| !g.is_empty() && !same(fixed, Some(g))) {
        return Err(forbidden(a, MISMATCH));
    }
    if let (Some(pod), Some(fixed)) = (a.object.as_deref_mut(), fixed) {
        value::set(pod, "spec.overhead", fixed.clone());
    }
    Ok(())
}

fn set_scheduling(a: &mut Attributes<'_>, class: &Value) -> Result<(), Status> {
    let Some(scheduling) = value::at(class, "scheduling") else { return Ok(()) };
    for (k, v) in value::map(scheduling, "nodeSelector").into_iter().flatten() {
        let Some(pod) = a.object.as_deref_mut() else { return Ok(()) };
        let Some(selector) = value::map_mut(pod, "spec.nodeSelector") else { return Ok(()) };
        let there = selector.entry(k.clone()).or_insert_with(|| v.clone()).clone();
        if there != *v {
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            let why = format!("conflict: runtimeClass.scheduling.nodeSelector[{k}] = {}; pod.spec.nodeSelector[{k}] = {}", text(v), text(&there));
            return Err(forbidden(a, why));
        }
    }
    let added = value::list(scheduling, "tolerations");
    if let Some(pod) = a.object.as_deref_mut().filter(|_| !added.is_empty()) {
        let merged = merge(value::list(pod, "spec.tolerations"), added);
        value::set(pod, "spec.tolerations", merged);
    }
    Ok(())
}

/// Both lists without what another toleration covers.
fn merge(first: &[Value], second: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = first.iter().chain(second).collect();
    let mut merged: Vec<Value> = Vec::new();
    for (i, t) in all.iter().enumerate() {
        let before = merged.iter().any(|m| covers(m, t));
        let after = all.iter().skip(i + 1).any(|o| o != t && covers(o, t));
        if !before && !after {
            merged.push((*t).clone());
        }
    }
    merged
}

fn covers(wide: &Value, t: &Value) -> bool {
    let text = |v: &Value, key| value::text(v, key).to_owned();
    if wide == t {
        return true;
    }
    if text(t, "key") != text(wide, "key") && !(text(wide, "key").is_empty() && text(wide, "operator") == "Exists") {
        return false;
    }
    if text(t, "effect") != text(wide, "effect") && !text(wide, "effect").is_empty() {
        return false;
    }
    let seconds = |v| value::at(v, "tolerationSeconds").and_then(Value::as_i64);
    if let Some(limit) = seconds(wide).filter(|_| text(wide, "effect") == "NoExecute")
        && seconds(t).is_none_or(|s| s > limit)
    {
        return false;
    }
    match text(wide, "operator").as_str() {
        "Equal" | "" => text(t, "operator") == "Equal" && text(t, "value") == text(wide, "value"),
        "Exists" => true,
        _ => false,
    }
}
