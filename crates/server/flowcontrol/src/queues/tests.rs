//! Seats are never exceeded, nobody is lost, flows are served alike.
use super::*;

const SHAPE: Queuing = Queuing { queues: 64, hand: 6, length: 50 };

fn drain(q: &mut Queues, now: f64) -> Vec<u64> {
    std::iter::from_fn(|| q.next(now)).collect()
}

#[test]
fn hands_have_different_queues() {
    for flow in 0..1000u64 {
        let mut hand = deal(flow.wrapping_mul(0x9e37_79b9_7f4a_7c15), 8, 6);
        assert!(hand.iter().all(|at| *at < 8));
        hand.sort_unstable();
        hand.dedup();
        assert_eq!(hand.len(), 6);
    }
}

#[test]
fn without_queues_the_rest_is_turned_away() {
    let mut q = Queues::new(None, 2, 0.0);
    assert_eq!([q.arrive(1, 0, 1, 0.0), q.arrive(2, 0, 1, 0.0), q.arrive(3, 0, 1, 0.0)], [Ok(()), Ok(()), Err(Why::ConcurrencyLimit)]);
    assert!(q.finish(1, 1.0));
    assert_eq!(q.arrive(4, 0, 1, 1.0), Ok(()));
}

#[test]
fn full_queues_turn_away() {
    let mut q = Queues::new(Some(Queuing { queues: 1, hand: 1, length: 2 }), 1, 0.0);
    q.arrive(0, 7, 1, 0.0).unwrap();
    assert_eq!(drain(&mut q, 0.0), [0]);
    assert_eq!([q.arrive(1, 7, 1, 0.0), q.arrive(2, 7, 1, 0.0), q.arrive(3, 7, 1, 0.0)], [Ok(()), Ok(()), Err(Why::QueueFull)]);
    assert!(q.leave(1) && !q.leave(1));
    assert!(q.finish(0, 1.0));
    assert_eq!(drain(&mut q, 1.0), [2]);
}

#[test]
fn what_is_too_wide_runs_alone() {
    let mut q = Queues::new(Some(SHAPE), 4, 0.0);
    q.arrive(1, 1, 10, 0.0).unwrap();
    assert_eq!(drain(&mut q, 0.0), [1]);
    q.arrive(2, 2, 1, 0.0).unwrap();
    assert!(drain(&mut q, 0.0).is_empty());
    q.finish(1, 1.0);
    assert_eq!(drain(&mut q, 1.0), [2]);
}

/// A flow that always has 40 requests waiting and one that has two: they get alike while both want.
#[test]
fn an_elephant_does_not_starve_a_mouse() {
    let mut q = Queues::new(Some(SHAPE), 4, 0.0);
    let flows = [0x1234_5678_9abc_def0u64, 0xfedc_ba98_7654_3210];
    let (mut id, mut owner, mut waiting, mut served, mut running) = (0u64, BTreeMap::new(), [0usize; 2], [0u32; 2], VecDeque::new());
    for step in 0..2000 {
        let now = f64::from(step) * 0.1;
        for (flow, most) in [(0, 40), (1, 4)] {
            while waiting[flow] < most && q.arrive(id, flows[flow], 1, now).is_ok() {
                owner.insert(id, flow);
                waiting[flow] += 1;
                id += 1;
            }
        }
        while let Some(next) = q.next(now) {
            let flow = owner[&next];
            waiting[flow] -= 1;
            served[flow] += 1;
            running.push_back(next);
        }
        assert!(q.seats_taken() <= 4);
        while running.len() > 2 {
            let done = running.pop_front().unwrap();
            assert!(q.finish(done, now + 0.1));
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
    let mut q = Queues::new(Some(Queuing { queues: 8, hand: 3, length: 10 }), 5, 0.0);
    let (mut waits, mut runs): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
    for id in 0..20_000u64 {
        let now = id as f64 * 0.01;
        if q.arrive(id, random(12).wrapping_mul(0x9e37_79b9_7f4a_7c15), 1 + random(3), now).is_ok() {
            waits.push(id);
        }
        if random(3) == 0 && !waits.is_empty() {
            let at = random(waits.len() as u64) as usize;
            assert!(q.leave(waits.swap_remove(at)));
        }
        if random(2) == 0 && !runs.is_empty() {
            let at = random(runs.len() as u64) as usize;
            assert!(q.finish(runs.swap_remove(at), now));
        }
        for started in drain(&mut q, now) {
            waits.retain(|w| *w != started);
            runs.push(started);
        }
        assert!(q.seats_taken() <= 5, "{}", q.seats_taken());
        assert_eq!(q.requests(), (runs.len(), waits.len()));
    }
    let mut now = 1e6;
    while !q.is_idle() {
        now += 1.0;
        for r in std::mem::take(&mut runs) {
            assert!(q.finish(r, now));
        }
        runs.extend(drain(&mut q, now));
    }
    assert_eq!((q.demand(), q.seats_taken()), (0, 0));
}
