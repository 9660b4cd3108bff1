//! What is answered.
use bytes::Bytes;
use futures::stream::BoxStream;
use skiff_meta::{GroupVersionKind, Revision, Status};
use std::sync::Arc;

pub type WatchStream = BoxStream<'static, WatchEvent>;

pub enum Answer {
    /// One object in canonical JSON. `code` is 200 or 201; `warnings` become `Warning: 299` headers.
    Object {
        code: u16,
        kind: GroupVersionKind,
        bytes: Bytes,
        warnings: Vec<String>,
    },
    List(ListAnswer),
    /// Ends after an ERROR event, or when the server's time-out comes.
    Watch {
        kind: GroupVersionKind,
        events: WatchStream,
    },
    /// A Status that is no failure: what some deletes answer.
    Status(Status, Vec<String>),
}

impl Answer {
    /// With what was to be told before it was made, in front. Watches tell nothing.
    pub fn warned(mut self, told: Vec<String>) -> Self {
        if let Answer::Object { warnings, .. } | Answer::Status(_, warnings) | Answer::List(ListAnswer { warnings, .. }) = &mut self {
            warnings.splice(0..0, told);
        }
        self
    }
    /// What the client is told.
    pub fn warnings(&self) -> &[String] {
        match self {
            Answer::Object { warnings, .. } | Answer::Status(_, warnings) | Answer::List(ListAnswer { warnings, .. }) => warnings,
            Answer::Watch { .. } => &[],
        }
    }
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
    /// What the client is told of them.
    pub warnings: Vec<String>,
}

impl ListAnswer {
    /// `metadata` of the list.
    pub fn meta(&self) -> skiff_json::Value {
        let mut meta = skiff_json::Map::new();
        if self.revision.0 > 0 {
            meta.insert("resourceVersion", self.revision.to_string().into());
        }
        if !self.continue_token.is_empty() {
            meta.insert("continue", self.continue_token.clone().into());
        }
        if let Some(n) = self.remaining {
            meta.insert("remainingItemCount", n.into());
        }
        meta.into()
    }
    /// `{"kind":…,"apiVersion":…,"metadata":{…},"items":[…]}` around the items' own bytes; `kind` is the list's. Items of
    /// built-in kinds leave out their kind, which the list tells; those of custom ones are `named`.
    pub fn json_as(&self, kind: &GroupVersionKind, named: bool) -> Bytes {
        let (opening, head) = (self.opening(kind), if named { String::new() } else { self.item_head() });
        let size: usize = self.items.iter().map(|i| i.len() + 1).sum();
        let mut out = Vec::with_capacity(opening.len() + size + 2);
        out.extend_from_slice(opening.as_bytes());
        for (i, item) in self.items.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            match Self::item(item, &head) {
                Some(rest) => {
                    out.push(b'{');
                    out.extend_from_slice(rest);
                }
                None => out.extend_from_slice(item),
            }
        }
        out.extend_from_slice(b"]}");
        out.into()
    }
    /// All before the items.
    pub fn opening(&self, kind: &GroupVersionKind) -> String {
        format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[", kind.kind, kind.api_version(), self.meta())
    }
    /// How items begin whose kind the list tells.
    pub fn item_head(&self) -> String {
        format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", self.kind.kind, self.kind.api_version())
    }
    /// What stays of an item behind `{` when its kind is left out; None where it stays whole.
    pub fn item<'a>(item: &'a [u8], head: &str) -> Option<&'a [u8]> {
        item.strip_prefix(head.as_bytes()).filter(|_| !head.is_empty())
    }
    /// The same as the kind with `List` behind.
    pub fn json(&self) -> Bytes {
        self.json_as(&GroupVersionKind { kind: format!("{}List", self.kind.kind).into(), ..self.kind.clone() }, false)
    }
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
