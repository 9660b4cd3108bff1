//! What `/healthz`, `/livez` and `/readyz` look at, under upstream's names.
//!
//! Three sorts: what is asked anew each time (the datastore, the log, informers), what the process has come to (its end),
//! and what a start has to have done: such a check holds from when it was first seen done, so that nobody who deletes
//! an object later makes the server look dead. Upstream's hooks that have no counterpart here are not listed.
use rustix::event::{PollFd, PollFlags, poll};
use skiff_apiserver::Check;
use skiff_informer::Informers;
use skiff_registry::Registry;
use skiff_store::Store;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long the datastore may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// An object: group, resource, namespace and name.
type Place = (&'static str, &'static str, &'static str, &'static str);

const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const SYSTEM: &str = "kube-system";

/// Hooks by name, and what they have to have made.
const MADE: [(&str, &[Place]); 9] = [
    (
        "priority-and-fairness-config-producer",
        &[
            (FLOW, "flowschemas", "", "exempt"),
            (FLOW, "flowschemas", "", "catch-all"),
            (FLOW, "prioritylevelconfigurations", "", "exempt"),
            (FLOW, "prioritylevelconfigurations", "", "catch-all"),
        ],
    ),
    (
        "start-system-namespaces-controller",
        &[("", "namespaces", "", SYSTEM), ("", "namespaces", "", "kube-public"), ("", "namespaces", "", "kube-node-lease"), ("", "namespaces", "", "default")],
    ),
    ("start-cluster-authentication-info-controller", &[("", "configmaps", SYSTEM, "extension-apiserver-authentication")]),
    ("start-legacy-token-tracking-controller", &[("", "configmaps", SYSTEM, "kube-apiserver-legacy-service-account-token-tracking")]),
    ("rbac/bootstrap-roles", &[(RBAC, "clusterroles", "", "cluster-admin"), (RBAC, "clusterrolebindings", "", "cluster-admin")]),
    (
        "scheduling/bootstrap-system-priority-classes",
        &[("scheduling.k8s.io", "priorityclasses", "", "system-node-critical"), ("scheduling.k8s.io", "priorityclasses", "", "system-cluster-critical")],
    ),
    ("bootstrap-controller", &[("", "services", "default", "kubernetes")]),
    ("start-kubernetes-service-cidr-controller", &[("networking.k8s.io", "servicecidrs", "", "kubernetes")]),
    ("kube-apiserver-autoregistration", &[("apiregistration.k8s.io", "apiservices", "", "v1."), ("apiregistration.k8s.io", "apiservices", "", "v1.apps")]),
];
const DEFINITIONS: &str = "start-apiextensions-controllers";
const INFORMERS: &str = "generic-apiserver-start-informers";

/// What the process has come to.
#[derive(Default)]
pub struct Health {
    ending: AtomicBool,
    definitions: AtomicBool,
    informers: OnceLock<Informers>,
}

impl Health {
    /// From now on no load balancer is to send anybody here.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
    }
    pub fn definitions_followed(&self) {
        self.definitions.store(true, Ordering::Release);
    }
    pub fn informers_started(&self, informers: Informers) {
        let _ = self.informers.set(informers);
    }

    /// In the order that upstream tells them.
    pub fn checks(self: &Arc<Self>, store: &Arc<dyn Store>, registry: &Arc<Registry>) -> Vec<Check> {
        let hook = |name: &str| format!("poststarthook/{name}");
        let (at, there, me) = (store.clone(), store.clone(), self.clone());
        let mut all = vec![
            Check::new("ping", || Ok(())),
            Check::new("log", log_takes_lines),
            Check::waiting("etcd", move || answers(at.clone())),
            Check::new("etcd-readiness", move || loaded(&*there)).of_readiness(),
        ];
        let (mine, rows) = (me.clone(), registry.clone());
        all.push(Check::new("informer-sync", move || mine.synced(&rows)).of_readiness());
        let mine = me.clone();
        all.push(Check::new(hook(INFORMERS), move || done(mine.informers.get().is_some(), "informers are not started")));
        let mine = me.clone();
        all.push(Check::new(hook(DEFINITIONS), move || done(mine.definitions.load(Ordering::Acquire), "definitions are not followed")));
        for (name, places) in MADE {
            let (store, registry, seen) = (store.clone(), registry.clone(), AtomicBool::new(false));
            let stored = move |place: &Place| key(&registry, place).is_some_and(|k| store.get(&k).is_some());
            all.push(Check::new(hook(name), move || once(&seen, || missing(places, &stored))));
        }
        all.push(Check::new("shutdown", move || done(!me.ending.load(Ordering::Acquire), "process is shutting down")).of_readiness());
        all
    }

    /// Kinds of our own alone: those of others may be unreadable without anything being wrong here.
    fn synced(&self, registry: &Registry) -> Result<(), String> {
        let informers = self.informers.get().ok_or("informers are not started")?;
        let table = registry.table();
        let own = |r: &skiff_meta::GroupVersionResource| table.at(&r.group, &r.resource, &r.version).is_some_and(|row| row.custom.is_none());
        let waiting: BTreeSet<String> = informers.unsynced().into_iter().filter(|s| own(&s.resource)).map(|s| s.resource.resource.to_string()).collect();
        let names: Vec<String> = waiting.into_iter().collect();
        done(names.is_empty(), &format!("{} informers not started yet: [{}]", names.len(), names.join(" ")))
    }
}

