//! Priority: a pod gets the number of its priority class, and there is one default class.
use crate::{
    request::{Operation, about, creates, forbidden, operation, stored, updates},
    value,
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use skiff_json::{Value, json};
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes};

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";
/// The classes that are there in every cluster, even before they are stored.
const SYSTEM: [(&str, i64); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub struct Priority;

struct Class {
    name: String,
    value: i64,
    preemption: Option<String>,
}

impl Class {
    fn of(v: &Value) -> Self {
        let preemption = value::at(v, "preemptionPolicy").and_then(Value::as_str).map(str::to_owned);
        Self { name: value::text(v, "metadata.name").to_owned(), value: value::int(v, "value"), preemption }
    }
}

#[async_trait]
impl Admission for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if updates(a, "", "pods") {
            keep(a);
            return Ok(());
        }
        if !creates(a, "", "pods") {
            return Ok(());
        }
        let Some(pod) = a.object.as_deref() else { return Ok(()) };
        let class = class_of(a, value::text(pod, "spec.priorityClassName"))?;
        set(a, &class)
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let written = about(a, "scheduling.k8s.io", "priorityclasses") && operation(a) != Operation::Delete && a.target.subresource.is_empty();
        let Some(class) = a.object.as_deref().filter(|c| written && value::flag(c, "globalDefault")) else { return Ok(()) };
        match default_class(a) {
            Some(d) if operation(a) == Operation::Create || d.name != value::text(class, "metadata.name") => {
                Err(forbidden(a, format!("PriorityClass {} is already marked as default. Only one default can exist", d.name)))
            }
            _ => Ok(()),
        }
    }
}

/// Clients that do not know the fields leave them out.
fn keep(a: &mut Attributes<'_>) {
    let (Some(old), Some(pod)) = (a.old, a.object.as_deref_mut()) else { return };
    for path in ["spec.priority", "spec.preemptionPolicy"] {
        if let (None, Some(x)) = (value::at(pod, path), value::at(old, path)) {
            value::set(pod, path, x.clone());
        }
    }
}

/// Whether a class is the default one: every new pod asks it of all of them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Marked {
    global_default: bool,
}

/// Of several defaults (a race made them) the one of the lowest value counts.
fn default_class(a: &Attributes<'_>) -> Option<Class> {
    let marked = |b: &Bytes| skiff_json::from_slice::<Marked>(b).is_ok_and(|m| m.global_default);
    let classes = a.lookup.list(CLASSES, "");
    let defaults = classes.iter().filter(|b| marked(b)).filter_map(|b| skiff_json::from_slice(b).ok());
    defaults.map(|v: Value| Class::of(&v)).min_by_key(|c| c.value)
}

fn class_of(a: &Attributes<'_>, name: &str) -> Result<Class, Status> {
    let lower = || Some("PreemptLowerPriority".to_owned());
    if name.is_empty() {
        return Ok(default_class(a).unwrap_or_else(|| Class { name: String::new(), value: 0, preemption: lower() }));
    }
    if let Some(v) = stored(a, CLASSES, "", name) {
        return Ok(Class::of(&v));
    }
    match SYSTEM.iter().find(|(n, _)| *n == name) {
        Some((n, value)) => Ok(Class { name: (*n).to_owned(), value: *value, preemption: lower() }),
        None => Err(forbidden(a, format!("no PriorityClass with name {name} was found"))),
    }
}

fn set(a: &mut Attributes<'_>, class: &Class) -> Result<(), Status> {
    let Some(pod) = a.object.as_deref() else { return Ok(()) };
    if let Some(given) = value::at(pod, "spec.priority").and_then(Value::as_i64).filter(|g| *g != class.value) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name",
            class.value
        );
        return Err(forbidden(a, why));
    }
    if let (Some(policy), Some(given)) = (&class.preemption, value::at(pod, "spec.preemptionPolicy").and_then(Value::as_str))
        && given != policy
    {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(forbidden(a, why));
    }
    if let Some(pod) = a.object.as_deref_mut() {
        if !class.name.is_empty() {
            value::set(pod, "spec.priorityClassName", class.name.clone());
        }
        value::set(pod, "spec.priority", class.value);
        if let Some(policy) = &class.preemption {
            value::set(pod, "spec.preemptionPolicy", json!(policy));
        }
    }
    Ok(())
}
