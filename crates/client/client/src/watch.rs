//! Watches as typed streams.
use crate::{Object, WatchKind, WatchStream, decode};
use futures::{Stream, StreamExt};
use skiff_meta::Status;

/// Objects of a watch; a bookmark gives nothing, an ERROR event its Status.
pub fn typed<K: Object>(events: WatchStream) -> impl Stream<Item = Result<(WatchKind, K), Status>> + Send {
    events.filter_map(|e| async move {
        match e.kind {
            WatchKind::Bookmark => None,
            WatchKind::Error => Some(Err(Status::from_json(500, &e.object))),
            kind => Some(decode::<K>(&e.object).map(|o| (kind, o))),
        }
    })
}
