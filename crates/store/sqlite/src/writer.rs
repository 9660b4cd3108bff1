//! The writer thread: takes what waits, decides it as one group, makes it durable, publishes, answers.
//!
//! A failed transaction fails the durable writes of its group and nothing else: their revisions are burnt (the disk may
//! or may not have kept them), volatile writes are decided again without them, the next group tries anew.
use crate::disk::{Batch, Disk};
use crate::garbage::Garbage;
use crate::group::{Outcome, Plan, Proposal, decide};
use crate::reseal::Walk;
use crate::volatile::Volatile;
use crate::{Config, counter::Counter, load};
use skiff_cache::Cache;
use skiff_meta::Revision;
use skiff_store::{Entry, Event, EventKind, Indexer, ListQuery, Page, Sealed, StoreError, Tier};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Instant;
use tokio::sync::oneshot;

/// Rows that one step of compaction deletes: a few milliseconds between groups.
const COMPACTION_STEP: usize = 512;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

pub(crate) enum Job {
    Commit(Proposal, Reply<Entry>),
    Compact(Revision, Reply<()>),
    Answer(Reply<()>),
    History(ListQuery, Revision, Reply<Page>),
    /// True: seal anew what is stale.
    Sealed(bool, Reply<Sealed>),
    Close(Reply<()>),
}

type Group = Vec<(Proposal, Reply<Entry>)>;

pub(crate) struct Writer {
    pub disk: Disk,
    pub cache: Arc<Cache>,
    pub indexer: Arc<dyn Indexer>,
    pub compacted: Arc<AtomicU64>,
    pub config: Config,
    pub counter: Counter,
    pub garbage: Garbage,
    pub volatile: Volatile,
    /// Rows that compaction has still to delete, and who waits for it.
    pub dead: VecDeque<u64>,
    /// Since when the first of them waits.
    pub dead_since: Option<Instant>,
    pub compactors: Vec<Reply<()>>,
    /// Walks over what is at rest that are not at their end, the first of them at work.
    pub walks: VecDeque<Walk>,
}

enum Wake {
    Job(Job),
    /// Nothing waits, but compaction or sealing has work left.
    Idle,
    CheckpointDue,
    Abandoned,
}

impl Writer {
    /// Runs until told to close, or until nobody can send any more.
    pub fn run(mut self, jobs: Receiver<Job>) {
        let mut held = None;
        loop {
            let wake = held.take().map_or_else(|| self.wait(&jobs), Wake::Job);
            match wake {
                Wake::Job(Job::Commit(proposal, reply)) => {
                    let (group, next) = self.gather((proposal, reply), &jobs);
                    held = next;
                    self.commit(group, true);
                }
                Wake::Job(Job::Sealed(again, reply)) => self.walks.push_back(Walk::new(again, reply)),
                Wake::Job(Job::Compact(revision, reply)) => self.compact(revision, reply),
                Wake::Job(Job::Answer(reply)) => {
                    let _ = reply.send(Ok(()));
                }
                Wake::Job(Job::History(query, at, reply)) => {
                    let _ = reply.send(self.history(&query, at));
                }
                Wake::Job(Job::Close(reply)) => {
                    let _ = reply.send(self.shut());
                    return;
                }
                Wake::CheckpointDue => self.checkpoint(),
                Wake::Idle => {}
                Wake::Abandoned => {
                    if let Err(error) = self.shut() {
                        tracing::warn!(target: "store", %error, "the store was dropped and could not close cleanly");
                    }
                    return;
                }
            }
            self.compaction_step();
            self.sealing_step();
        }
    }

    fn wait(&self, jobs: &Receiver<Job>) -> Wake {
        if !self.compactors.is_empty() || !self.walks.is_empty() {
            return match jobs.try_recv() {
                Ok(job) => Wake::Job(job),
                Err(TryRecvError::Empty) => Wake::Idle,
                Err(TryRecvError::Disconnected) => Wake::Abandoned,
            };
        }
        match self.volatile.due_in(self.config.volatile_checkpoint, Instant::now()) {
            // What is due goes before what waits.
            Some(due) if due.is_zero() => Wake::CheckpointDue,
            Some(due) => match jobs.recv_timeout(due) {
                Ok(job) => Wake::Job(job),
                Err(RecvTimeoutError::Timeout) => Wake::CheckpointDue,
                Err(RecvTimeoutError::Disconnected) => Wake::Abandoned,
            },
            None => jobs.recv().map_or(Wake::Abandoned, Wake::Job),
        }
    }

