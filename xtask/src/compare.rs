//! The real kubectl against a real upstream cluster and against Skiff: the same command lines, the outputs compared.
//!
//! Cases are the files of `tests/compare`: lines that [`script`] reads. Each case has a namespace of its own on both
//! clusters, which goes afterwards. [`normalise`] takes out what differs between any two clusters (ages, addresses, uids,
//! revisions, generated names), `reasons.tsv` has the lines that are meant to differ; everything else is shown. Both clusters must hold the images of the
//! Conformance suite.

mod normalise;
mod run;
mod script;

use crate::reasons::Reasons;
use anyhow::{Context, bail};
use run::{Outcome, Side};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Kubeconfig of the upstream cluster
    #[arg(long)]
    upstream: PathBuf,
    /// Kubeconfig of the cluster to look at
    #[arg(long)]
    skiff: PathBuf,
    /// The kubectl to use
    #[arg(long, default_value = "kubectl")]
    kubectl: String,
    /// Folder of the cases
    #[arg(long)]
    cases: Option<PathBuf>,
    /// Only cases whose name contains one of these
    only: Vec<String>,
    /// Show equal outputs, too
    #[arg(long)]
    verbose: bool,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    let dir = args.cases.clone().unwrap_or_else(|| crate::root().join("tests/compare"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .with_context(|| format!("read {}", dir.display()))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "case"))
        .collect();
    files.sort();
    let reasons = Reasons::read(&dir.join("reasons.tsv"))?;
    let (mut equal, mut explained, mut different) = (0, 0, Vec::new());
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !args.only.is_empty() && !args.only.iter().any(|o| name.contains(o.as_str())) {
            continue;
        }
        let steps = script::parse(&std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?)
            .with_context(|| format!("read {}", file.display()))?;
        let side = |config: &PathBuf| Side::new(config, &args.kubectl, &name, &dir.join("files"));
        let (upstream, skiff) = (side(&args.upstream)?, side(&args.skiff)?);
        let (theirs, ours) = std::thread::scope(|s| {
            let theirs = s.spawn(|| upstream.run(&steps));
            (skiff.run(&steps), theirs.join())
        })
        .into_pair()?;
        let found = verdicts(&name, &steps, (&theirs, &ours), &reasons, args.verbose);
        println!("{name}: {} equal, {} explained, {} different", found.equal, found.explained, found.different.len());
        equal += found.equal;
        explained += found.explained;
        different.extend(found.different);
    }
    println!("{equal} equal, {explained} explained, {} different", different.len());
    reasons.report();
    if !different.is_empty() {
        bail!("outputs differ:\n  {}", different.join("\n  "));
    }
    Ok(())
}

/// Joined threads as one result.
trait IntoPair {
    fn into_pair(self) -> anyhow::Result<(Vec<Outcome>, Vec<Outcome>)>;
}
impl IntoPair for (anyhow::Result<Vec<Outcome>>, std::thread::Result<anyhow::Result<Vec<Outcome>>>) {
    fn into_pair(self) -> anyhow::Result<(Vec<Outcome>, Vec<Outcome>)> {
        let theirs = self.1.map_err(|_| anyhow::anyhow!("the upstream side panicked"))?;
        Ok((theirs?, self.0?))
    }
}

/// How many steps gave the same, or what is meant to differ, and the names of the others.
#[derive(Default)]
struct Verdicts {
    equal: usize,
    explained: usize,
    different: Vec<String>,
}

fn verdicts(case: &str, steps: &[script::Step], (theirs, ours): (&[Outcome], &[Outcome]), reasons: &Reasons, verbose: bool) -> Verdicts {
    let mut found = Verdicts::default();
    for ((step, theirs), ours) in steps.iter().zip(theirs).zip(ours) {
        if !step.compared() && theirs.code == ours.code {
            continue;
        }
        let (a, b) = (step.view(&theirs.text), step.view(&ours.text));
        if a == b && theirs.code == ours.code {
            found.equal += 1;
            if verbose {
                println!("=== {case}: {}\n{b}", step.command);
            }
            continue;
        }
        let lines = normalise::difference(&a, &b);
        let name = format!("{case}: {}", step.command);
        // All of them are looked up, so that the count of each reason is right.
        let open = lines.iter().filter(|l| !l.starts_with(' ')).filter(|l| !reasons.explain(&name, l[1..].trim())).count();
        if open == 0 && theirs.code == ours.code {
            found.explained += 1;
            continue;
        }
        println!("### {name}");
        if theirs.code != ours.code {
            println!("    exit {} upstream, {} here", theirs.code, ours.code);
        }
        for line in lines {
            println!("    {line}");
        }
        found.different.push(name);
    }
    found
}
