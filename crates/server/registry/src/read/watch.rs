//! Watches: the present state first where it is asked for, then every change behind it.
//!
//! Selectors turn updates into ADDED (entering) and DELETED (leaving). Each watcher has its own cursor in the store;
//! a slow one ends with 410 and hinders nobody. The stream ends after an ERROR event and at the time-out.
//!
//! While a webhook that converts custom objects fails, a watch is silent: as upstream's, it stays open, and what could not be
//! converted is tried again, in order, so that no client misses a change or takes a bookmark for more than it got. One that
//! has to show the present state is told after a while that it is not to be had.
use super::{FRESH, list::collect, options::ListOptions, unreadable, view_of, views};
use crate::{
    registry::{Context, Registry},
    selection::Selection,
    table::Resource,
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use skiff_json::json;
use skiff_meta::{GroupVersionKind, Revision, Status};
use skiff_request::{Answer, Frames, WatchEvent, WatchKind};
use skiff_store::{Entry, Event, EventKind, StoreError, Watch};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often an idle watch that allows bookmarks gets one, when the revision moved.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before the time-out the last bookmark comes.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// How often what could not be converted is tried again.
const AGAIN: Duration = Duration::from_secs(2);
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
    let begin = match begin {
        Begin::At(begin) => begin,
        Begin::Never(event) => return Ok(Answer::Watch { kind, events: stream::iter([event]).boxed() }),
    };
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
        ready: begin.events.into(),
        waiting: begin.waiting,
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
    Ok(Answer::Watch { kind, events: rest.boxed() })
}

enum Begin {
    At(Beginning),
    /// The present state is not to be had: all that is told.
    Never(WatchEvent),
}

struct Beginning {
    events: Vec<WatchEvent>,
    /// The present state, if it could not be converted yet.
    waiting: Option<Waiting>,
    after: Revision,
}

/// What could not be converted, and is tried again.
enum Waiting {
    /// The present state, and whether its end is told.
    State {
        entries: Vec<Entry>,
        end: Option<Revision>,
    },
    Change(Arc<Event>),
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
        return Ok(Begin::At(Beginning { events: Vec::new(), waiting: None, after: asked.unwrap_or_else(|| registry.store.revision()) }));
    }
    let all = ListOptions::default();
    let state = collect(registry, ctx, &all, selection).await?;
    // A watch without a revision that allows bookmarks learns where the state ends, too.
    let end = (options.bookmarks && (options.send_initial_events == Some(true) || options.revision.is_none())).then_some(state.revision);
    let after = state.revision;
    let events = match initial_events(ctx.row, ctx.version(), &state.entries, end).await {
        Ok(events) => events,
        Err(failed) if !unreadable::converts(ctx.row) => return Err(failed),
        // Who takes any state waits for it.
        Err(_) if options.revision == Some(Revision::ZERO) => {
            return Ok(Begin::At(Beginning { events: Vec::new(), waiting: Some(Waiting::State { entries: state.entries, end }), after }));
        }
        // Others want the latest, and are told that it does not come.
        Err(_) => {
            tokio::time::sleep(FRESH).await;
            match initial_events(ctx.row, ctx.version(), &state.entries, end).await {
                Ok(events) => events,
                Err(_) => {
                    let readable = state.entries.iter().map(|e| e.revision.0).min().unwrap_or_default().saturating_sub(1);
                    let status = Status::revision_too_large(after.0, readable);
                    return Ok(Begin::Never(error(&status, after)));
                }
            }
        }
    };
    Ok(Begin::At(Beginning { events, waiting: None, after }))
}

/// The present state, and where it ends.
async fn initial_events(row: &Resource, version: &str, entries: &[Entry], end: Option<Revision>) -> Result<Vec<WatchEvent>, Status> {
    let mut events = Vec::with_capacity(entries.len() + 1);
    for (e, object) in entries.iter().zip(views(row, version, entries).await?) {
        events.push(WatchEvent { kind: WatchKind::Added, object, revision: e.revision, shared: None });
    }
    events.extend(end.map(|revision| bookmark(row, &row.gvk(version), revision, true)));
    Ok(events)
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
    if !row.strategy.inner_zeros.is_empty() {
        row.shape.canonical(kind, &mut object);
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
    /// Events that come before any change.
    ready: VecDeque<WatchEvent>,
    /// Changes stand behind it.
    waiting: Option<Waiting>,
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
            if let Some(e) = self.ready.pop_front() {
                return Some(e);
            }
            if let Some(waiting) = self.waiting.take() {
                if let Some(e) = self.again(waiting).await {
                    return Some(e);
                }
                continue;
            }
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
                self.told_of(event).await
            }
        }
    }

    /// What is told of a change; nothing if it is not selected, or waits for who converts.
    async fn told_of(&mut self, event: Arc<Event>) -> Option<WatchEvent> {
        match brought(&self.selection, &self.row, &self.version, &event).await {
            Ok(shown) => {
                self.told = shown.as_ref()?.revision;
                shown
            }
            Err(_) if unreadable::converts(&self.row) => {
                self.waiting = Some(Waiting::Change(event));
                None
            }
            Err(s) => Some(error(&s, event.revision())),
        }
    }

    /// Tries again after a while what could not be converted, unless the watch ends before.
    async fn again(&mut self, waiting: Waiting) -> Option<WatchEvent> {
        tokio::select! {
            biased;
            () = retired(&mut self.retired) => self.over = true,
            () = tokio::time::sleep_until(self.deadline.min(Instant::now() + AGAIN)) => self.over = Instant::now() >= self.deadline,
        }
        if self.over {
            return None;
        }
        match waiting {
            Waiting::Change(event) => self.told_of(event).await,
            Waiting::State { entries, end } => {
                match initial_events(&self.row, &self.version, &entries, end).await {
                    Ok(events) => self.ready.extend(events),
                    Err(_) => self.waiting = Some(Waiting::State { entries, end }),
                }
                None
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

/// A change in the watch's version; nothing if it is not selected.
async fn brought(selection: &Selection, row: &Resource, version: &str, event: &Arc<Event>) -> Result<Option<WatchEvent>, Status> {
    let revision = event.revision();
    let Some(shown) = show(selection, row, version, event).await? else { return Ok(None) };
    let object = view_of(row, version, &shown.bytes, revision, shown.written).await?;
    let shared = shown.shared.then(|| Arc::new(Shared(event.clone())) as Arc<dyn Frames>);
    Ok(Some(WatchEvent { kind: shown.kind, object, revision, shared }))
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
