//! A release that knows its work: built once to count where it goes, run with the requests of the benchmarks, and built again by
//! those counts (profile-guided optimisation, the rustc book). Nothing of the counts is kept in the project: they fit one compiler.
use super::{compile, host, target};
use crate::{bench, output, run};
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What counts need not be optimised as a whole.
const QUICK: [(&str, &str); 3] = [("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")];

/// Builds, trains and builds again; gives the path of the binary.
pub(super) fn binary() -> anyhow::Result<PathBuf> {
    // Cargo takes them in place of ours.
    ensure!(std::env::var_os("RUSTFLAGS").is_none(), "RUSTFLAGS is set, which leaves no flags of ours: unset it");
    let merger = merger()?;
    let folder = target().join("training");
    let (counts, merged) = (folder.join("counts"), folder.join("skiff.profdata"));
    eprintln!("building what counts …");
    let counting = compile(true, &[format!("profile-generate={}", counts.display())], &folder, &QUICK)?;
    // Counts of an earlier source would be of other functions.
    if counts.exists() {
        std::fs::remove_dir_all(&counts).with_context(|| format!("remove {}", counts.display()))?;
    }
    eprintln!("training it …");
    bench::exercise(counting).context("train the binary")?;
    let found = raw(&counts)?;
    run(Command::new(&merger).arg("merge").arg("-o").arg(&merged).args(&found))?;
    eprintln!("building by what it counted …");
    let by_counts = [
        format!("profile-use={}", merged.display()),
        // Functions that the work did not reach are many, and no news; they are made small.
        "llvm-args=-pgo-warn-missing-function=false -pgso-lwss-only=false".into(),
    ];
    compile(true, &by_counts, &target().join("trained"), &[])
}

/// The files that the processes left.
fn raw(counts: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(counts).with_context(|| format!("read {}: the binary that counts left nothing", counts.display()))?;
    let mut found = entries.map(|e| Ok(e?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    found.retain(|p| p.extension().is_some_and(|e| e == "profraw"));
    ensure!(!found.is_empty(), "{} has no counts: was the server killed?", counts.display());
    found.sort();
    Ok(found)
}

/// The program that merges counts, of the compiler's own LLVM: others cannot read them.
fn merger() -> anyhow::Result<PathBuf> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let major = major(&version).context("rustc does not tell its LLVM")?;
    let own = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let own = Path::new(own.trim()).join("lib/rustlib").join(host()?).join("bin/llvm-profdata");
    let candidates = [own, format!("llvm-profdata-{major}").into()];
    match candidates.iter().find(|c| c.is_file() || c.to_str().is_some_and(crate::has)) {
        Some(found) => Ok(found.clone()),
        None => bail!("there is no llvm-profdata of LLVM {major}: `rustup component add llvm-tools`, or install the package llvm-{major}"),
    }
}

/// The first number of the compiler's LLVM: `LLVM version: 22.1.2`.
fn major(version: &str) -> Option<&str> {
    version.lines().find_map(|l| l.strip_prefix("LLVM version: "))?.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_llvm() {
        assert_eq!(major("rustc 1.95.0\nhost: x\nLLVM version: 22.1.2\n"), Some("22"));
        assert_eq!(major("rustc 1.95.0\nhost: x\n"), None);
    }

    #[test]
    fn no_counts_are_an_error_that_says_so() {
        let folder = std::env::temp_dir().join(format!("skiff-counts-{}", std::process::id()));
        assert!(raw(&folder).unwrap_err().to_string().contains("left nothing"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("other"), "").unwrap();
        assert!(raw(&folder).unwrap_err().to_string().contains("no counts"));
        std::fs::write(folder.join("a.profraw"), "").unwrap();
        assert_eq!(raw(&folder).unwrap(), [folder.join("a.profraw")]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
