//! What is found out about a request on its way, for what is done around it.
use crate::{flow::Passing, metrics::Series};
use parking_lot::Mutex;
use skiff_audit::Record;
use skiff_flowcontrol::{Class, Watching};
use skiff_meta::Status;
use skiff_request::Notes;
use std::{any::Any, sync::Arc};

#[derive(Default)]
pub(crate) struct Passage {
    /// Where it belongs; None when it was not asked, or answered before that.
    pub class: Option<Class>,
    /// Where it is counted.
    pub series: Option<Arc<Series>>,
    /// A watch that writes are to be paid for.
    pub watching: Option<Watching>,
    /// It asked for what is going to be taken away.
    pub deprecated: bool,
    /// None when nothing is recorded of it.
    pub record: Option<Record>,
    /// The error that it was answered with, where that is a response already.
    pub status: Option<Status>,
    /// Its seat, until the answer is made.
    pub seat: Option<Passing>,
}

impl Passage {
    pub fn notes(&self) -> Option<&Arc<Notes>> {
        self.record.as_ref().map(Record::notes)
    }
}

/// What lives as long as a connection whose protocol was switched: among the request's extensions, and kept by who pipes.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Option<Box<dyn Any + Send>>>>);

impl Held {
    pub fn fill(&self, what: impl Any + Send) {
        *self.0.lock() = Some(Box::new(what));
    }
}
