//! A change as watchers get it.
use crate::Entry;
use bytes::Bytes;
use skiff_meta::Revision;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

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
    charged: Charged,
}

/// What the frames weigh, and to whose account: they are made long after the event was put away.
#[derive(Debug, Default)]
struct Charged {
    bytes: AtomicUsize,
    account: OnceLock<Arc<AtomicIsize>>,
}

impl Charged {
    /// In the place of bytes: the account is settled.
    const SETTLED: usize = usize::MAX;

    fn add(&self, bytes: usize) {
        let Some(account) = self.account.get() else { return };
        let open = |now: usize| (now != Self::SETTLED).then(|| now + bytes);
        if self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, open).is_ok() {
            account.fetch_add(bytes as isize, Ordering::Relaxed);
        }
    }
    fn settle(&self) {
        let Some(account) = self.account.get() else { return };
        let bytes = self.bytes.swap(Self::SETTLED, Ordering::Relaxed);
        if bytes != Self::SETTLED {
            account.fetch_sub(bytes as isize, Ordering::Relaxed);
        }
    }
}

impl Event {
    /// How many wire forms can be kept beside an event.
    pub const FORMS: usize = 4;

    pub fn new(kind: EventKind, entry: Entry, previous: Option<Entry>) -> Self {
        Self { kind, entry, previous, frames: Default::default(), charged: Charged::default() }
    }
    pub fn revision(&self) -> Revision {
        self.entry.revision
    }
    /// The encoded frame of wire form `form` (below [`Event::FORMS`]), made at the first call.
    pub fn frame(&self, form: usize, make: impl FnOnce() -> Bytes) -> Bytes {
        match self.frames.get(form) {
            Some(slot) => slot
                .get_or_init(|| {
                    let made = make();
                    self.charged.add(made.len());
                    made
                })
                .clone(),
            None => make(),
        }
    }
    /// Frames that are made from now on are added to an account, until [`Event::let_go`] takes them off it. Who keeps the
    /// event says so before anybody else has it.
    pub fn keep_for(&self, account: &Arc<AtomicIsize>) {
        let _ = self.charged.account.set(account.clone());
    }
    /// Whoever kept the event keeps it no more.
    pub fn let_go(&self) {
        self.charged.settle();
    }
}
