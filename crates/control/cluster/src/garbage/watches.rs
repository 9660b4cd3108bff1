//! One informer a resource, with the rows' owners indexed.
use parking_lot::Mutex;
use serde::Deserialize;
use skiff_client::Target;
use skiff_controller::Queue;
use skiff_informer::{Change, Informer, Informers, Row, Selection};
use skiff_meta::{GroupVersionResource, Uid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `group/version/resource`, the first part of a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub String);

pub(crate) struct Dependent {
    pub target: Target,
    /// It has `blockOwnerDeletion` set for the owner.
    pub blocks: bool,
    /// It is being deleted itself.
    pub deleting: bool,
}

struct Followed {
    resource: GroupVersionResource,
    namespaced: bool,
    informer: Arc<Informer>,
}

pub(crate) struct Watches {
    informers: Informers,
    queue: Queue,
    followed: Mutex<BTreeMap<Id, Followed>>,
    /// (apiVersion, kind) → id, learnt from objects that were seen.
    kinds: Arc<Mutex<BTreeMap<(String, String), Id>>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct TypeMeta {
    api_version: String,
    kind: String,
}

impl Watches {
    pub fn new(informers: Informers, queue: Queue) -> Self {
        Self { informers, queue, followed: Mutex::default(), kinds: Arc::default() }
    }
    /// Starts informers of resources that are new.
    pub fn follow(self: &Arc<Self>, resources: &[(GroupVersionResource, bool)]) {
        for (resource, namespaced) in resources.iter().filter(|(r, _)| r.resource != "events") {
            let id = Id::from(resource);
            if self.followed.lock().contains_key(&id) {
                continue;
            }
            let informer = self.informers.raw(Selection::of(resource.clone()));
            informer.index("uid", |r: &Row| vec![r.uid.to_string()]);
            let followed = Followed { resource: resource.clone(), namespaced: *namespaced, informer: informer.clone() };
            self.followed.lock().insert(id.clone(), followed);
            let this = Arc::downgrade(self);
            informer.subscribe(move |c| {
                if let Some(w) = this.upgrade() {
                    w.changed(&id, c);
                }
            });
        }
    }
    fn changed(&self, id: &Id, c: &Change) {
        let row = c.row();
        // Its own bytes begin with it.
        let kind = match skiff_meta::type_of(&row.bytes) {
            Some((api_version, kind)) => Some((api_version.to_owned(), kind.to_owned())),
            None => skiff_json::from_slice::<TypeMeta>(&row.bytes).ok().map(|t| (t.api_version, t.kind)),
        };
        if let Some(kind) = kind {
            self.kinds.lock().entry(kind).or_insert_with(|| id.clone());
        }
        if let Some(new) = &c.new {
            let ends = new.deleting && c.old.as_ref().is_none_or(|o| !o.deleting || o.revision != new.revision);
            if !new.owners.is_empty() && c.old.as_ref().is_none_or(|o| o.owners != new.owners) || ends {
                self.queue.add(format!("{}|{}", id.0, new.key));
            }
        }
        // An owner that goes, or begins to wait for its dependents, wakes them; a dependent that goes wakes its owners.
        if c.new.as_ref().is_none_or(|n| n.deleting) {
            self.dependents(row.uid.as_str()).iter().for_each(|d| self.wake(&d.target));
        }
        if c.new.is_none() {
            row.owners.iter().for_each(|o| self.wake_uid(&o.uid));
        }
    }
    pub fn wake(&self, t: &Target) {
        let key = skiff_informer::key_of(&t.namespace, &t.name);
        self.queue.add(format!("{}|{key}", Id::from(&t.resource).0));
    }
    fn wake_uid(&self, uid: &Uid) {
        let followed = self.followed.lock();
        for (id, f) in followed.iter() {
            f.informer.indexed("uid", uid.as_str()).iter().for_each(|r| self.queue.add(format!("{}|{}", id.0, r.key)));
        }
    }
    pub fn parse(&self, key: &str) -> Option<(GroupVersionResource, String, String)> {
        let (id, object) = key.split_once('|')?;
        let resource = self.followed.lock().get(&Id(id.to_owned()))?.resource.clone();
        let (namespace, name) = skiff_informer::split_key(object);
        Some((resource, namespace.to_owned(), name.to_owned()))
    }
    /// Every object that names the uid as an owner.
    pub fn dependents(&self, uid: &str) -> Vec<Dependent> {
        if uid.is_empty() {
            return Vec::new();
        }
        let uid = Uid::from(uid);
        let followed = self.followed.lock();
        let of = |f: &Followed| -> Vec<Dependent> {
            let one =
                |r: &Arc<Row>| Dependent { target: Target::new(f.resource.clone(), r.namespace(), r.name()), blocks: blocks(r, &uid), deleting: r.deleting };
            f.informer.owned_by(&uid).iter().map(one).collect()
        };
        followed.values().flat_map(of).collect()
    }
    /// The resource of a kind: learnt from objects, or guessed by the plural's usual forms.
    pub fn resource_of(&self, api_version: &str, kind: &str) -> Option<(GroupVersionResource, bool)> {
        let known = self.kinds.lock().get(&(api_version.to_owned(), kind.to_owned())).cloned();
        let followed = self.followed.lock();
        if let Some(f) = known.and_then(|id| followed.get(&id)) {
            return Some((f.resource.clone(), f.namespaced));
        }
        let gv = skiff_meta::GroupVersion::parse(api_version)?;
        let lower = kind.to_lowercase();
        let fits = |r: &GroupVersionResource| {
            r.group == gv.group
                && (r.resource == format!("{lower}s")
                    || r.resource == format!("{lower}es")
                    || lower.strip_suffix('y').is_some_and(|s| r.resource == format!("{s}ies")))
        };
        followed.values().find(|f| fits(&f.resource)).map(|f| (f.resource.clone(), f.namespaced))
    }
}

fn blocks(row: &Row, owner: &Uid) -> bool {
    skiff_meta::Head::of(&row.bytes).is_ok_and(|h| h.owner_references.iter().any(|o| o.uid == owner.as_str() && o.block_owner_deletion == Some(true)))
}
