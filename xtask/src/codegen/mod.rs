//! `cargo xtask codegen`: reads the upstream Go modules and writes the facts that the schema crate
//! turns into tables.
//!
//! Facts are names, types, protobuf tags, list kinds, keys and defaults. Descriptions are prose and
//! are deliberately not taken. The output is a text file with one line a field, so that a version
//! bump reads as a diff.

mod go;
mod proto;
mod render;
mod resolve;
mod sources;

pub use sources::default_modcache as modcache;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Options of the task.
#[derive(clap::Args)]
pub struct Args {
    /// Only compare: fail when the committed facts are not what the modules say.
    #[arg(long)]
    check: bool,
    /// Go's module cache (default: $GOMODCACHE, then $GOPATH/pkg/mod, then ~/go/pkg/mod).
    #[arg(long)]
    modcache: Option<PathBuf>,
}

/// Generates the facts, and writes or compares them.
pub fn run(args: &Args) -> Result<()> {
    let cache = match &args.modcache {
        Some(path) => path.clone(),
        None => sources::default_modcache()?,
    };
    let packages = sources::load(&cache)?;
    let types = resolve::resolve(&packages)?;
    let text = render::render(&packages, &types);
    let target = sources::workspace_root()?.join("crates/api/schema/facts/types.txt");
    if args.check {
        let committed = std::fs::read_to_string(&target).with_context(|| format!("read the committed facts {}", target.display()))?;
        if committed != text {
            bail!("{} is stale: run `cargo xtask codegen` and commit the result", target.display());
        }
        return Ok(());
    }
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    std::fs::write(&target, text).with_context(|| format!("write {}", target.display()))?;
    println!("{} types written to {}", types.len(), target.display());
    Ok(())
}

/// Whether the committed facts are what the modules say; none when the modules are not on this machine.
pub fn fresh() -> Option<Result<()>> {
    let cache = sources::default_modcache().ok()?;
    if !sources::present(&cache) {
        return None;
    }
    Some(run(&Args { check: true, modcache: Some(cache) }))
}
