//! Seats are never exceeded, nobody is lost, flows are served alike.
use super::*;
use std::collections::BTreeMap;

fn shape(queues: usize, hand: usize, length: usize) -> Response {
    Response::Queue(Queuing { queues, hand, length })
}
const ONE: Work = Work::of(1);

fn drain(q: &mut Queues, now: f64) -> Vec<u64> {
    std::iter::from_fn(|| q.next(now)).collect()
}

#[test]
fn hands_have_different_queues() {
    for flow in 0..1000u64 {
        let mut room = [0; 6];
        let hand = deal(flow.wrapping_mul(0x9e37_79b9_7f4a_7c15), 8, &mut room);
        assert!(hand.len() == 6 && hand.iter().all(|at| *at < 8));
        assert!(hand.windows(2).all(|w| w[0] < w[1]), "{hand:?}");
    }
    let mut room = [0; 6];
    assert_eq!(deal(7, 2, &mut room), [0, 1]);
}

#[test]
fn without_queues_the_rest_is_turned_away_and_the_exempt_never() {
    let mut q = Queues::new(Response::Reject, 2, 0.0);
    assert_eq!(
        [q.arrive(1, 0, ONE, 0.0), q.arrive(2, 0, ONE, 0.0), q.arrive(3, 0, ONE, 0.0)],
        [Ok(Arrival::Runs), Ok(Arrival::Runs), Err(Why::ConcurrencyLimit)]
    );
    assert_eq!(q.finish(1, 1.0), Some(0.0));
    assert_eq!(q.finish(1, 1.0), None);
    assert_eq!(q.arrive(4, 0, ONE, 1.0), Ok(Arrival::Runs));
    let mut q = Queues::new(Response::Exempt, 0, 0.0);
    assert!((0..100).all(|id| q.arrive(id, 0, Work::of(10), 0.0) == Ok(Arrival::Runs)));
    assert_eq!((q.demand(), q.requests()), (1000, (100, 0)));
}

#[test]
fn full_queues_turn_away() {
    let mut q = Queues::new(shape(1, 1, 2), 1, 0.0);
    assert_eq!(q.arrive(0, 7, ONE, 0.0), Ok(Arrival::Runs));
    assert_eq!(
        [q.arrive(1, 7, ONE, 0.0), q.arrive(2, 7, ONE, 0.0), q.arrive(3, 7, ONE, 0.0)],
        [Ok(Arrival::Waits(1)), Ok(Arrival::Waits(2)), Err(Why::QueueFull)]
    );
    assert!(q.leave(1, 0.5) && !q.leave(1, 0.5));
    assert!(q.finish(0, 1.0).is_some());
    assert_eq!(drain(&mut q, 1.0), [2]);
}

#[test]
fn what_is_too_wide_runs_alone() {
    let mut q = Queues::new(shape(64, 6, 50), 4, 0.0);
    assert_eq!(q.arrive(1, 1, Work::of(10), 0.0), Ok(Arrival::Runs));
    assert_eq!(q.arrive(2, 2, ONE, 0.0), Ok(Arrival::Waits(1)));
    assert!(drain(&mut q, 0.0).is_empty());
    q.finish(1, 1.0);
    assert_eq!(drain(&mut q, 1.0), [2]);
}

#[test]
fn seats_are_kept_beyond_the_end() {
    let mut q = Queues::new(shape(8, 2, 10), 4, 0.0);
    let work = Work { seats: 1, final_seats: 8, lingers: 0.5 };
    assert_eq!(q.arrive(1, 1, work, 0.0), Ok(Arrival::Runs));
    // The eight seats are four for twice as long.
    assert_eq!(q.finish(1, 0.1), Some(1.0));
    assert_eq!(q.arrive(2, 2, ONE, 0.2), Ok(Arrival::Waits(1)));
    assert_eq!((q.requests(), q.taken()), ((0, 1), 4));
    q.release(1, 1.1);
    assert_eq!(drain(&mut q, 1.1), [2]);
}