    /// The first commit and all that wait behind it, up to the limits; the job that ended the group, if one did.
    fn gather(&self, first: (Proposal, Reply<Entry>), jobs: &Receiver<Job>) -> (Group, Option<Job>) {
        let size = |p: &Proposal| p.write.body.as_ref().map_or(0, |b| b.bytes.len());
        let mut bytes = size(&first.0);
        let mut group = vec![first];
        while group.len() < self.config.group_writes && bytes < self.config.group_bytes {
            match jobs.try_recv() {
                Ok(Job::Commit(proposal, reply)) => {
                    bytes += size(&proposal);
                    group.push((proposal, reply));
                }
                Ok(other) => return (group, Some(other)),
                Err(_) => break,
            }
        }
        (group, None)
    }

    fn tier(&self, key: &str) -> Tier {
        if self.volatile.has(key) { Tier::Volatile } else { Tier::Durable }
    }

    fn commit(&mut self, group: Group, again: bool) {
        let last = Revision(self.counter.last());
        let plan = decide(group.iter().map(|g| &g.0), |key| self.cache.get(key).map(|e| (e, self.tier(key))), last);
        if let Some(end) = plan.events.last() {
            self.counter.advance(end.event.revision().0);
            if let Err(error) = self.persist(&plan) {
                return self.fail(group, plan, error, again);
            }
        }
        let events: Vec<Arc<Event>> = plan.events.iter().map(|c| c.event.clone()).collect();
        self.cache.publish(&events);
        self.note(&plan);
        for ((_, reply), outcome) in group.into_iter().zip(plan.outcomes) {
            let _ = reply.send(match outcome {
                Outcome::Committed(i) => Ok(events[i].entry.clone()),
                Outcome::Lost { error, .. } => Err(error),
            });
        }
    }

    /// Makes the plan's durable events durable, and the counter safe for its volatile ones.
    fn persist(&mut self, plan: &Plan) -> Result<(), StoreError> {
        let last = self.counter.last();
        let durable = plan.events.iter().filter(|c| c.tier == Tier::Durable).map(|c| &c.event);
        let rows: Vec<_> = durable.map(|e| (&e.entry, e.kind == EventKind::Deleted)).collect();
        if rows.is_empty() && !self.counter.lacks(last) {
            return Ok(());
        }
        let every = self.config.volatile_checkpoint;
        let soon = self.volatile.due_in(every, Instant::now()).is_some_and(|due| due < every / 4);
        // A durable write to a key that the volatile tier had takes the key's old row along, lest it come back.
        let volatile =
            if soon { self.changes(self.volatile.dirty()) } else { self.changes(rows.iter().map(|(e, _)| &e.key).filter(|key| self.volatile.is_dirty(key))) };
        let batch = Batch { rows, volatile, reserved: self.counter.mark(last), ..Batch::default() };
        self.disk.write(&batch)?;
        if let Some(mark) = batch.reserved {
            self.counter.marked(mark);
        }
        self.volatile.flushed(batch.volatile.iter().map(|(key, _)| key));
        Ok(())
    }

