//! The queues of one level: fair queuing by seat-seconds. Pure.
//!
//! A flow has a hand of queues, dealt from its number, and a request goes to the one with the least work in it: a flow
//! that floods its queues meets another flow in only a few of them. Of the queues that have something, the one whose
//! first request would be done first in virtual time is next: a queue's virtual start moves on by the seat-seconds it is
//! given, guessed when a request starts and corrected when it ends. Work that is too wide for the seats runs alone.
use crate::config::Queuing;
use std::collections::{BTreeMap, VecDeque};

/// Seconds that a request is taken to need before it has shown how many.
const GUESS: f64 = 3.0;

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// All seats are taken, and there are no queues.
    ConcurrencyLimit,
    QueueFull,
    TimeOut,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Why::ConcurrencyLimit => "concurrency-limit",
            Why::QueueFull => "queue-full",
            Why::TimeOut => "time-out",
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(u64, u64)>,
    /// Seats of what waits and of what runs.
    seats: u64,
    running: usize,
    start: f64,
}

#[derive(Debug)]
struct Running {
    queue: Option<usize>,
    seats: u64,
    since: f64,
}

#[derive(Debug)]
pub(crate) struct Queues {
    shape: Option<Queuing>,
    limit: u64,
    queues: Vec<Queue>,
    running: BTreeMap<u64, Running>,
    taken: u64,
    waiting: usize,
    waited_for: u64,
    /// Virtual time, and when it was last moved on.
    virtual_now: f64,
    moved: f64,
    /// Where the search for the next queue begins, so that equals take turns.
    turn: usize,
}

impl Queues {
    pub fn new(shape: Option<Queuing>, limit: u64, now: f64) -> Self {
        let queues = shape.map_or(0, |s| s.queues);
        let queues = (0..queues).map(|_| Queue::default()).collect();
        Self { shape, limit, queues, running: BTreeMap::new(), taken: 0, waiting: 0, waited_for: 0, virtual_now: 0.0, moved: now, turn: 0 }
    }
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }
    pub fn limit(&self) -> u64 {
        self.limit
    }
    pub fn seats_taken(&self) -> u64 {
        self.taken
    }
    pub fn requests(&self) -> (usize, usize) {
        (self.running.len(), self.waiting)
    }
    /// Seats that could be used at present.
    pub fn demand(&self) -> u64 {
        self.taken + self.waited_for
    }
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting == 0
    }

    /// Takes a request in, to run or to wait ([`Queues::next`] tells which), or turns it away.
    pub fn arrive(&mut self, id: u64, flow: u64, seats: u64, now: f64) -> Result<(), Why> {
        self.pass(now);
        let Some(shape) = self.shape else {
            if !self.fits(seats) {
                return Err(Why::ConcurrencyLimit);
            }
            self.run(id, None, seats, now);
            return Ok(());
        };
        let at = self.best_of_hand(flow, shape);
        let Some(queue) = self.queues.get_mut(at) else { return Err(Why::ConcurrencyLimit) };
        if queue.waiting.len() >= shape.length {
            return Err(Why::QueueFull);
        }
        if queue.waiting.is_empty() && queue.running == 0 {
            queue.start = self.virtual_now;
        }
        queue.waiting.push_back((id, seats));
        queue.seats += seats;
        self.waiting += 1;
        self.waited_for += seats;
        Ok(())
    }

    /// The next request that runs now, if one does. Asked until there is none.
    pub fn next(&mut self, now: f64) -> Option<u64> {
        self.pass(now);
        let at = self.next_queue()?;
        let (id, seats) = *self.queues.get(at)?.waiting.front()?;
        if !self.fits(seats) {
            return None;
        }
        let queue = self.queues.get_mut(at)?;
        queue.waiting.pop_front();
        queue.running += 1;
        queue.start += GUESS * seats as f64;
        self.waiting -= 1;
        self.waited_for -= seats;
        self.turn = at + 1;
        self.run(id, Some(at), seats, now);
        Some(id)
    }

    /// A request that ran is done. False when it is none of these.
    pub fn finish(&mut self, id: u64, now: f64) -> bool {
        self.pass(now);
        let Some(r) = self.running.remove(&id) else { return false };
        self.taken -= r.seats;
        if let Some(queue) = r.queue.and_then(|at| self.queues.get_mut(at)) {
            queue.running -= 1;
            queue.seats -= r.seats;
            queue.start += ((now - r.since).max(0.0) - GUESS) * r.seats as f64;
        }
        true
    }

    /// A request gives up waiting. False when it does not wait here.
    pub fn leave(&mut self, id: u64) -> bool {
        for queue in &mut self.queues {
            if let Some(i) = queue.waiting.iter().position(|(x, _)| *x == id) {
                let seats = queue.waiting.remove(i).map_or(0, |(_, s)| s);
                queue.seats -= seats;
                self.waiting -= 1;
                self.waited_for -= seats;
                return true;
            }
        }
        false
    }

    fn fits(&self, seats: u64) -> bool {
        self.taken == 0 || self.taken + seats <= self.limit
    }

    fn run(&mut self, id: u64, queue: Option<usize>, seats: u64, now: f64) {
        self.taken += seats;
        self.running.insert(id, Running { queue, seats, since: now });
    }

    /// Virtual time moves on by what each busy queue is given: the seats in use, shared by the queues that want some.
    fn pass(&mut self, now: f64) {
        let took = (now - self.moved).max(0.0);
        self.moved = self.moved.max(now);
        let busy = self.queues.iter().filter(|q| q.running > 0 || !q.waiting.is_empty()).count();
        if busy > 0 {
            self.virtual_now += took * self.demand().min(self.limit) as f64 / busy as f64;
        }
    }

    fn best_of_hand(&self, flow: u64, shape: Queuing) -> usize {
        let hand = deal(flow, shape.queues, shape.hand);
        hand.into_iter().min_by_key(|at| self.queues.get(*at).map_or(u64::MAX, |q| q.seats)).unwrap_or_default()
    }

    fn next_queue(&self) -> Option<usize> {
        let n = self.queues.len();
        let order = (0..n).map(|i| (self.turn + i) % n);
        let done = |at: usize| {
            let q = self.queues.get(at)?;
            let (_, seats) = q.waiting.front()?;
            Some((at, q.start + GUESS * *seats as f64))
        };
        order.filter_map(done).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
    }
}

/// A hand of different queues out of the flow's number (shuffle sharding).
fn deal(flow: u64, queues: usize, hand: usize) -> Vec<usize> {
    let mut rest = flow;
    let mut out: Vec<usize> = Vec::with_capacity(hand);
    for dealt in 0..hand.min(queues) {
        let left = (queues - dealt) as u64;
        let mut card = (rest % left) as usize;
        rest /= left;
        // The card-th of those that are not dealt yet.
        let mut before = out.clone();
        before.sort_unstable();
        for d in before {
            if d <= card {
                card += 1;
            }
        }
        out.push(card);
    }
    out
}

#[cfg(test)]
mod tests;
