//! Declared webhooks, read once and kept until the declarations change.
use super::matching::Rules;
use crate::{
    declared::Declared,
    expression::{Condition, Names},
    value,
};
use skiff_json::Value;
use skiff_policy::Attributes;
use skiff_webhook::Place;
use std::{sync::Arc, time::Duration};

/// One webhook of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    /// Unique among all webhooks: configuration, name, and which of that name.
    pub id: String,
    pub name: String,
    pub rules: Rules,
    pub conditions: Vec<Condition>,
    pub ignores_failure: bool,
    pub side_effects: String,
    pub timeout: Duration,
    /// `reinvocationPolicy: IfNeeded`.
    pub reinvoked: bool,
    pub versions: Vec<String>,
    pub place: Place,
}

const DEFAULT_TIMEOUT: i64 = 10;

/// The webhooks of one of the two resources, in the order of their configurations' names.
#[derive(Default)]
pub(super) struct Hooks(Declared<Vec<Arc<Hook>>>);

impl Hooks {
    pub fn of(&self, a: &Attributes<'_>, resource: &str) -> Arc<Vec<Arc<Hook>>> {
        self.0.of(a.lookup.list(resource, ""), |all| all.iter().flat_map(read).map(Arc::new).collect())
    }
}

fn read(configuration: &Value) -> Vec<Hook> {
    let owner = value::text(configuration, "metadata.name");
    let hooks = value::list(configuration, "webhooks").iter();
    hooks.enumerate().map(|(i, v)| hook(v, format!("{owner}/{}/{i}", value::text(v, "name")))).collect()
}

fn hook(v: &Value, id: String) -> Hook {
    let seconds = value::at(v, "timeoutSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_TIMEOUT);
    let texts = |path| value::list(v, path).iter().filter_map(|x| x.as_str().map(str::to_owned)).collect();
    Hook {
        id,
        name: value::text(v, "name").to_owned(),
        rules: Rules::read(v, value::list(v, "rules"), value::text(v, "matchPolicy")),
        conditions: value::list(v, "matchConditions").iter().map(|c| Condition::read(c, Names::default())).collect(),
        ignores_failure: value::text(v, "failurePolicy") == "Ignore",
        side_effects: value::text(v, "sideEffects").to_owned(),
        timeout: Duration::from_secs(u64::try_from(seconds).unwrap_or(DEFAULT_TIMEOUT as u64).clamp(1, 30)),
        reinvoked: value::text(v, "reinvocationPolicy") == "IfNeeded",
        versions: texts("admissionReviewVersions"),
        place: Place::read(&v["clientConfig"]),
    }
}
