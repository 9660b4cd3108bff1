//! An APIService for each group version that definitions serve, as clients find them for built-in groups.
//!
//! The objects carry a label that says who keeps them; one that somebody else made, or took the label from, is left
//! alone. They make no difference to what is served: the table does that.
use crate::Definitions;
use futures::StreamExt;
use skiff_json::{Value, json};
use skiff_meta::value::{at, int, text};
use skiff_meta::{GroupVersionResource, Reason, Status};
use skiff_request::{Call, Target, Verb};
use skiff_store::ListQuery;
use std::{collections::BTreeSet, time::Duration};
use tokio_util::sync::CancellationToken;

const PREFIX: &str = "apiservices.apiregistration.k8s.io/";
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Behind all built-in groups.
const GROUP_PRIORITY: i64 = 1000;
/// The same for all: their names decide.
const VERSION_PRIORITY: i64 = 100;
/// How long a failed round rests.
const RETRY: Duration = Duration::from_secs(1);

/// Group and version.
pub(crate) type Place = (String, String);

#[derive(Debug, PartialEq)]
enum Step {
    Create(Value),
    Update(Value),
    /// The object with this name and uid.
    Delete(String, String),
}

/// Keeps the objects until `stop`; woken by changes of definitions and of APIServices.
pub(crate) async fn run(all: &Definitions, stop: &CancellationToken) {
    let store = all.registry().store().clone();
    while !stop.is_cancelled() {
        let mut changes = match store.watch(PREFIX, store.revision()) {
            Ok(w) => w,
            Err(error) => {
                tracing::warn!(target: "crd", %error, "cannot watch APIServices");
                tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(RETRY) => continue }
            }
        };
        let mut again = false;
        loop {
            if let Err(s) = round(all).await {
                tracing::warn!(target: "crd", error = %s.message, "cannot keep the APIServices of definitions");
                again = true;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = all.group_versions_changed() => {}
                () = tokio::time::sleep(RETRY), if std::mem::take(&mut again) => {}
                change = changes.next() => match change {
                    Some(Ok(_)) => {}
                    _ => break,
                },
            }
        }
    }
}

async fn round(all: &Definitions) -> Result<(), Status> {
    let page = all.registry().store().list(&ListQuery { prefix: PREFIX.into(), ..Default::default() });
    let present: Vec<Value> = page.entries.iter().filter_map(|e| skiff_json::from_slice(&e.bytes).ok()).collect();
    for step in plan(&all.group_versions(), &present) {
        let target = |name: &str| Target::new(GroupVersionResource::new("apiregistration.k8s.io", "v1", "apiservices"), "", name);
        let done = match step {
            Step::Create(v) => all.call(Call::new(Verb::Create, target("")).body(v.to_string())).await,
            Step::Update(v) => all.call(Call::new(Verb::Update, target(text(&v, "metadata.name"))).body(v.to_string())).await,
            Step::Delete(name, uid) => all.call(Call::new(Verb::Delete, target(&name)).body(json!({"preconditions": {"uid": uid}}).to_string())).await,
        };
        match done {
            // Somebody was faster: its event wakes us.
            Err(s) if s.is(Reason::Conflict) || s.is(Reason::NotFound) || s.is(Reason::AlreadyExists) => {}
            other => other.map(drop)?,
        }
    }
    Ok(())
}

/// What is to be done so that exactly the `wanted` ones are there.
fn plan(wanted: &BTreeSet<Place>, present: &[Value]) -> Vec<Step> {
    let ours = |v: &&Value| at(v, "metadata.labels").and_then(|l| l.get(MANAGED)).is_some_and(|m| m == "true");
    let mut steps: Vec<Step> = present
        .iter()
        .filter(ours)
        .filter(|v| !wanted.contains(&(text(v, "spec.group").to_owned(), text(v, "spec.version").to_owned())))
        .map(|v| Step::Delete(text(v, "metadata.name").to_owned(), text(v, "metadata.uid").to_owned()))
        .collect();
    for (group, version) in wanted {
        let name = format!("{version}.{group}");
        let spec = json!({"group": group, "version": version, "groupPriorityMinimum": GROUP_PRIORITY, "versionPriority": VERSION_PRIORITY});
        match present.iter().find(|v| text(v, "metadata.name") == name) {
            None => steps.push(Step::Create(json!({"metadata": {"name": name, "labels": {MANAGED: "true"}}, "spec": spec}))),
            Some(v) if ours(&v) && !same(v, &spec) => {
                let mut v = v.clone();
                v["spec"] = spec;
                steps.push(Step::Update(v));
            }
            Some(_) => {}
        }
    }
    steps
}

fn same(v: &Value, spec: &Value) -> bool {
    let number = |k: &str| int(v, &format!("spec.{k}")) == int(spec, k);
    at(v, "spec.service").is_none()
        && ["group", "version"].iter().all(|k| v["spec"][*k] == spec[*k])
        && number("groupPriorityMinimum")
        && number("versionPriority")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, managed: Option<&str>, priority: i64) -> Value {
        let (version, group) = name.split_once('.').unwrap();
        let mut v = json!({"metadata": {"name": name, "uid": "u"}, "spec": {"group": group, "version": version, "groupPriorityMinimum": priority, "versionPriority": 100}});
        if let Some(m) = managed {
            v["metadata"]["labels"] = json!({MANAGED: m});
        }
        v
    }

    #[test]
    fn only_what_is_ours_is_kept() {
        let wanted: BTreeSet<Place> = [("a.io", "v1"), ("b.io", "v1"), ("c.io", "v1"), ("d.io", "v1")].map(|(g, v)| (g.to_owned(), v.to_owned())).into();
        let present = [
            object("v1.b.io", Some("true"), 1000),
            object("v1.c.io", Some("true"), 5),
            object("v1.d.io", None, 5),
            object("v1.gone.io", Some("true"), 1000),
            object("v1.mine.io", None, 1000),
            object("v1.apps", Some("onstart"), 17800),
        ];
        let steps = plan(&wanted, &present);
        assert_eq!(steps[0], Step::Delete("v1.gone.io".into(), "u".into()));
        assert!(matches!(&steps[1], Step::Create(v) if v["metadata"]["name"] == "v1.a.io" && v["metadata"]["labels"][MANAGED] == "true"));
        assert!(matches!(&steps[2], Step::Update(v) if v["metadata"]["name"] == "v1.c.io" && v["spec"]["groupPriorityMinimum"] == 1000));
        assert_eq!(steps.len(), 3);
    }
}
