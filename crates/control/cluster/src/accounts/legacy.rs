//! Tokens in secrets that Kubernetes made for accounts by itself once and that nobody used for a year: first marked as
//! invalid, and a year later removed. Tokens whose secrets somebody made (no account names them) stay.
//! <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#legacy-serviceaccount-token-cleaner>
use super::tokens::account;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
    jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone},
};
use skiff_client::{DeleteOptions, PatchBody, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Informer, Row, Selection, Typed};
use skiff_json::{Value, json};
use skiff_meta::{Head, LabelSelector, Reason, Status};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
const EVERY: Duration = Duration::from_secs(24 * 3600);
const KEY: &str = "all";

/// What is to be done about a token that was made with its account.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stays,
    Invalid,
    Goes,
}

/// `created` and the labels are the secret's; `before`: a year ago.
fn verdict(created: Date, last_used: Option<&str>, invalid_since: Option<&str>, before: Date) -> Verdict {
    let day = |text: &str| text.parse::<Date>().ok().filter(|_| text.len() == 10);
    if created >= before {
        return Verdict::Stays;
    }
    // A label that says nothing tells nothing; none at all means that it was never used since uses are written down.
    if last_used.is_some_and(|text| day(text).is_none_or(|d| d >= before)) {
        return Verdict::Stays;
    }
    match invalid_since.and_then(day) {
        None => Verdict::Invalid,
        Some(since) if since >= before => Verdict::Stays,
        Some(_) => Verdict::Goes,
    }
}

/// Every secret that a pod's spec names, wherever it does.
fn named(v: &Value, into: &mut BTreeSet<String>) {
    match v {
        Value::Object(m) => {
            for (key, inner) in m {
                let name = match key.as_str() {
                    "secretName" => inner.as_str(),
                    "secretKeyRef" | "secretRef" | "secret" | "nodePublishSecretRef" => inner["name"].as_str(),
                    "imagePullSecrets" => {
                        into.extend(inner.as_array().into_iter().flatten().filter_map(|s| s["name"].as_str().map(str::to_owned)));
                        None
                    }
                    _ => None,
                };
                into.extend(name.map(str::to_owned));
                named(inner, into);
            }
        }
        Value::Array(all) => all.iter().for_each(|v| named(v, into)),
        _ => {}
    }
}

struct Cleaner {
    deps: Deps,
    secrets: Arc<Informer>,
    accounts: Typed<ServiceAccount>,
    pods: Typed<Pod>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let secrets = deps.informers.raw(Selection::of(resource_of::<Secret>()).fields("type=kubernetes.io/service-account-token"));
    let (accounts, pods) = (deps.informers.of::<ServiceAccount>(), deps.informers.of::<Pod>());
    let queue = Queue::new();
    queue.add(KEY);
    (queue, Arc::new(Cleaner { deps, secrets, accounts, pods }))
}

impl Cleaner {
    fn today(&self) -> Date {
        Timestamp::from_microsecond(self.deps.clock.now().0).unwrap_or_default().to_zoned(TimeZone::UTC).date()
    }

    /// Since when uses are written down; None when nobody can say.
    async fn tracked_since(&self) -> Result<Option<Date>, Status> {
        let map = self.deps.client.find::<ConfigMap>("kube-system", TRACKING).await?;
        Ok(map.and_then(|m| m.data?.get("since")?.parse().ok()))
    }

    /// Whether the account names this secret among its own: Kubernetes did so when it made both.
    fn automatic(&self, row: &Row) -> bool {
        let Some((name, uid)) = account(row) else { return false };
        let account = self.accounts.get(row.namespace(), &name).filter(|a| uid.is_empty() || a.metadata.uid.as_deref() == Some(&uid));
        account.is_some_and(|a| a.secrets.iter().flatten().any(|s| s.name.as_deref() == Some(row.name())))
    }

