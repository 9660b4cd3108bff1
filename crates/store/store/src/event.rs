//! A change as watchers get it.
use crate::Entry;
use bytes::Bytes;
use skiff_meta::Revision;
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Created,
    Updated,
    Deleted,
}

/// One commit's change to one key. Shared by all who watch; each wire form is encoded once.
#[derive(Debug)]
pub struct Event {
    pub kind: EventKind,
    /// The new version; of a deletion the last state, stamped with the revision of the deletion.
    pub entry: Entry,
    /// The version before: what a selector needs to turn an update into ADDED or DELETED.
    pub previous: Option<Entry>,
    frames: [OnceLock<Bytes>; Event::FORMS],
}

impl Event {
    /// How many wire forms can be kept beside an event.
    pub const FORMS: usize = 4;

    pub fn new(kind: EventKind, entry: Entry, previous: Option<Entry>) -> Self {
        Self { kind, entry, previous, frames: Default::default() }
    }
    pub fn revision(&self) -> Revision {
        self.entry.revision
    }
    /// The encoded frame of wire form `form` (below [`Event::FORMS`]), made at the first call.
    pub fn frame(&self, form: usize, make: impl FnOnce() -> Bytes) -> Bytes {
        match self.frames.get(form) {
            Some(slot) => slot.get_or_init(make).clone(),
            None => make(),
        }
    }
}
