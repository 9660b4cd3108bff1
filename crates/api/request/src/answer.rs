//! What is answered.
use bytes::Bytes;
use futures::stream::BoxStream;
use skiff_meta::{GroupVersionKind, Revision, Status};
use std::sync::Arc;

pub type WatchStream = BoxStream<'static, WatchEvent>;

pub enum Answer {
    /// One object in canonical JSON. `code` is 200 or 201; `warnings` become `Warning: 299` headers.
    Object { code: u16, kind: GroupVersionKind, bytes: Bytes, warnings: Vec<String> },
    List(ListAnswer),
    /// Ends after an ERROR event, or when the server's time-out comes.
    Watch { kind: GroupVersionKind, events: WatchStream },
    /// A Status that is no failure: what some deletes answer.
    Status(Status, Vec<String>),
}

/// A page of objects, each in canonical JSON with its own apiVersion and kind.
#[derive(Clone, Debug)]
pub struct ListAnswer {
    /// The kind of the items; the list's is it with `List` behind.
    pub kind: GroupVersionKind,
    pub items: Vec<Bytes>,
    pub revision: Revision,
    pub continue_token: String,
    pub remaining: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl WatchKind {
    pub fn as_str(self) -> &'static str {
        match self {
            WatchKind::Added => "ADDED",
            WatchKind::Modified => "MODIFIED",
            WatchKind::Deleted => "DELETED",
            WatchKind::Bookmark => "BOOKMARK",
            WatchKind::Error => "ERROR",
        }
    }
}

/// One event of a watch.
#[derive(Clone)]
pub struct WatchEvent {
    pub kind: WatchKind,
    /// The object in canonical JSON; of an error the Status.
    pub object: Bytes,
    /// The revision the watch has reached.
    pub revision: Revision,
    /// Shared by all watchers of the same change, so that each wire form is encoded once; None for bookmarks, errors
    /// and the initial state.
    pub shared: Option<Arc<dyn Frames>>,
}

/// Where encoded frames of an event are kept: see the store's `Event::frame`.
pub trait Frames: Send + Sync {
    /// The frame of wire form `form`, made at the first call.
    fn frame(&self, form: usize, make: &dyn Fn() -> Bytes) -> Bytes;
}