    async fn clean(&self) -> Result<(), Status> {
        let today = self.today();
        let before = today.saturating_sub(365.days());
        // A day that was only begun does not count.
        let Some(since) = self.tracked_since().await? else { return Ok(()) };
        if since.saturating_add(1.days()) > before {
            return Ok(());
        }
        let mut mounted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in self.secrets.rows("", &LabelSelector::everything()).into_iter().filter(|r| !r.deleting && self.automatic(r)) {
            let head = Head::of(&row.bytes).map_err(Status::internal)?;
            let created = head.creation_timestamp.as_deref().and_then(|t| t.parse::<Timestamp>().ok()).map(|t| t.to_zoned(TimeZone::UTC).date());
            let label = |key: &str| head.labels.get(key).map(String::as_str);
            let verdict = verdict(created.unwrap_or(today), label(LAST_USED), label(INVALID_SINCE), before);
            if verdict == Verdict::Stays || self.mounted(&mut mounted, row.namespace()).contains(row.name()) {
                continue;
            }
            self.settle(&row, &verdict, today).await?;
        }
        Ok(())
    }

    fn mounted<'m>(&self, known: &'m mut BTreeMap<String, BTreeSet<String>>, namespace: &str) -> &'m BTreeSet<String> {
        known.entry(namespace.to_owned()).or_insert_with(|| {
            let mut names = BTreeSet::new();
            for pod in self.pods.rows(namespace, &LabelSelector::everything()) {
                let v: Value = skiff_json::from_slice(&pod.bytes).unwrap_or_default();
                named(&v["spec"], &mut names);
            }
            names
        })
    }

    async fn settle(&self, row: &Row, verdict: &Verdict, today: Date) -> Result<(), Status> {
        let (namespace, name) = (row.namespace(), row.name());
        let done = if *verdict == Verdict::Invalid {
            let patch = json!({"metadata": {"uid": row.uid.as_str(), "labels": {INVALID_SINCE: today.to_string()}}});
            self.deps.client.patch::<Secret>(namespace, name, PatchBody::merge(&patch)).await.map(drop)
        } else {
            let options = DeleteOptions::default().uid(row.uid.as_str()).revision(row.revision);
            self.deps.client.delete::<Secret>(namespace, name, &options).await
        };
        tracing::info!(target: "controller", namespace, secret = name, removed = *verdict == Verdict::Goes, "a service account's old token is unused");
        done.or_else(|e| if e.is(Reason::Conflict) || e.is(Reason::NotFound) { Ok(()) } else { Err(e) })
    }
}

#[async_trait]
impl Reconcile for Cleaner {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        self.clean().await.at("clean up old tokens of service accounts", key)?;
        Ok(Action::RequeueAfter(EVERY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_silence_and_a_year_of_grace() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        for (created, used, invalid, want) in [
            ("2025-06-01", None, None, Verdict::Stays),
            ("2020-06-01", None, None, Verdict::Invalid),
            ("2020-06-01", Some("2025-01-01"), None, Verdict::Stays),
            ("2020-06-01", Some("2024-12-31"), None, Verdict::Invalid),
            ("2020-06-01", Some("never"), None, Verdict::Stays),
            ("2020-06-01", None, Some("soon"), Verdict::Invalid),
            ("2020-06-01", None, Some("2025-01-01"), Verdict::Stays),
            ("2020-06-01", None, Some("2024-12-31"), Verdict::Goes),
        ] {
            assert_eq!(verdict(day(created), used, invalid, day("2025-01-01")), want, "{created} {used:?} {invalid:?}");
        }
    }

    #[test]
    fn secrets_of_a_pod() {
        let spec = json!({
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}], "envFrom": [{"secretRef": {"name": "from"}}]}],
            "volumes": [{"secret": {"secretName": "volume"}}, {"projected": {"sources": [{"secret": {"name": "projected"}}]}}, {"csi": {"nodePublishSecretRef": {"name": "csi"}}}],
        });
        let mut names = BTreeSet::new();
        named(&spec, &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["csi", "env", "from", "projected", "pull", "volume"]);
    }
}