#[test]
fn queues_grow_at_once_and_go_when_they_are_empty() {
    let mut q = Queues::new(shape(1, 1, 10), 1, 0.0);
    for id in 0..3 {
        q.arrive(id, 9, ONE, 0.0).unwrap();
    }
    q.set_response(shape(4, 1, 10));
    assert_eq!(q.queues.len(), 4);
    for id in 3..20 {
        q.arrive(id, id, ONE, 0.0).unwrap();
    }
    q.set_response(Response::Reject);
    assert!(!q.queues.is_empty());
    let mut last = 0;
    for _ in 0..20 {
        q.finish(last, 1.0);
        last = q.next(1.0).unwrap_or(last);
    }
    assert!(q.is_idle() && q.queues.is_empty());
}

/// A flow that always has 40 requests waiting and one that has four: the second gets its part while both want.
#[test]
fn an_elephant_does_not_starve_a_mouse() {
    let mut q = Queues::new(shape(64, 6, 50), 4, 0.0);
    let flows = [0x1234_5678_9abc_def0u64, 0xfedc_ba98_7654_3210];
    let (mut id, mut owner, mut waiting, mut served, mut running) = (0u64, BTreeMap::new(), [0usize; 2], [0u32; 2], VecDeque::new());
    for step in 0..2000 {
        let now = f64::from(step) * 0.1;
        let mut start = |started: u64, owner: &BTreeMap<u64, usize>, waiting: &mut [usize; 2]| {
            let flow = owner[&started];
            waiting[flow] -= 1;
            served[flow] += 1;
            running.push_back(started);
        };
        for (flow, most) in [(0, 40), (1, 4)] {
            while waiting[flow] < most {
                let Ok(arrival) = q.arrive(id, flows[flow], ONE, now) else { break };
                owner.insert(id, flow);
                waiting[flow] += 1;
                if arrival == Arrival::Runs {
                    start(id, &owner, &mut waiting);
                }
                id += 1;
            }
        }
        while let Some(next) = q.next(now) {
            start(next, &owner, &mut waiting);
        }
        assert!(q.taken() <= 4);
        while running.len() > 2 {
            let done = running.pop_front().unwrap();
            assert!(q.finish(done, now + 0.1).is_some());
        }
    }
    let (elephant, mouse) = (f64::from(served[0]), f64::from(served[1]));
    // The elephant has six queues of its hand, the mouse up to four at work at once.
    assert!(mouse > elephant * 0.4, "{served:?}");
}

/// Arrivals, ends and departures by a fixed sequence of numbers: nothing is lost and seats are never exceeded.
#[test]
fn everybody_ends() {
    let mut state = 42u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut q = Queues::new(shape(8, 3, 10), 5, 0.0);
    let (mut waits, mut runs): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
    for id in 0..20_000u64 {
        let now = id as f64 * 0.01;
        match q.arrive(id, random(12).wrapping_mul(0x9e37_79b9_7f4a_7c15), Work::of(1 + random(3)), now) {
            Ok(Arrival::Runs) => runs.push(id),
            Ok(Arrival::Waits(_)) => waits.push(id),
            Err(_) => {}
        }
        if random(3) == 0 && !waits.is_empty() {
            let at = random(waits.len() as u64) as usize;
            assert!(q.leave(waits.swap_remove(at), now));
        }
        if random(2) == 0 && !runs.is_empty() {
            let at = random(runs.len() as u64) as usize;
            assert!(q.finish(runs.swap_remove(at), now).is_some());
        }
        for started in drain(&mut q, now) {
            waits.retain(|w| *w != started);
            runs.push(started);
        }
        assert!(q.taken() <= 5, "{}", q.taken());
        assert_eq!(q.requests(), (runs.len(), waits.len()));
        assert_eq!(q.active, q.queues.iter().filter(|q| q.active()).count());
    }
    let mut now = 1e6;
    while !q.is_idle() {
        now += 1.0;
        for r in std::mem::take(&mut runs) {
            assert!(q.finish(r, now).is_some());
        }
        runs.extend(drain(&mut q, now));
    }
    assert_eq!((q.demand(), q.taken(), q.active), (0, 0, 0));
}
