//! Follows the stored definitions and keeps the table's rows and the definitions' statuses in step with them.
//!
//! ```text
//!   created ── names decided ──▶ row served ──▶ status: NamesAccepted, Established
//!      │ conflict                    │ deleted
//!      ▼                             ▼
//!   NamesAccepted=False      Terminating: objects deleted, finalizer taken ──▶ gone, row removed
//! ```
//!
//! An event only says which definition to look at. A row is in the table before the status says Established, so that who
//! waits for the condition finds the resource.
use crate::{
    cleanup,
    conversion::Webhook,
    definition::{self, Claimed, Decided, Definition, Names, PREFIX},
    group_versions, rows,
};
use futures::StreamExt;
use parking_lot::Mutex;
use skiff_json::Value;
use skiff_meta::{
    GroupVersionResource, Reason, Revision, Status,
    value::{at, set},
};
use skiff_registry::{Registry, strategy::definition::set_condition, table::Converter};
use skiff_request::{Call, Service, Target, User, Verb};
use skiff_store::{Entry, ListQuery, Watch};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a failed step rests.
const RETRY: Duration = Duration::from_secs(1);

/// What is known of a definition beside its bytes.
struct Known {
    group: String,
    /// Served versions.
    versions: Vec<String>,
    accepted: Names,
    /// All names are its own.
    settled: bool,
    row: Option<Served>,
    cleaning: bool,
}

/// The row in the table, and what it was made of.
struct Served {
    uid: String,
    generation: i64,
    names: Names,
    ending: bool,
    since: Revision,
    retire: watch::Sender<bool>,
}

pub struct Definitions {
    registry: Arc<Registry>,
    user: Arc<User>,
    webhooks: Arc<skiff_webhook::Client>,
    known: Mutex<BTreeMap<String, Known>>,
    after: Mutex<Revision>,
    /// Told when a definition came, changed or went.
    changed: Notify,
}

impl Definitions {
    /// Serves what is stored already; changes are followed by [`Definitions::run`].
    pub fn load(registry: Arc<Registry>, webhooks: Arc<skiff_webhook::Client>) -> Arc<Self> {
        definition::install(registry.table());
        let user = Arc::new(User::new("system:apiserver", [User::MASTERS, User::AUTHENTICATED]));
        let me = Arc::new(Self { registry, user, webhooks, known: Mutex::default(), after: Mutex::new(Revision::ZERO), changed: Notify::new() });
        let page = me.registry.store().list(&ListQuery { prefix: PREFIX.into(), ..Default::default() });
        *me.after.lock() = page.revision;
        for e in &page.entries {
            if let Ok(v) = skiff_json::from_slice::<Value>(&e.bytes) {
                me.place(e, &v, &Definition::read(&v));
            }
        }
        me
    }

