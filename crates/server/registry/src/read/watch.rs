//! Watches: the present state first where it is asked for, then every change behind it.
//!
//! Selectors turn updates into ADDED (entering) and DELETED (leaving). Each watcher has its own cursor in the store;
//! a slow one ends with 410 and hinders nobody. The stream ends after an ERROR event and at the time-out.
use super::{list::collect, options::ListOptions, view_of, views};
use crate::{
    registry::{Context, Registry},
    selection::Selection,
    table::Resource,
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use serde_json::json;
use skiff_meta::{GroupVersionKind, Revision, Status};
use skiff_request::{Answer, Frames, WatchEvent, WatchKind};
use skiff_store::{Event, EventKind, StoreError, Watch};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often an idle watch that allows bookmarks gets one, when the revision moved.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before the time-out the last bookmark comes.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Without `timeoutSeconds`, a watch ends between this and twice this.
const DEFAULT_SECONDS: u64 = 1800;

pub(crate) async fn watch(registry: &Registry, ctx: &Context<'_>) -> Result<Answer, Status> {
    let options = ListOptions::parse(&ctx.call.query, true)?;
    let selection = Selection::of(ctx)?;
    let begin = begin(registry, ctx, &options, &selection).await?;
    let prefix = match selection.fields.required("metadata.name").filter(|_| !ctx.row.namespaced || !ctx.namespace().is_empty()) {
        Some(name) => ctx.row.key(ctx.namespace(), name),
        None => ctx.row.prefix(ctx.namespace()),
    };
    let kind = ctx.row.gvk(ctx.version());
    let changes = match registry.store.watch(&prefix, begin.after) {
        Ok(w) => w,
        Err(e) => return Ok(Answer::Watch { kind, events: stream::iter([failure(e, begin.after)]).boxed() }),
    };
    let seconds = options.timeout_seconds.unwrap_or_else(|| DEFAULT_SECONDS + u64::from((registry.options.random)()) % DEFAULT_SECONDS);
    let state = Watcher {
        row: ctx.row.clone(),
        version: ctx.version().to_owned(),
        kind: kind.clone(),
        selection,
        changes,
        reached: begin.after,
        told: begin.after,
        store: registry.store.clone(),
        retired: ctx.row.custom.as_ref().map(|c| c.retired.clone()),
        bookmarks: options.bookmarks,
        last_bookmark: false,
        next_bookmark: Instant::now() + BOOKMARK_EVERY,
        last_call: Instant::now() + Duration::from_secs(seconds).saturating_sub(LAST_BOOKMARK),
        deadline: Instant::now() + Duration::from_secs(seconds),
        over: false,
    };
    let rest = stream::unfold(state, |mut w| async move { w.next().await.map(|e| (e, w)) });
    Ok(Answer::Watch { kind, events: stream::iter(begin.events).chain(rest).boxed() })
}

struct Begin {
    events: Vec<WatchEvent>,
    after: Revision,
}

/// The events of the present state, and the revision behind which changes follow.
async fn begin(registry: &Registry, ctx: &Context<'_>, options: &ListOptions, selection: &Selection) -> Result<Begin, Status> {
    let asked = options.revision.filter(|r| *r != Revision::ZERO);
    let initial = match (options.send_initial_events, asked) {
        (Some(send), _) => send,
        (None, asked) => asked.is_none(),
    };
    if let Some(asked) = asked {
        registry.await_revision(ctx.row, asked).await?;
    }
    if !initial {
        return Ok(Begin { events: Vec::new(), after: asked.unwrap_or_else(|| registry.store.revision()) });
    }
    let all = ListOptions::default();
    let state = collect(registry, ctx, &all, selection).await?;
    let mut events = Vec::with_capacity(state.entries.len() + 1);
    for (e, object) in state.entries.iter().zip(views(ctx.row, ctx.version(), &state.entries).await?) {
        events.push(WatchEvent { kind: WatchKind::Added, object, revision: e.revision, shared: None });
    }
    // A watch without a revision that allows bookmarks learns where the state ends, too.
    if options.bookmarks && (options.send_initial_events == Some(true) || options.revision.is_none()) {
        events.push(bookmark(ctx.row, &ctx.row.gvk(ctx.version()), state.revision, true));
    }
    Ok(Begin { events, after: state.revision })
}

/// An object of the kind that has nothing but the revision.
fn bookmark(row: &Resource, kind: &GroupVersionKind, revision: Revision, initial_end: bool) -> WatchEvent {
    let mut meta = json!({"resourceVersion": revision.to_string()});
    if initial_end {
        meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let mut object = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": meta});
    for (key, value) in row.shape.empty(kind).as_object().into_iter().flatten().filter(|(k, _)| *k != "metadata") {
        object[key] = value.clone();
    }
    for path in row.strategy.inner_zeros {
        crate::value::set(&mut object, path, 0);
    }
    if let Some(read) = row.strategy.read {
        read(&mut object);
    }
    WatchEvent { kind: WatchKind::Bookmark, object: object.to_string().into(), revision, shared: None }
}

fn error(status: &Status, revision: Revision) -> WatchEvent {
    WatchEvent { kind: WatchKind::Error, object: status.to_json().into(), revision, shared: None }
}

fn failure(e: StoreError, reached: Revision) -> WatchEvent {
    let status = match e {
        StoreError::Compacted { asked, oldest } => Status::expired(format!("too old resource version: {asked} ({oldest})")),
        StoreError::Slow { .. } => Status::expired(format!("too old resource version: {reached}")),
        StoreError::Future { asked, current } => Status::revision_too_large(asked.0, current.0),
        e => crate::write::store_failure(e),
    };
    error(&status, reached)
}

struct Watcher {
    row: Arc<Resource>,
    version: String,
    kind: GroupVersionKind,
    selection: Selection,
    changes: Watch,
    /// The revision of the last change seen, selected or not.
    reached: Revision,
    /// The revision that the client knows.
    told: Revision,
    store: Arc<dyn skiff_store::Store>,
    /// Of a custom resource: turns true when its definition changed.
    retired: Option<tokio::sync::watch::Receiver<bool>>,
    bookmarks: bool,
    last_bookmark: bool,
    next_bookmark: Instant,
    /// When the last bookmark is due.
    last_call: Instant,
    deadline: Instant,
    over: bool,
}

impl Watcher {
    async fn next(&mut self) -> Option<WatchEvent> {
        while !self.over {
            let wake = if self.bookmarks && !self.last_bookmark { self.next_bookmark.min(self.last_call) } else { self.deadline };
            tokio::select! {
                biased;
                change = self.changes.next() => {
                    if let Some(e) = self.change(change).await {
                        return Some(e);
                    }
                }
                () = retired(&mut self.retired) => self.over = true,
                () = tokio::time::sleep_until(wake) => {
                    if let Some(e) = self.tick().await {
                        return Some(e);
                    }
                }
            }
        }
        None
    }

    async fn change(&mut self, change: Option<Result<Arc<Event>, StoreError>>) -> Option<WatchEvent> {
        match change {
            None | Some(Err(StoreError::Closed)) => {
                self.over = true;
                None
            }
            Some(Err(e)) => {
                self.over = true;
                Some(failure(e, self.reached))
            }
            Some(Ok(event)) => {
                self.reached = event.revision();
                let revision = event.revision();
                let shown = match show(&self.selection, &self.row, &self.version, &event).await {
                    Ok(shown) => shown?,
                    Err(s) => return Some(error(&s, revision)),
                };
                self.told = revision;
                let object = match view_of(&self.row, &self.version, &shown.bytes, revision, shown.written).await {
                    Ok(o) => o,
                    Err(s) => return Some(error(&s, revision)),
                };
                let shared = shown.shared.then(|| Arc::new(Shared(event)) as Arc<dyn Frames>);
                Some(WatchEvent { kind: shown.kind, object, revision, shared })
            }
        }
    }

    /// What time brings: a bookmark, or the end.
    async fn tick(&mut self) -> Option<WatchEvent> {
        let now = Instant::now();
        if now >= self.deadline {
            self.over = true;
            return None;
        }
        self.last_bookmark = now >= self.last_call;
        self.next_bookmark = now + BOOKMARK_EVERY;
        // The revision is read first: if no change waits after that, everything up to it was seen.
        let current = self.store.revision();
        if let Some(change) = self.changes.next().now_or_never() {
            return self.change(change).await;
        }
        let reached = self.reached.max(current);
        if reached <= self.told {
            return None;
        }
        self.reached = reached;
        self.told = reached;
        Some(bookmark(&self.row, &self.kind, reached, false))
    }
}

/// What the watch shows of a change, as the store has it.
async fn show(selection: &Selection, row: &Resource, version: &str, event: &Arc<Event>) -> Result<Option<Shown>, Status> {
    let now = event.kind != EventKind::Deleted && selection.matches(&event.entry).await?;
    let before = match &event.previous {
        Some(p) => selection.matches(p).await?,
        None => event.kind == EventKind::Deleted && selection.matches(&event.entry).await?,
    };
    let revision = event.revision();
    let deleted = event.kind == EventKind::Deleted;
    let (kind, shared) = match (before, now) {
        (false, false) => return Ok(None),
        (true, true) => (WatchKind::Modified, true),
        (false, true) => (WatchKind::Added, event.kind == EventKind::Created),
        (true, false) if deleted => (WatchKind::Deleted, true),
        // An update took the object out of the selection: its last selected state, with the revision of the change.
        (true, false) => {
            let Some(previous) = &event.previous else { return Ok(None) };
            return Ok(Some(Shown { kind: WatchKind::Deleted, bytes: previous.restamped(revision), written: previous.revision, shared: false }));
        }
    };
    let written = event.previous.as_ref().filter(|_| deleted).map_or(revision, |p| p.revision);
    let shared = shared && !row.converts(version) && !row.rereads(written);
    Ok(Some(Shown { kind, bytes: event.entry.bytes.clone(), written, shared }))
}

/// An event before its object is brought into the watch's version.
struct Shown {
    kind: WatchKind,
    bytes: Bytes,
    /// The revision that wrote the object.
    written: Revision,
    /// Whether its frames are those of every other watch.
    shared: bool,
}

/// Ends when the row has been replaced; never, when it cannot be.
async fn retired(row: &mut Option<tokio::sync::watch::Receiver<bool>>) {
    let gone = match row {
        Some(row) => row.wait_for(|r| *r).await.is_ok(),
        None => false,
    };
    if !gone {
        std::future::pending().await
    }
}

/// An event's frames are kept beside it in the store's ring.
struct Shared(Arc<Event>);

impl Frames for Shared {
    fn frame(&self, form: usize, make: &dyn Fn() -> Bytes) -> Bytes {
        self.0.frame(form, make)
    }
}
