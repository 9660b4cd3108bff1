//! The queues of one level: fair queuing by seat-seconds. Pure.
//!
//! A flow has a hand of queues, dealt from its number, and a request goes to the one with the least work waiting in it: a
//! flow that floods its queues meets another flow in only a few of them. Of the queues that have something, the one whose
//! first request would be done first in virtual time is next: a queue's virtual start moves on by the seat-seconds it is
//! given, guessed when a request starts and corrected when it ends. Work that is too wide for the seats runs alone.
//!
//! Nothing here is done in proportion to the number of queues unless somebody waits.
use crate::{
    config::{Queuing, Response},
    estimate::Work,
};
use std::collections::{HashMap, VecDeque};

/// Seconds that a request is taken to need before it has shown how many.
pub(crate) const GUESS: f64 = 0.003;

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// All seats are taken, and there are no queues.
    ConcurrencyLimit,
    QueueFull,
    TimeOut,
}

impl Why {
    pub const ALL: [Why; 3] = [Why::ConcurrencyLimit, Why::QueueFull, Why::TimeOut];
    pub fn as_str(self) -> &'static str {
        match self {
            Why::ConcurrencyLimit => "concurrency-limit",
            Why::QueueFull => "queue-full",
            Why::TimeOut => "time-out",
        }
    }
}

/// What becomes of a request that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Runs,
    /// Behind so many others.
    Waits(usize),
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    work: Work,
    /// Virtual time when it came: its queue is not served as if before that.
    arrived: f64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Seat-seconds that wait.
    work: f64,
    running: usize,
    seats: u64,
    start: f64,
}

impl Queue {
    fn active(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }
    /// What was not used while others wanted it is not saved up.
    fn bound(&mut self) {
        if let Some(first) = self.waiting.front() {
            self.start = self.start.max(first.arrived);
        }
    }
}

#[derive(Debug)]
struct Running {
    queue: Option<usize>,
    work: Work,
    since: f64,
    /// It is done, and its seats are kept for what it set off.
    lingers: bool,
}

/// One queue as the debug tables show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct QueuePicture {
    pub waiting: Vec<u64>,
    pub running: usize,
    pub seats: u64,
    pub start: f64,
    pub initial_seats: u64,
    pub most_seats: u64,
    pub work: f64,
}

#[derive(Debug)]
pub(crate) struct Queues {
    response: Response,
    limit: u64,
    queues: Vec<Queue>,
    running: HashMap<u64, Running>,
    /// Of those that run, how many are not merely lingering.
    executing: usize,
    taken: u64,
    /// The queue that a request waits in.
    places: HashMap<u64, usize>,
    waited_for: u64,
    active: usize,
    /// Virtual time, and when it was last moved on.
    virtual_now: f64,
    moved: f64,
    /// Where the search for the next queue begins, so that equals take turns.
    turn: usize,
    dealt: usize,
    /// Virtual time when a request was last taken out of a queue, and that queue's start then.
    last_start: (f64, f64),
}

