//! Keeps an informer's rows up to date.
//!
//! ```text
//!            ┌─ initial events ─┐ refused
//!   Start ───┤                  ├──────────► List ──► Watching ──► (ends) Watching from where it was
//!            └─ end bookmark ───┴► Watching              │
//!   Start ◄──────────────── 410, or an unreadable event ─┘      other errors: wait, then the same again
//! ```
use crate::{Informer, Row, Selection, backoff::Backoff};
use futures::StreamExt;
use skiff_client::{Answer, Call, Client, ListParams, Target, Verb, WatchEvent, WatchKind, WatchStream};
use skiff_meta::{Reason, Revision, Status};
use std::{sync::Arc, time::Duration};

/// A page of a list over the wire; in process a page is handles only.
const PAGE: u64 = 5_000;
/// A server that takes `sendInitialEvents` but does not know it never marks the end: after so long a silence the
/// state is listed instead.
const SILENCE: Duration = Duration::from_secs(10);

pub(crate) struct Feed {
    client: Client,
    selection: Selection,
    informer: Arc<Informer>,
    /// Set once the server has refused to send the initial state in a watch.
    list: bool,
}

enum End {
    /// The server closed the stream: go on from the last revision.
    Clean,
    /// What we know is too old: take the whole state again.
    Relist,
}

impl Feed {
    pub(crate) fn new(client: Client, selection: Selection, informer: Arc<Informer>) -> Self {
        Self { client, selection, informer, list: false }
    }
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            match self.start().await {
                Ok((revision, events)) => self.follow(revision, events, &mut backoff).await,
                Err(e) => self.complain("take the present state", &e),
            }
            tokio::time::sleep(backoff.wait(rand::random())).await;
        }
    }
    /// Watches from `revision` until the state must be taken anew.
    async fn follow(&self, mut revision: Revision, first: Option<WatchStream>, backoff: &mut Backoff) {
        let mut stream = first;
        loop {
            let events = match stream.take() {
                Some(events) => Ok(events),
                None => self.client.call(self.watch().query("resourceVersion", revision.to_string())).await.and_then(stream_of),
            };
            let end = match events {
                Ok(events) => self.drain(events, &mut revision, backoff).await,
                Err(e) => Err(e),
            };
            match end {
                Ok(End::Clean) => continue,
                Ok(End::Relist) => return,
                Err(e) if matches!(e.reason, Reason::Expired | Reason::Gone) || e.code == 410 => return,
                Err(e) => self.complain("watch", &e),
            }
            tokio::time::sleep(backoff.wait(rand::random())).await;
        }
    }
    async fn drain(&self, mut events: WatchStream, revision: &mut Revision, backoff: &mut Backoff) -> Result<End, Status> {
        let mut seen = 0_u64;
        while let Some(e) = events.next().await {
            seen += 1;
            backoff.reset();
            if e.kind == WatchKind::Error {
                return Err(Status::from_json(500, &e.object));
            }
            if let Err(e) = self.apply(&e) {
                self.complain("read an event", &e);
                return Ok(End::Relist);
            }
            *revision = (*revision).max(e.revision);
        }
        if seen == 0 {
            // A server that closes at once would otherwise be asked in a tight loop.
            tokio::time::sleep(backoff.wait(rand::random())).await;
        }
        Ok(End::Clean)
    }
    fn apply(&self, e: &WatchEvent) -> Result<(), Status> {
        match e.kind {
            WatchKind::Added | WatchKind::Modified => self.informer.put(Row::of(e.object.clone())?, e.revision),
            WatchKind::Deleted => self.informer.remove(Row::of(e.object.clone())?, e.revision),
            WatchKind::Bookmark => self.informer.reached(e.revision),
            WatchKind::Error => {}
        }
        Ok(())
    }
    /// The present state; and the stream that goes on behind it, when the server sent it so.
    async fn start(&mut self) -> Result<(Revision, Option<WatchStream>), Status> {
        if !self.list {
            match self.initial_events().await {
                Ok(Some((revision, events))) => return Ok((revision, Some(events))),
                Ok(None) => self.list = true,
                Err(e) if matches!(e.code, 400 | 405 | 422) => self.list = true,
                Err(e) => return Err(e),
            }
        }
        let revision = self.listed().await?;
        Ok((revision, None))
    }
    async fn initial_events(&self) -> Result<Option<(Revision, WatchStream)>, Status> {
        let call = self.watch().query("sendInitialEvents", "true").query("resourceVersionMatch", "NotOlderThan");
        let mut events = stream_of(self.client.call(call).await?)?;
        let mut rows = Vec::new();
        loop {
            let e = match tokio::time::timeout(SILENCE, events.next()).await {
                Err(_) => return Ok(None),
                Ok(None) => return Err(Status::new(Reason::ServiceUnavailable, "the watch ended before the present state was whole")),
                Ok(Some(e)) => e,
            };
            match e.kind {
                WatchKind::Error => return Err(Status::from_json(500, &e.object)),
                WatchKind::Bookmark if ends_initial(&e.object) => {
                    self.informer.replace(rows, e.revision);
                    return Ok(Some((e.revision, events)));
                }
                WatchKind::Bookmark => {}
                WatchKind::Added | WatchKind::Modified => {
                    let row = Row::of(e.object)?;
                    // An object that changes while the state is sent comes twice.
                    rows.push(row);
                }
                WatchKind::Deleted => {
                    let row = Row::of(e.object)?;
                    rows.retain(|r: &Row| r.key != row.key);
                }
            }
        }
    }
    async fn listed(&self) -> Result<Revision, Status> {
        let s = &self.selection;
        let mut p = ListParams { labels: s.labels.clone(), fields: s.fields.clone(), limit: PAGE, ..Default::default() };
        let mut rows = Vec::new();
        loop {
            let page = self.client.list_bytes(s.resource.clone(), &s.namespace, &p).await?;
            for item in page.items {
                rows.push(Row::of(item)?);
            }
            if page.continue_token.is_empty() {
                self.informer.replace(rows, page.revision);
                return Ok(page.revision);
            }
            p.continue_token = page.continue_token;
        }
    }
    fn watch(&self) -> Call {
        let s = &self.selection;
        let mut call = Call::new(Verb::Watch, Target::new(s.resource.clone(), s.namespace.as_str(), "")).query("allowWatchBookmarks", "true");
        for (key, value) in [("labelSelector", &s.labels), ("fieldSelector", &s.fields)] {
            if !value.is_empty() {
                call = call.query(key, value.clone());
            }
        }
        call
    }
    fn complain(&self, step: &str, e: &Status) {
        tracing::debug!(target: "informer", resource = %self.selection.resource, step, error = %e, "watch interrupted");
    }
}

fn stream_of(answer: Answer) -> Result<WatchStream, Status> {
    match answer {
        Answer::Watch { events, .. } => Ok(events),
        _ => Err(Status::internal("a watch was answered with no watch")),
    }
}
/// The mark is an annotation; its name is not found anywhere else in a bookmark, which holds metadata only.
fn ends_initial(bookmark: &[u8]) -> bool {
    const MARK: &[u8] = b"\"k8s.io/initial-events-end\":\"true\"";
    bookmark.windows(MARK.len()).any(|w| w == MARK)
}
