//! What changed under some prefixes since one last looked.
//!
//! Polled by those who decide, at the moment when they decide: so a decision sees every commit that was acknowledged
//! before it, and no task runs in between. A reader that looks seldom falls behind and is told to begin anew.
use futures::{FutureExt, StreamExt};
use skiff_meta::Revision;
use skiff_store::{Event, Store, Watch};
use std::sync::Arc;

pub(crate) struct Changes {
    store: Arc<dyn Store>,
    prefixes: &'static [&'static str],
    watches: Vec<Watch>,
}

pub(crate) enum Since {
    /// Of each prefix in the order of commits.
    Events(Vec<Arc<Event>>),
    /// Read everything anew.
    Lost,
}

impl Changes {
    /// The first look says [`Since::Lost`].
    pub fn new(store: Arc<dyn Store>, prefixes: &'static [&'static str]) -> Self {
        Self { store, prefixes, watches: Vec::new() }
    }
    pub fn look(&mut self) -> Since {
        let mut events = Vec::new();
        for watch in &mut self.watches {
            loop {
                match watch.next().now_or_never() {
                    None => break,
                    Some(Some(Ok(event))) => events.push(event),
                    Some(_) => {
                        self.watches.clear();
                        return self.begin();
                    }
                }
            }
        }
        if self.watches.is_empty() { self.begin() } else { Since::Events(events) }
    }
    /// Watches from now on; what the caller reads afterwards is at least as new.
    fn begin(&mut self) -> Since {
        let from: Revision = self.store.revision();
        let watches: Result<Vec<_>, _> = self.prefixes.iter().map(|p| self.store.watch(p, from)).collect();
        // A store that is closing gives no watch: then each look reads anew.
        self.watches = watches.unwrap_or_default();
        Since::Lost
    }
}