    /// Follows changes until `stop`.
    pub async fn run(self: Arc<Self>, tasks: TaskTracker, stop: CancellationToken) {
        let (me, until) = (self.clone(), stop.clone());
        tasks.spawn(async move { group_versions::run(&me, &until).await });
        loop {
            let after = *self.after.lock();
            let ended = match self.registry.store().watch(PREFIX, after) {
                Ok(changes) => self.follow(changes, &tasks, &stop).await,
                Err(error) => {
                    tracing::warn!(target: "crd", %error, "cannot watch definitions");
                    true
                }
            };
            if !ended || stop.is_cancelled() {
                return;
            }
            // Changes may have been missed: what is there is looked at again, and what is gone, too.
            *self.after.lock() = self.registry.store().revision();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// True when the watch broke.
    async fn follow(self: &Arc<Self>, mut changes: Watch, tasks: &TaskTracker, stop: &CancellationToken) -> bool {
        let mut names: Vec<String> = self.known.lock().keys().cloned().collect();
        let page = self.registry.store().list(&ListQuery { prefix: PREFIX.into(), ..Default::default() });
        names.extend(page.entries.iter().map(|e| e.name().to_owned()));
        names.dedup();
        for name in names {
            self.sync(&name, tasks, stop).await;
        }
        loop {
            let change = tokio::select! {
                () = stop.cancelled() => return false,
                change = changes.next() => change,
            };
            match change {
                Some(Ok(event)) => {
                    *self.after.lock() = event.revision();
                    self.sync(event.entry.name(), tasks, stop).await;
                }
                Some(Err(error)) => {
                    tracing::warn!(target: "crd", %error, "the watch of definitions broke");
                    return true;
                }
                None => return true,
            }
        }
    }

    /// Brings everything in step with one definition as it is now, and those whose names it frees.
    async fn sync(self: &Arc<Self>, name: &str, tasks: &TaskTracker, stop: &CancellationToken) {
        let mut waiting = vec![name.to_owned()];
        while let Some(name) = waiting.pop() {
            let freed = match self.registry.store().get(&format!("{PREFIX}/{name}")) {
                None => self.forget(&name),
                Some(entry) => self.keep(&name, &entry, tasks, stop).await,
            };
            self.changed.notify_one();
            if let Some(group) = freed {
                let known = self.known.lock();
                waiting.extend(known.iter().filter(|(n, k)| **n != name && k.group == group && !k.settled).map(|(n, _)| n.clone()));
            }
        }
    }

    fn forget(&self, name: &str) -> Option<String> {
        let known = self.known.lock().remove(name)?;
        self.withdraw(&known);
        Some(known.group)
    }

    fn withdraw(&self, known: &Known) {
        if let Some(row) = &known.row {
            self.registry.table().change(Vec::new(), &[(known.group.clone(), row.names.plural.clone())]);
            let _ = row.retire.send(true);
        }
    }

    /// The group, when the definition's accepted names changed.
    async fn keep(self: &Arc<Self>, name: &str, entry: &Entry, tasks: &TaskTracker, stop: &CancellationToken) -> Option<String> {
        let v: Value = match skiff_json::from_slice(&entry.bytes) {
            Ok(v) => v,
            Err(error) => {
                tracing::error!(target: "crd", %error, name, "a stored definition cannot be read");
                return None;
            }
        };
        let d = Definition::read(&v);
        let before = self.known.lock().get(name).map(|k| k.accepted.clone());
        let decided = self.place(entry, &v, &d);
        if let Err(s) = self.report(&v, &d, &decided).await {
            tracing::warn!(target: "crd", name, error = %s.message, "cannot write the status of a definition");
        }
        if d.deleting && d.cleanup && self.begins_cleaning(name) {
            let (me, name, stop) = (self.clone(), name.to_owned(), stop.clone());
            tasks.spawn(async move {
                cleanup::run(&me, &name, &stop).await;
                if let Some(k) = me.known.lock().get_mut(&name) {
                    k.cleaning = false;
                }
            });
        }
        before.is_some_and(|b| b != decided.accepted).then_some(d.group)
    }

    fn begins_cleaning(&self, name: &str) -> bool {
        let mut known = self.known.lock();
        known.get_mut(name).is_some_and(|k| !std::mem::replace(&mut k.cleaning, true))
    }

    /// Decides about names and puts the row into the table, or replaces it.
    fn place(&self, entry: &Entry, v: &Value, d: &Definition) -> Decided {
        let mut known = self.known.lock();
        let mut claimed = Claimed::default();
        known.iter().filter(|(n, k)| **n != d.name && k.group == d.group).for_each(|(_, k)| claimed.add(&k.accepted));
        let decided = definition::decide(d, &claimed);
        let old = known.remove(&d.name);
        let cleaning = old.as_ref().is_some_and(|k| k.cleaning);
        let serves = decided.conflict.is_none() || d.established;
        let mut named = d.clone();
        named.accepted = decided.accepted.clone();
        let row = if serves { self.serve(entry, v, &named, old.and_then(|k| k.row)) } else { None };
        let versions = d.versions.iter().filter(|v| v.served).map(|v| v.name.clone()).collect();
        known.insert(
            d.name.clone(),
            Known { group: d.group.clone(), versions, accepted: decided.accepted.clone(), settled: decided.conflict.is_none(), row, cleaning },
        );
        decided
    }

    fn serve(&self, entry: &Entry, v: &Value, d: &Definition, old: Option<Served>) -> Option<Served> {
        let ending = d.terminating || d.deleting;
        let same = old.as_ref().is_some_and(|o| o.uid == d.uid && o.generation == d.generation && o.names == d.accepted);
        if same && old.as_ref().is_some_and(|o| o.ending == ending) {
            return old;
        }
        let table = self.registry.table();
        if table.get(&d.group, &d.accepted.plural).is_some_and(|r| r.custom.is_none()) {
            tracing::warn!(target: "crd", name = d.name, "a definition names a built-in resource: it is not served");
            return None;
        }
        // Who watches the old row comes back to the new one; the end of a definition changes nothing for watchers.
        let (since, retire) = match old {
            Some(o) if same => (o.since, o.retire),
            Some(o) => {
                let _ = o.retire.send(true);
                (self.registry.store().revision(), watch::channel(false).0)
            }
            None => (self.registry.store().revision(), watch::channel(false).0),
        };
        let facts = rows::Facts { bytes: entry.bytes.clone(), since, retired: retire.subscribe(), converter: d.webhook.then(|| self.converter(v)) };
        match rows::of(d, facts) {
            Some(row) => table.change(vec![row], &[]),
            None => table.change(Vec::new(), &[(d.group.clone(), d.accepted.plural.clone())]),
        }
        tracing::debug!(target: "crd", name = d.name, "row placed");
        Some(Served { uid: d.uid.clone(), generation: d.generation, names: d.accepted.clone(), ending, since, retire })
    }

    fn converter(&self, definition: &Value) -> Arc<dyn Converter> {
        Arc::new(Webhook::of(definition, self.webhooks.clone()))
    }

    /// Writes what was decided into the definition's status, if it is news.
    async fn report(&self, v: &Value, d: &Definition, decided: &Decided) -> Result<(), Status> {
        let now = self.registry.now().to_string();
        let mut new = v.clone();
        set(&mut new, "status.acceptedNames", decided.accepted.write());
        match &decided.conflict {
            None => set_condition(&mut new, "NamesAccepted", true, "NoConflicts", "no conflicts found", &now),
            Some((reason, why)) => set_condition(&mut new, "NamesAccepted", false, reason, why, &now),
        }
        if !d.established {
            match decided.conflict {
                None => set_condition(&mut new, "Established", true, "InitialNamesAccepted", "the initial names have been accepted", &now),
                Some(_) => set_condition(&mut new, "Established", false, "NotAccepted", "not all names are accepted", &now),
            }
        }
        if at(&new, "status.conditions") == at(v, "status.conditions") && d.accepted == decided.accepted {
            return Ok(());
        }
        self.write_status(&new).await
    }

    /// Writes a definition through its status subresource; a conflict is no error, its event follows.
    pub(crate) async fn write_status(&self, v: &Value) -> Result<(), Status> {
        let name = v["metadata"]["name"].as_str().unwrap_or_default();
        let target = Target::new(GroupVersionResource { group: definition::GROUP.into(), version: "v1".into(), resource: definition::PLURAL.into() }, "", name)
            .sub("status");
        match self.call(Call::new(Verb::Update, target).body(v.to_string())).await {
            Err(s) if s.is(Reason::Conflict) || s.is(Reason::NotFound) => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    pub(crate) async fn call(&self, mut call: Call) -> Result<skiff_request::Answer, Status> {
        call.user_agent = "kube-apiserver".into();
        self.registry.serve(self.user.clone(), call).await
    }

    /// The group versions that definitions serve.
    pub(crate) fn group_versions(&self) -> BTreeSet<group_versions::Place> {
        self.known.lock().values().flat_map(|k| k.versions.iter().map(|v| (k.group.clone(), v.clone()))).collect()
    }

    /// Ends when they may have changed.
    pub(crate) async fn group_versions_changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}
