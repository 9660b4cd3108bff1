//! ResourceQuota: a namespace uses no more than its quotas allow, however many write at once.
//!
//! Usage is what the store holds plus what is under way ([`ledger`]), not the status of the quota: so it is never
//! stale, and a deleted object frees its share at once. The status is the quota controller's, for people to read.

mod bounds;
mod charge;
mod ledger;

use crate::{
    request::{Operation, about, all, forbidden, operation},
    resources::Resources,
};
use async_trait::async_trait;
use bounds::Bounds;
use charge::Charge;
use ledger::Ledger;
use parking_lot::Mutex;
use skiff_meta::{GroupResource, Quantity, Status};
use skiff_policy::{Admission, Attributes};
use skiff_request::Target;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

pub struct ResourceQuota {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    ledger: Mutex<Ledger>,
}

impl ResourceQuota {
    pub fn new(now: Arc<dyn Fn() -> SystemTime + Send + Sync>) -> Self {
        Self { now, ledger: Mutex::default() }
    }
}

#[async_trait]
impl Admission for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let resource = a.target.group_resource();
        if a.target.namespace.is_empty() || about(a, "", "namespaces") || about(a, "", "events") || about(a, "events.k8s.io", "events") {
            return Ok(());
        }
        let bounds: Vec<Bounds> = all(a, "resourcequotas", &a.target.namespace).iter().filter_map(|q| Bounds::of(q, &resource)).collect();
        let Some(v) = a.object.as_deref().filter(|_| !bounds.is_empty()) else { return Ok(()) };
        let (charge, old) = (Charge::of(&resource, v), a.old.map(|o| Charge::of(&resource, o)));
        if !counts(a, &charge, old.as_ref()) {
            return Ok(());
        }
        let now = (self.now)().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        self.check(a, &resource, bounds, charge, old, now)
    }
    fn settle(&self, target: &Target, uid: &str, _committed: bool) {
        self.ledger.lock().settle(target, uid);
    }
}

/// Whether a write of this kind can change what is used.
fn counts(a: &Attributes<'_>, new: &Charge, old: Option<&Charge>) -> bool {
    let pods = about(a, "", "pods");
    match (operation(a), a.target.subresource.as_str()) {
        (Operation::Create, "") => true,
        (Operation::Update, "resize") => pods,
        (Operation::Update, "") if pods => {
            let terminating = |c: &Charge| c.scopes.as_ref().is_some_and(|s| s.terminating);
            old.is_some_and(|o| terminating(o) != terminating(new))
        }
        (Operation::Update, "") => about(a, "", "services") || about(a, "", "persistentvolumeclaims"),
        _ => false,
    }
}

impl ResourceQuota {
    fn check(&self, a: &Attributes<'_>, resource: &GroupResource, bounds: Vec<Bounds>, charge: Charge, old: Option<Charge>, now: i64) -> Result<(), Status> {
        let covering: Vec<Bounds> = bounds.into_iter().filter(|b| b.covers(&charge)).collect();
        for b in &covering {
            if let Some(missing) = a.object.as_deref().filter(|_| about(a, "", "pods")).and_then(|pod| b.missing(pod)) {
                return Err(forbidden(a, format!("failed quota: {}: {missing}", b.name)));
            }
        }
        if covering.is_empty() {
            return Ok(());
        }
        let mut ledger = self.ledger.lock();
        let stored = ledger.stored(resource, &a.target.namespace, a.lookup.list(&resource.to_string(), &a.target.namespace));
        for b in &covering {
            let before = old.as_ref().filter(|o| b.covers(o)).map(|o| o.usage(now));
            let delta = delta(&b.hard, charge.usage(now), before);
            let used = ledger.used(b, a.target, &stored, now);
            if let Some(text) = exceeded(b, &delta, &used) {
                return Err(forbidden(a, text));
            }
        }
        if !a.dry_run {
            ledger.reserve(a.target, Arc::new(charge), now);
        }
        Ok(())
    }
}

/// What comes on top, of what is bounded.
fn delta(hard: &Resources, new: &Resources, old: Option<&Resources>) -> Resources {
    let more = |k: &String, q: &Quantity| *q - old.and_then(|o| o.get(k)).copied().unwrap_or_default();
    new.iter().filter(|(k, _)| hard.contains_key(*k)).map(|(k, q)| (k.clone(), more(k, q))).filter(|(_, q)| q.sign() > 0).collect()
}

fn exceeded(b: &Bounds, delta: &Resources, used: &Resources) -> Option<String> {
    let of = |m: &Resources, k: &str| m.get(k).copied().unwrap_or_default();
    let over: Vec<&String> = delta.iter().filter(|(k, q)| of(used, k) + **q > of(&b.hard, k)).map(|(k, _)| k).collect();
    let list = |m: &Resources| over.iter().map(|k| format!("{k}={}", of(m, k))).collect::<Vec<_>>().join(",");
    (!over.is_empty()).then(|| format!("exceeded quota: {}, requested: {}, used: {}, limited: {}", b.name, list(delta), list(used), list(&b.hard)))
}

#[cfg(test)]
mod tests;
