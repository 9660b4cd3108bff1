//! What is used: the objects of the store and the writes that are under way.
//!
//! A write reserves its charge before it goes to the store and the reservation is taken away when the write has
//! ended. Between, the object may be in the store already or not, so each object counts once, by its uid, with the
//! higher of both charges. Looked at under one lock: whoever asks sees every earlier write in at least one place.
use super::{bounds::Bounds, charge::Charge};
use crate::resources::Resources;
use bytes::Bytes;
use skiff_meta::GroupResource;
use skiff_request::Target;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// A write whose end nobody told of (its client went away) holds its reservation for so many seconds.
const LIFETIME: i64 = 60;
/// Charges are remembered for so many resources of namespaces.
const REMEMBERED: usize = 256;

/// By the address of the bytes, which are held so that no others can come to it.
type Known = HashMap<usize, (Bytes, Arc<Charge>)>;

#[derive(Default)]
pub(super) struct Ledger {
    reservations: Vec<Reservation>,
    /// Charges of stored objects, known by the very bytes that they were read from.
    known: BTreeMap<(GroupResource, String), Known>,
}

struct Reservation {
    resource: GroupResource,
    namespace: String,
    charge: Arc<Charge>,
    expires: i64,
}

impl Ledger {
    pub fn reserve(&mut self, target: &Target, charge: Arc<Charge>, now: i64) {
        self.reservations.retain(|r| r.expires > now);
        let (resource, namespace) = (target.group_resource(), target.namespace.clone());
        self.reservations.push(Reservation { resource, namespace, charge, expires: now + LIFETIME });
    }

    /// Takes away one reservation for the object.
    pub fn settle(&mut self, target: &Target, uid: &str) {
        let resource = target.group_resource();
        let mine = |r: &Reservation| r.charge.uid == uid && r.namespace == target.namespace && r.resource == resource;
        if let Some(i) = self.reservations.iter().position(mine) {
            self.reservations.swap_remove(i);
        }
    }

    /// The charges of stored objects; each is read once.
    pub fn stored(&mut self, resource: &GroupResource, namespace: &str, objects: Vec<Bytes>) -> Vec<Arc<Charge>> {
        let key = (resource.clone(), namespace.to_owned());
        let mut before = self.known.remove(&key).unwrap_or_default();
        let mut now = Known::with_capacity(objects.len());
        let mut charges = Vec::with_capacity(objects.len());
        for bytes in objects {
            let at = bytes.as_ptr() as usize;
            let same = before.remove(&at).filter(|(b, _)| b.len() == bytes.len()).map(|(_, c)| c);
            let charge = same.unwrap_or_else(|| Arc::new(skiff_json::from_slice(&bytes).map(|v| Charge::of(resource, &v)).unwrap_or_default()));
            charges.push(charge.clone());
            now.insert(at, (bytes, charge));
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        if !now.is_empty() {
            self.known.insert(key, now);
        }
        charges
    }

    /// What the quota's objects use, by the names of its bounds.
    pub fn used(&self, bounds: &Bounds, target: &Target, stored: &[Arc<Charge>], now: i64) -> Resources {
        let resource = target.group_resource();
        let under_way: Vec<&Reservation> = self
            .reservations
            .iter()
            .filter(|r| r.expires > now && r.namespace == target.namespace && r.resource == resource && bounds.covers(&r.charge))
            .collect();
        let busy: HashSet<&str> = under_way.iter().map(|r| r.charge.uid.as_str()).collect();
        let mut total: Resources = bounds.hard.keys().map(|k| (k.clone(), Default::default())).collect();
        let mut highest: HashMap<&str, Resources> = HashMap::new();
        for charge in stored.iter().filter(|c| bounds.covers(c)) {
            if busy.contains(charge.uid.as_str()) {
                raise(highest.entry(&charge.uid).or_default(), charge.usage(now));
            } else {
                add(&mut total, charge.usage(now));
            }
        }
        for r in under_way {
            raise(highest.entry(&r.charge.uid).or_default(), r.charge.usage(now));
        }
        for usage in highest.values() {
            add(&mut total, usage);
        }
        total
    }
}

/// Adds what has a bound.
fn add(total: &mut Resources, usage: &Resources) {
    for (k, sum) in total.iter_mut() {
        if let Some(q) = usage.get(k) {
            *sum = *sum + *q;
        }
    }
}
fn raise(into: &mut Resources, to: &Resources) {
    for (k, q) in to {
        let higher = into.get(k).map_or(*q, |x| (*x).max(*q));
        into.insert(k.clone(), higher);
    }
}
