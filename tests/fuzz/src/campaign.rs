//! A target under changed inputs for a while. A panic is caught and told with its input; a stack that overflows ends the
//! process, which leaves the input in the file that was written before it ran.

use crate::Target;
use crate::mutate::{Random, mutate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Inputs that are kept to begin from.
const KEPT: usize = 256;

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    pub inputs: u64,
    /// The slowest input and what it took.
    pub slowest: (Duration, Vec<u8>),
    /// The first input that made the target panic, and what it said.
    pub panic: Option<(Vec<u8>, String)>,
}

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Inputs(u64),
    Elapsed(Duration),
}

/// Runs the seeds, then changes of them. `before` sees each input before it is tried.
pub fn run(target: &Target, seed: u64, until: Until, mut before: impl FnMut(&[u8])) -> Outcome {
    let mut random = Random::new(seed);
    let mut pool: Vec<Vec<u8>> = (target.seeds)();
    let mut waiting = pool.clone();
    let mut outcome = Outcome { inputs: 0, slowest: (Duration::ZERO, Vec::new()), panic: None };
    let start = Instant::now();
    let goes_on = |inputs: u64| match until {
        Until::Inputs(most) => inputs < most,
        Until::Elapsed(most) => start.elapsed() < most,
    };
    let seeds = pool.len();
    while !waiting.is_empty() || goes_on(outcome.inputs) {
        let input = waiting.pop().unwrap_or_else(|| {
            let (one, other) = (random.below(pool.len()), random.below(pool.len()));
            mutate(&mut random, pool.get(one).map_or(b"", Vec::as_slice), pool.get(other).map_or(b"", Vec::as_slice))
        });
        before(&input);
        let begun = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        let took = begun.elapsed();
        outcome.inputs += 1;
        if let Err(panic) = ended {
            let said = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            outcome.panic = Some((input, said.unwrap_or_default()));
            return outcome;
        }
        if took > outcome.slowest.0 {
            outcome.slowest = (took, input.clone());
        }
        // Without coverage there is no telling what is new: now and then a change is taken further.
        if random.below(8) == 0 && input.len() < 8192 {
            let at = random.below(KEPT);
            match pool.get_mut(at) {
                Some(old) if at >= seeds => *old = input,
                Some(_) => {}
                None => pool.push(input),
            }
        }
    }
    outcome
}

/// The input as a Rust byte string, for a test that keeps it from coming back.
pub fn quoted(input: &[u8]) -> String {
    format!("b\"{}\"", input.escape_ascii())
}
