//! Frames of a watch: one JSON object a line.
use crate::{WatchEvent, WatchKind};
use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use skiff_json::RawValue;
use skiff_meta::{Head, Reason, Status};

/// Of one frame.
const MOST: usize = 32 << 20;

/// Cuts a stream of bytes into events.
#[derive(Default)]
pub(super) struct Frames {
    buffer: BytesMut,
    /// How far `buffer` is known to hold no newline.
    searched: usize,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Frames {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }
    /// The next whole event, if there is one. An unreadable or endless frame becomes an ERROR event.
    pub(super) fn next(&mut self) -> Option<WatchEvent> {
        loop {
            let Some(n) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') else {
                self.searched = self.buffer.len();
                return (self.buffer.len() > MOST).then(|| failed(format!("a watch frame is over {MOST} bytes")));
            };
            let line = self.buffer.split_to(self.searched + n).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(event(&line).unwrap_or_else(failed));
            }
        }
    }
}

fn event(line: &Bytes) -> Result<WatchEvent, String> {
    let frame: Frame<'_> = skiff_json::from_slice(line).map_err(|e| format!("read a watch frame: {e}"))?;
    let kind =
        [WatchKind::Added, WatchKind::Modified, WatchKind::Deleted, WatchKind::Bookmark, WatchKind::Error].into_iter().find(|k| k.as_str() == frame.kind);
    let kind = kind.ok_or_else(|| format!("a watch frame is of the unknown type {:?}", frame.kind))?;
    let object = line.slice_ref(frame.object.get().as_bytes());
    let revision = match kind {
        WatchKind::Error => Default::default(),
        _ => Head::of(&object).map_err(|e| format!("read the object of a watch frame: {e}"))?.resource_version.parse().unwrap_or_default(),
    };
    Ok(WatchEvent { kind, object, revision, shared: None })
}

pub(super) fn failed(why: String) -> WatchEvent {
    let status = Status::new(Reason::InternalError, why);
    WatchEvent { kind: WatchKind::Error, object: status.to_json().into(), revision: Default::default(), shared: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let text = b"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\"}}}\n\n{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n{\"type\":\"WHAT\",\"object\":{}}\nnonsense\n";
        for size in [1, 2, 7, 1000] {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for chunk in text.chunks(size) {
                frames.push(chunk);
                while let Some(e) = frames.next() {
                    seen.push((e.kind, e.revision.0));
                }
            }
            assert_eq!(seen, [(WatchKind::Added, 7), (WatchKind::Bookmark, 9), (WatchKind::Error, 0), (WatchKind::Error, 0)]);
        }
    }
    #[test]
    fn a_frame_has_a_limit() {
        let mut frames = Frames::default();
        frames.push(&vec![b' '; MOST + 1]);
        assert_eq!(frames.next().map(|e| e.kind), Some(WatchKind::Error));
    }
}