impl Queues {
    pub fn new(response: Response, limit: u64, now: f64) -> Self {
        let mut out = Self {
            response: Response::Reject,
            limit,
            queues: Vec::new(),
            running: HashMap::new(),
            executing: 0,
            taken: 0,
            places: HashMap::new(),
            waited_for: 0,
            active: 0,
            virtual_now: 0.0,
            moved: now,
            turn: 0,
            dealt: 0,
            last_start: (0.0, 0.0),
        };
        out.set_response(response);
        out
    }
    /// More queues are there at once, fewer when those behind have drained.
    pub fn set_response(&mut self, response: Response) {
        self.response = response;
        if let Response::Queue(q) = response
            && q.queues > self.queues.len()
        {
            self.queues.resize_with(q.queues, Queue::default);
        }
        self.shrink();
    }
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }
    pub fn limit(&self) -> u64 {
        self.limit
    }
    /// Seats in use.
    pub fn taken(&self) -> u64 {
        self.taken
    }
    /// How many run and how many wait.
    pub fn requests(&self) -> (usize, usize) {
        (self.executing, self.places.len())
    }
    /// Seats that could be used at present.
    pub fn demand(&self) -> u64 {
        self.taken + self.waited_for
    }
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.places.is_empty()
    }
    /// Virtual time when a request was last taken out of a queue, and that queue's start then.
    pub fn last_start(&self) -> (f64, f64) {
        self.last_start
    }
    /// The virtual time.
    pub fn progress(&self) -> f64 {
        self.virtual_now
    }

    /// Takes a request in, or turns it away. Of one that waits [`Queues::next`] tells when it runs.
    pub fn arrive(&mut self, id: u64, flow: u64, work: Work, now: f64) -> Result<Arrival, Why> {
        let shape = match self.response {
            Response::Exempt => {
                self.run(id, None, work, now);
                return Ok(Arrival::Runs);
            }
            Response::Reject if !self.fits(work.most()) => return Err(Why::ConcurrencyLimit),
            Response::Reject => {
                self.run(id, None, work, now);
                return Ok(Arrival::Runs);
            }
            Response::Queue(q) => q,
        };
        self.pass(now);
        let at = self.best_of_hand(flow, shape);
        let (virtual_now, full) = (self.virtual_now, self.taken >= self.limit);
        let Some(queue) = self.queues.get_mut(at) else { return Err(Why::ConcurrencyLimit) };
        if full && queue.waiting.len() >= shape.length {
            return Err(Why::QueueFull);
        }
        if !queue.active() {
            queue.start = virtual_now;
            self.active += 1;
        }
        queue.waiting.push_back(Waiting { id, work, arrived: virtual_now });
        queue.work += work.total();
        queue.bound();
        let behind = queue.waiting.len();
        self.places.insert(id, at);
        self.waited_for += work.most();
        // Nobody else waits: it is its own turn, if there are seats.
        if self.places.len() == 1 && self.has_room() && self.fits(work.most()) {
            self.start_first(at, now);
            return Ok(Arrival::Runs);
        }
        Ok(Arrival::Waits(behind))
    }

    /// The next request that runs now, if one does. Asked until there is none.
    pub fn next(&mut self, now: f64) -> Option<u64> {
        if self.places.is_empty() || !self.has_room() {
            return None;
        }
        self.pass(now);
        let at = self.next_queue()?;
        let most = self.queues.get(at)?.waiting.front()?.work.most();
        if !self.fits(most) {
            return None;
        }
        self.start_first(at, now)
    }

    fn start_first(&mut self, at: usize, now: f64) -> Option<u64> {
        let limit = self.limit;
        let queue = self.queues.get_mut(at)?;
        let first = queue.waiting.pop_front()?;
        let work = first.work.within(limit);
        let started_at = queue.start;
        queue.work -= first.work.total();
        queue.running += 1;
        queue.seats += work.most();
        queue.start += work.total();
        queue.bound();
        self.places.remove(&first.id);
        self.last_start = (self.virtual_now, started_at);
        self.waited_for -= first.work.most();
        self.turn = at + 1;
        self.run(first.id, Some(at), work, now);
        Some(first.id)
    }

    /// A request that ran is done. Gives the seconds after which its seats are to be [released](Queues::release), if
    /// they are not free at once; None when it is none of these.
    pub fn finish(&mut self, id: u64, now: f64) -> Option<f64> {
        self.pass(now);
        let r = self.running.get_mut(&id).filter(|r| !r.lingers)?;
        let (work, at, took) = (r.work, r.queue, (now - r.since).max(0.0));
        r.lingers = true;
        self.executing -= 1;
        if let Some(queue) = at.and_then(|at| self.queues.get_mut(at)) {
            queue.running -= 1;
            queue.start += (took - GUESS) * work.seats as f64;
            queue.bound();
            if !queue.active() {
                self.active -= 1;
            }
        }
        if work.lingers <= 0.0 {
            self.release(id, now);
        }
        Some(work.lingers)
    }

    /// Seats that a request kept beyond its end are free.
    pub fn release(&mut self, id: u64, now: f64) {
        self.pass(now);
        if self.running.get(&id).is_none_or(|r| !r.lingers) {
            return;
        }
        let Some(r) = self.running.remove(&id) else { return };
        self.taken -= r.work.most();
        if let Some(queue) = r.queue.and_then(|at| self.queues.get_mut(at)) {
            queue.seats -= r.work.most();
        }
        self.shrink();
    }

    /// A request gives up waiting. False when it does not wait here.
    pub fn leave(&mut self, id: u64, now: f64) -> bool {
        self.pass(now);
        let Some(at) = self.places.remove(&id) else { return false };
        let Some(queue) = self.queues.get_mut(at) else { return false };
        if let Some(gone) = queue.waiting.iter().position(|w| w.id == id).and_then(|i| queue.waiting.remove(i)) {
            queue.work -= gone.work.total();
            self.waited_for -= gone.work.most();
        }
        queue.bound();
        if !queue.active() {
            self.active -= 1;
        }
        self.shrink();
        true
    }

    fn has_room(&self) -> bool {
        self.taken < self.limit
    }

    fn fits(&self, seats: u64) -> bool {
        if seats > self.limit { self.executing == 0 } else { self.taken + seats <= self.limit }
    }

    fn run(&mut self, id: u64, queue: Option<usize>, work: Work, now: f64) {
        self.taken += work.most();
        self.executing += 1;
        self.running.insert(id, Running { queue, work, since: now, lingers: false });
    }

    /// Virtual time moves on by what each busy queue is given: the seats in use, shared by the queues that want some.
    fn pass(&mut self, now: f64) {
        let took = (now - self.moved).max(0.0);
        self.moved = self.moved.max(now);
        if self.active > 0 {
            self.virtual_now += took * self.demand().min(self.limit) as f64 / self.active as f64;
        }
    }

    /// Queues that are too many go when nobody is in them.
    fn shrink(&mut self) {
        let wanted = if let Response::Queue(q) = self.response { q.queues } else { 0 };
        while self.queues.len() > wanted && self.queues.last().is_some_and(|q| !q.active() && q.seats == 0) {
            self.queues.pop();
        }
    }

    fn best_of_hand(&mut self, flow: u64, shape: Queuing) -> usize {
        let mut hand = [0; MOST_CARDS];
        let hand = deal(flow, shape.queues, &mut hand[..shape.hand.min(MOST_CARDS)]);
        let n = hand.len().max(1);
        // Not always from the first card on: flows with hands alike would all begin with the same queue.
        let from = self.dealt % n;
        self.dealt = self.dealt.wrapping_add(1);
        let cards = (0..n).filter_map(|i| hand.get((from + i) % n));
        let work = |at: &usize| self.queues.get(*at).map_or(f64::MAX, |q| q.work);
        cards.min_by(|a, b| work(a).total_cmp(&work(b))).copied().unwrap_or_default()
    }

    fn next_queue(&self) -> Option<usize> {
        let n = self.queues.len();
        let order = (0..n).map(|i| (self.turn + i) % n);
        let done = |at: usize| {
            let q = self.queues.get(at)?;
            Some((at, q.start + q.waiting.front()?.work.total()))
        };
        order.filter_map(done).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
    }

    /// All queues, for the debug tables.
    pub fn pictures(&self) -> Vec<QueuePicture> {
        let picture = |q: &Queue| QueuePicture {
            waiting: q.waiting.iter().map(|w| w.id).collect(),
            running: q.running,
            seats: q.seats,
            start: q.start,
            initial_seats: q.waiting.iter().map(|w| w.work.seats).sum(),
            most_seats: q.waiting.iter().map(|w| w.work.most()).sum(),
            work: q.work,
        };
        self.queues.iter().map(picture).collect()
    }
    /// What runs, and from which queue.
    pub fn started(&self) -> impl Iterator<Item = (u64, Option<usize>)> {
        self.running.iter().filter(|(_, r)| !r.lingers).map(|(id, r)| (*id, r.queue))
    }
}

/// No hand is larger: more than these are no safer, and validation keeps `handSize` within 60 bits of entropy.
const MOST_CARDS: usize = 64;

/// A hand of different queues out of the flow's number (shuffle sharding).
fn deal(flow: u64, queues: usize, hand: &mut [usize]) -> &[usize] {
    let (mut rest, mut dealt) = (flow, 0);
    while dealt < hand.len().min(queues) {
        let left = (queues - dealt) as u64;
        let mut card = (rest % left) as usize;
        rest /= left;
        // The card-th of those that are not dealt yet; those that are stand in order.
        let mut at = 0;
        while at < dealt && hand[at] <= card {
            card += 1;
            at += 1;
        }
        hand.copy_within(at..dealt, at + 1);
        hand[at] = card;
        dealt += 1;
    }
    &hand[..dealt]
}

#[cfg(test)]
mod tests;