    /// The present state of volatile keys, as a checkpoint writes it: None takes the key's row away.
    fn changes<'a>(&self, keys: impl Iterator<Item = &'a Arc<str>>) -> Vec<(Arc<str>, Option<Entry>)> {
        keys.map(|key| (key.clone(), self.cache.get(key).filter(|_| self.volatile.has(key)))).collect()
    }

    /// Keeps the books of a published plan.
    fn note(&mut self, plan: &Plan) {
        let now = Instant::now();
        for commit in &plan.events {
            let event = &commit.event;
            let (key, revision) = (&event.entry.key, event.revision().0);
            let deleted = event.kind == EventKind::Deleted;
            match (commit.tier, &event.previous) {
                (Tier::Volatile, _) => self.volatile.changed(key, deleted, now),
                (Tier::Durable, Some(previous)) => self.garbage.superseded(key.clone(), previous.revision.0, revision),
                (Tier::Durable, None) => {}
            }
            if deleted && commit.tier == Tier::Durable {
                self.garbage.tombstone(key.clone(), revision);
            }
        }
    }

    fn fail(&mut self, group: Group, plan: Plan, error: StoreError, again: bool) {
        tracing::warn!(target: "store", %error, writes = group.len(), "a group of writes failed");
        let mut retry = Vec::new();
        for ((proposal, reply), outcome) in group.into_iter().zip(plan.outcomes) {
            let present = self.cache.get(&proposal.write.key).is_some();
            let tier = if present { self.tier(&proposal.write.key) } else { proposal.write.tier };
            match outcome {
                Outcome::Lost { error, within: false } => drop(reply.send(Err(error))),
                _ if again && tier == Tier::Volatile => retry.push((proposal, reply)),
                _ => drop(reply.send(Err(error.clone()))),
            }
        }
        if !retry.is_empty() {
            self.commit(retry, false);
        }
    }

    /// Writes the whole volatile tier's changes.
    fn checkpoint(&mut self) {
        let batch = Batch { volatile: self.changes(self.volatile.dirty()), reserved: self.counter.mark(self.counter.last()), ..Batch::default() };
        match self.disk.write(&batch) {
            Ok(()) => {
                if let Some(mark) = batch.reserved {
                    self.counter.marked(mark);
                }
                self.volatile.flushed(batch.volatile.iter().map(|(key, _)| key));
            }
            Err(error) => {
                tracing::warn!(target: "store", %error, "the volatile tier's checkpoint failed");
                self.volatile.postpone(Instant::now());
            }
        }
    }

    fn compact(&mut self, revision: Revision, reply: Reply<()>) {
        if revision.0 > self.compacted.load(Ordering::Acquire) {
            self.compacted.store(revision.0, Ordering::Release);
            self.cache.forget(revision);
            self.dead.extend(self.garbage.take(revision.0));
        }
        if self.many_dead(Instant::now()) {
            self.compactors.push(reply);
        } else {
            let _ = reply.send(Ok(()));
        }
    }

    /// Whether deleting dead rows is worth what it writes.
    fn many_dead(&mut self, now: Instant) -> bool {
        if self.dead.is_empty() {
            return false;
        }
        let since = *self.dead_since.get_or_insert(now);
        self.dead.len() >= self.config.dead_rows || now.saturating_duration_since(since) >= self.config.dead_time
    }

    /// Deletes a few dead rows, when somebody waits for it.
    fn compaction_step(&mut self) {
        if self.compactors.is_empty() {
            return;
        }
        let step: Vec<u64> = self.dead.iter().take(COMPACTION_STEP).copied().collect();
        let batch = Batch { dead: &step, compacted: Some(self.compacted.load(Ordering::Acquire)), ..Batch::default() };
        let mut result = self.disk.write(&batch);
        if result.is_ok() {
            self.dead.drain(..step.len());
            if !self.dead.is_empty() {
                return;
            }
            self.dead_since = None;
            result = self.disk.tidy();
        }
        for reply in self.compactors.drain(..) {
            let _ = reply.send(result.clone());
        }
    }

    /// A few rows of the first walk over what is at rest.
    fn sealing_step(&mut self) {
        let Some(walk) = self.walks.front_mut() else { return };
        if let Some(told) = walk.step(&mut self.disk).transpose()
            && let Some(walk) = self.walks.pop_front()
        {
            let _ = walk.reply.send(told);
        }
    }

    /// A page of the past that memory does not have: what still stands, and the rows superseded since.
    fn history(&self, query: &ListQuery, at: Revision) -> Result<Page, StoreError> {
        let compacted = Revision(self.compacted.load(Ordering::Acquire));
        if at < compacted {
            return Err(StoreError::Compacted { asked: at, oldest: compacted });
        }
        if self.volatile.under(&query.prefix) {
            return Err(StoreError::Compacted { asked: at, oldest: self.cache.floor() });
        }
        let snapshot = self.cache.snapshot(query);
        let mut entries: Vec<Entry> = snapshot.entries(query).filter(|e| e.revision <= at).cloned().collect();
        for revision in self.garbage.live_at(&query.prefix, at.0) {
            let broken = |why: String| StoreError::Broken { step: "read the history", why: why.into() };
            let row = self.disk.row(revision)?.ok_or_else(|| broken(format!("revision {revision} is not there")))?;
            if query.after.as_deref().is_none_or(|after| &*row.key > after) {
                entries.push(load::entry(&self.disk, &row, &*self.indexer).map_err(|e| broken(e.to_string()))?);
            }
        }
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Page::cut(entries, query.limit, at))
    }

    /// Flushes what memory alone knows and closes the files.
    fn shut(mut self) -> Result<(), StoreError> {
        self.cache.close();
        let volatile = self.changes(self.volatile.dirty());
        let reserved = self.counter.settled();
        let mut result = Ok(());
        if !volatile.is_empty() || reserved.is_some() {
            let compacted = Some(self.compacted.load(Ordering::Acquire));
            result = self.disk.write(&Batch { volatile, reserved, compacted, ..Batch::default() });
        }
        for reply in self.compactors.drain(..) {
            let _ = reply.send(Err(StoreError::Closed));
        }
        for walk in self.walks.drain(..) {
            let _ = walk.reply.send(Err(StoreError::Closed));
        }
        result.and(self.disk.close())
    }
}