fn done(is: bool, why_not: &str) -> Result<(), String> {
    if is { Ok(()) } else { Err(why_not.to_owned()) }
}

/// What held once holds.
fn once(seen: &AtomicBool, check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    if seen.load(Ordering::Acquire) {
        return Ok(());
    }
    check().inspect(|()| seen.store(true, Ordering::Release))
}

fn missing(places: &[Place], there: impl Fn(&Place) -> bool) -> Result<(), String> {
    match places.iter().find(|p| !there(p)) {
        Some((_, resource, _, name)) => Err(format!("not finished: {resource} {name:?} is missing")),
        None => Ok(()),
    }
}

/// Where the store has it.
fn key(registry: &Registry, (group, resource, namespace, name): &Place) -> Option<String> {
    let rows = registry.table().rows();
    rows.all().find(|r| r.group == *group && r.plural == *resource).map(|r| r.key(namespace, name))
}

/// The bootstrap objects are written before the server listens.
fn loaded(store: &dyn Store) -> Result<(), String> {
    done(store.revision().0 > 0, "the datastore has no revision")
}

/// Who commits has to come to it behind all that waits.
async fn answers(store: Arc<dyn Store>) -> Result<(), String> {
    loaded(&*store)?;
    match tokio::time::timeout(ANSWER, store.answers()).await {
        Ok(answer) => answer.map_err(|e| e.to_string()),
        Err(_) => Err(format!("the datastore did not answer within {ANSWER:?}")),
    }
}

/// A reader that stopped reading would hold up everybody who logs.
fn log_takes_lines() -> Result<(), String> {
    let stderr = std::io::stderr();
    let mut at = [PollFd::new(&stderr, PollFlags::OUT)];
    // What can't be asked blocks nobody.
    let ready = poll(&mut at, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(1);
    done(ready > 0, "logging blocked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_did_stays_done() {
        let seen = AtomicBool::new(false);
        let places = [("", "namespaces", "", "a"), ("", "namespaces", "", "b")];
        assert_eq!(once(&seen, || missing(&places, |p| p.3 == "a")), Err("not finished: namespaces \"b\" is missing".to_owned()));
        assert_eq!(once(&seen, || missing(&places, |_| true)), Ok(()));
        assert_eq!(once(&seen, || missing(&places, |_| false)), Ok(()));
    }

    #[tokio::test]
    async fn the_end_is_told() {
        let table = Arc::new(skiff_registry::table::Table::builtin());
        let store: Arc<dyn Store> = Arc::new(skiff_store::memory::Memory::new(Arc::new(skiff_registry::RowIndexer::new(table.clone()))));
        assert_eq!(answers(store.clone()).await, Err("the datastore has no revision".to_owned()));
        let health = Arc::new(Health::default());
        assert!(!health.ending.load(Ordering::Acquire));
        health.end();
        assert!(health.ending.load(Ordering::Acquire));
    }
}
