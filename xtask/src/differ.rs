//! The same requests to an upstream API server and to Skiff, answers compared: `cargo xtask differ`.
//!
//! [`kinds`] says what to ask about: every kind of upstream's discovery, with seeds of `tests/differ/objects.jsonl` and the
//! golden objects of upstream's modules. [`life`] and [`fields`] make the requests, [`side`] sends them, [`compare`] takes
//! out what differs between any two servers, `reasons.tsv` knows the differences that are meant to be. Anything else is
//! shown, and fails the task.
//!
//! Nothing else must change objects meanwhile: `tests/differ/servers.sh` starts both without controllers.

mod compare;
mod fields;
mod kinds;
mod life;
mod request;
mod side;

use crate::http::Client;
use crate::reasons::Reasons;
use anyhow::{Context, bail};
use compare::Difference;
use kinds::Kind;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;

#[derive(clap::Args)]
pub struct Args {
    /// Kubeconfig of the upstream API server
    #[arg(long)]
    upstream: PathBuf,
    /// Kubeconfig of the server to look at
    #[arg(long)]
    skiff: PathBuf,
    /// Kinds at once
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Only cases that match this pattern are shown; the requests before them are sent all the same
    #[arg(long, default_value = "")]
    case: String,
    /// Only kinds whose title (`deployments.apps/v1`) contains one of these
    only: Vec<String>,
}

/// What came out for one kind.
#[derive(Default)]
struct Outcome {
    title: String,
    requests: usize,
    equal: usize,
    explained: usize,
    /// Cases with differences that nothing explains.
    open: Vec<(String, Vec<Difference>)>,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    let dir = crate::root().join("tests/differ");
    let reasons = Reasons::read(&dir.join("reasons.tsv"))?;
    let case = regex::Regex::new(&args.case).context("read --case")?;
    let (theirs, ours) = (Client::of(&args.upstream)?, Client::of(&args.skiff)?);
    let mut kinds = kinds::discover(&mut theirs.connect()?).context("ask upstream for its kinds")?;
    kinds::seed(&mut kinds, &dir.join("objects.jsonl"))?;
    match kinds::golden_folder() {
        Some(folder) => println!("{} golden objects", kinds::read_golden(&mut kinds, &folder)?),
        None => println!("skipped: golden objects, for k8s.io/api is not in Go's module cache"),
    }
    kinds.retain(|k| args.only.is_empty() || args.only.iter().any(|o| k.title().contains(o.as_str())));
    side::prepare(&theirs).context("prepare upstream")?;
    side::prepare(&ours).context("prepare Skiff")?;
    let queue = Mutex::new(kinds.iter().collect::<VecDeque<_>>());
    let work = || -> anyhow::Result<Vec<Outcome>> {
        let mut done = Vec::new();
        while let Some(kind) = queue.lock().ok().and_then(|mut q| q.pop_front()) {
            done.push(ask(kind, &theirs, &ours, &reasons).with_context(|| kind.title())?);
        }
        Ok(done)
    };
    let outcomes: Vec<_> = std::thread::scope(|s| {
        let workers: Vec<_> = (0..args.jobs.max(1)).map(|_| s.spawn(work)).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))).collect()
    });
    let mut outcomes = outcomes.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat_sorted();
    outcomes.iter_mut().for_each(|o| o.open.retain(|(name, _)| case.is_match(name)));
    report(&outcomes, &reasons)
}

trait Concat {
    fn concat_sorted(self) -> Vec<Outcome>;
}
impl Concat for Vec<Vec<Outcome>> {
    fn concat_sorted(self) -> Vec<Outcome> {
        let mut all: Vec<Outcome> = self.into_iter().flatten().collect();
        all.sort_by(|a, b| a.title.cmp(&b.title));
        all
    }
}

fn ask(kind: &Kind, theirs: &Client, ours: &Client, reasons: &Reasons) -> anyhow::Result<Outcome> {
    let (mut theirs, mut ours) = (side::Side::new(theirs)?, side::Side::new(ours)?);
    theirs.begin(kind)?;
    ours.begin(kind)?;
    let mut outcome = Outcome { title: kind.title(), ..Outcome::default() };
    for request in life::requests(kind) {
        let (a, b) = (theirs.answer(kind, &request), ours.answer(kind, &request));
        let name = format!("{}: {}", outcome.title, request.name);
        let all = compare::differences(&compare::document(&a), &compare::document(&b));
        let open: Vec<Difference> = all.iter().filter(|d| !reasons.explain(&name, &d.at)).cloned().collect();
        outcome.requests += 1;
        match (all.is_empty(), open.is_empty()) {
            (true, _) => outcome.equal += 1,
            (_, true) => outcome.explained += 1,
            _ => outcome.open.push((name, open)),
        }
    }
    Ok(outcome)
}

fn report(outcomes: &[Outcome], reasons: &Reasons) -> anyhow::Result<()> {
    for (name, differences) in outcomes.iter().flat_map(|o| &o.open) {
        println!("### {name}");
        for d in differences {
            let (theirs, ours) = d.shown();
            println!("  {}\n    - {theirs}\n    + {ours}", d.at);
        }
    }
    println!("\n{:<60} requests  equal  explained  open", "kind");
    let mut sum = [0; 4];
    for o in outcomes {
        let row = [o.requests, o.equal, o.explained, o.open.len()];
        println!("{:<60} {:>8} {:>6} {:>10} {:>5}", o.title, row[0], row[1], row[2], row[3]);
        sum.iter_mut().zip(row).for_each(|(s, n)| *s += n);
    }
    println!("{:<60} {:>8} {:>6} {:>10} {:>5}", "all", sum[0], sum[1], sum[2], sum[3]);
    reasons.report();
    if sum[3] > 0 {
        bail!("{} cases differ without a reason", sum[3]);
    }
    Ok(())
}
