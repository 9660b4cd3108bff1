//! `cargo xtask fuzz`: the targets on stable Rust.

use anyhow::{Context, bail};
use clap::Parser;
use skiff_fuzz::campaign::{self, Until};
use skiff_fuzz::{ALL, Target, by_name};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Parser)]
struct Args {
    /// Targets; all of them when none is named
    targets: Vec<String>,
    /// Seconds a target
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Where the changes begin; the same number gives the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the input that is being tried and for those that fail
    #[arg(long, default_value = "target/fuzz")]
    dir: PathBuf,
    /// Try this file instead of made inputs
    #[arg(long)]
    input: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let chosen: Vec<&Target> = match &args.targets[..] {
        [] => ALL.iter().collect(),
        names => names
            .iter()
            .map(|n| by_name(n).with_context(|| format!("there is no target {n:?}; there are: {}", ALL.iter().map(|t| t.name).collect::<Vec<_>>().join(", "))))
            .collect::<Result<_, _>>()?,
    };
    if let Some(path) = &args.input {
        let input = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        chosen.iter().for_each(|t| (t.run)(&input));
        return Ok(());
    }
    std::fs::create_dir_all(&args.dir).with_context(|| format!("make {}", args.dir.display()))?;
    let mut failed = Vec::new();
    for target in chosen {
        let trying = args.dir.join(format!("{}.trying", target.name));
        let outcome = campaign::run(target, args.seed, Until::Elapsed(Duration::from_secs(args.seconds)), |input| {
            let _ = std::fs::write(&trying, input);
        });
        let _ = std::fs::remove_file(&trying);
        println!("{}: {} inputs, slowest {:.1} ms ({} bytes)", target.name, outcome.inputs, outcome.slowest.0.as_secs_f64() * 1000.0, outcome.slowest.1.len());
        let _ = std::fs::write(args.dir.join(format!("{}.slowest", target.name)), &outcome.slowest.1);
        if let Some((input, said)) = outcome.panic {
            let path = args.dir.join(format!("{}.failed", target.name));
            std::fs::write(&path, &input).with_context(|| format!("write {}", path.display()))?;
            println!("{} panicked ({said}) on {}: {}", target.name, path.display(), campaign::quoted(&input[..input.len().min(400)]));
            failed.push(target.name);
        }
    }
    if !failed.is_empty() {
        bail!("these targets panicked: {}", failed.join(", "));
    }
    Ok(())
}
