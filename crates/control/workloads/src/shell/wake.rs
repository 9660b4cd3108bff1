//! Which keys a change wakes.
use crate::{pod::Pod, view::Selector};
use serde::Deserialize;
use skiff_controller::Queue;
use skiff_informer::{Change, ChangeKind, Informer, Row};
use skiff_meta::{LabelSelector, Uid};
use std::{sync::Arc, time::Duration};

const BY_UID: &str = "uid";
/// How long a changed pod waits for others to change too.
const TOGETHER: Duration = Duration::from_millis(10);

/// The row of the owner with this uid.
pub(crate) fn by_uid(owners: &Informer, uid: &Uid) -> Option<Arc<Row>> {
    owners.indexed(BY_UID, uid.as_str()).into_iter().next()
}

/// Makes [`by_uid`] answer for these.
pub(crate) fn index_uids(owners: &Informer) {
    owners.index(BY_UID, |r| vec![r.uid.to_string()]);
}

/// Every change of an object wakes its own key.
pub(crate) fn wake_self(objects: &Informer, queue: &Queue) {
    let queue = queue.clone();
    objects.subscribe(move |c| queue.add(c.key()));
}

/// A change of an object wakes the `owners` that control it, before and after; an orphan wakes those that select it.
pub(crate) fn wake_owner(objects: &Informer, owners: &Arc<Informer>, queue: &Queue) {
    wake_owner_when(objects, owners, queue, Duration::ZERO, |_, _| true);
}

/// Of pods that only count: changes that no count depends on wake nobody, and those that come together wake once.
pub(crate) fn wake_counter(pods: &Informer, owners: &Arc<Informer>, queue: &Queue) {
    let facts = |r: &Row| {
        let p = Pod::of(r).ok()?;
        let ready = p.ready_condition().map(|c| (c.status.clone(), c.last_transition_time));
        Some((p.status.phase, ready, p.spec.node_name, p.metadata.finalizers))
    };
    let counts = move |old: &Row, new: &Row| old.labels != new.labels || old.owners != new.owners || old.deleting != new.deleting || facts(old) != facts(new);
    wake_owner_when(pods, owners, queue, TOGETHER, counts);
}

fn wake_owner_when(objects: &Informer, owners: &Arc<Informer>, queue: &Queue, delay: Duration, matters: impl Fn(&Row, &Row) -> bool + Send + 'static) {
    index_uids(owners);
    let (owners, queue) = (owners.clone(), queue.clone());
    objects.subscribe(move |c| {
        let (old, new) = (c.old.as_deref(), c.new.as_deref());
        let mut woken: Vec<&Uid> = [old, new].into_iter().flatten().filter_map(Row::controller).collect();
        woken.dedup();
        let woken: Vec<Arc<Row>> = woken.into_iter().filter_map(|uid| by_uid(&owners, uid)).collect();
        let orphan = orphan_changed(c);
        // Whether a change matters is asked last: it may take decoding.
        let nobody = woken.is_empty() && !orphan;
        if nobody || matches!((old, new), (Some(old), Some(new)) if old.uid == new.uid && !matters(old, new)) {
            return;
        }
        let delay = if c.kind == ChangeKind::Modified { delay } else { Duration::ZERO };
        woken.iter().for_each(|o| queue.add_after(o.key.clone(), delay));
        if orphan {
            selecting(&owners, c.row()).iter().for_each(|o| queue.add(o.key.clone()));
        }
    });
}

/// An orphan that is new, or that somebody might want now that it has changed.
fn orphan_changed(c: &Change) -> bool {
    let Some(new) = c.new.as_deref().filter(|r| r.controller().is_none() && !r.deleting) else { return false };
    c.old.as_deref().is_none_or(|old| old.labels != new.labels || old.owners != new.owners)
}

/// The owners in the object's namespace whose selector finds it.
fn selecting(owners: &Informer, object: &Row) -> Vec<Arc<Row>> {
    if object.labels.is_empty() {
        return Vec::new();
    }
    let mut found = owners.rows(object.namespace(), &LabelSelector::everything());
    found.retain(|o| {
        let selector = selector_of(o);
        !selector.is_everything() && object.selected_by(&selector)
    });
    found
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Selecting {
    spec: SelectingSpec,
}
#[derive(Deserialize, Default)]
#[serde(default)]
struct SelectingSpec {
    selector: Selector,
}

/// Of `spec.selector`, be it a label selector or, as in ReplicationControllers, a plain map.
fn selector_of(row: &Row) -> LabelSelector {
    let selector = skiff_json::from_slice::<Selecting>(&row.bytes).unwrap_or_default().spec.selector;
    crate::replicaset::either_selector(&selector)
}
