//! A root tree out of Debian packages, without maintainer scripts.
use crate::{output, run};
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Command;

/// Unpacks the packages with all that they depend on into `root`. Documentation is left out.
pub fn root_of_packages(packages: &[&str], cache: &Path, root: &Path) -> anyhow::Result<()> {
    let plan = output(
        Command::new("apt-get")
            .args(["-s", "-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=1", "install", "--no-install-recommends"])
            .args(packages),
    )
    .context("resolve packages (has `apt-get update` run?)")?;
    let wanted: Vec<String> = plan.lines().filter_map(|l| l.strip_prefix("Inst ")).filter_map(|l| l.split_whitespace().next().map(str::to_owned)).collect();
    if wanted.is_empty() {
        bail!("apt-get resolves nothing for {packages:?}");
    }
    std::fs::create_dir_all(cache)?;
    std::fs::create_dir_all(root)?;
    let have = |name: &str| -> anyhow::Result<Option<std::path::PathBuf>> {
        let prefix = format!("{name}_");
        for e in std::fs::read_dir(cache)? {
            let e = e?;
            if e.file_name().to_string_lossy().starts_with(&prefix) {
                return Ok(Some(e.path()));
            }
        }
        Ok(None)
    };
    let mut missing = Vec::new();
    for name in &wanted {
        if have(name)?.is_none() {
            missing.push(name.as_str());
        }
    }
    if !missing.is_empty() {
        run(Command::new("apt-get").current_dir(cache).args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(&missing))?;
    }
    for name in &wanted {
        let file = have(name)?.with_context(|| format!("package {name} was not downloaded"))?;
        run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(root))?;
    }
    for extra in ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/cache/apt"] {
        let path = root.join(extra);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}
