//! Image archives out of folders: a docker archive with one layer, the same bytes for the same folder.

mod debian;

pub use debian::root_of_packages;

use anyhow::Context;
use sha2::{Digest, Sha256};
use skiff_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a container of the image runs.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// `docker.io/library/demo:1`
    pub reference: String,
    pub root: PathBuf,
    pub entrypoint: Vec<String>,
    pub env: Vec<String>,
    pub user: String,
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Packs the folder, everything owned by root, into `archive`.
pub fn pack(recipe: &Recipe, archive: &Path) -> anyhow::Result<()> {
    let layer = layer(&recipe.root).with_context(|| format!("pack {}", recipe.root.display()))?;
    let layer_digest = digest(&layer);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "config": {"Entrypoint": recipe.entrypoint, "Env": recipe.env, "User": recipe.user},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
    })
    .to_string();
    let config_name = format!("{}.json", digest(config.as_bytes()));
    let layer_name = format!("{layer_digest}.tar");
    let manifest: Value = json!([{"Config": config_name, "RepoTags": [recipe.reference], "Layers": [layer_name]}]);
    let mut out = tar::Builder::new(File::create(archive).with_context(|| format!("create {}", archive.display()))?);
    for (name, bytes) in [(config_name.as_str(), config.as_bytes()), (layer_name.as_str(), &layer), ("manifest.json", manifest.to_string().as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        out.append_data(&mut header, name, bytes)?;
    }
    out.into_inner()?.flush()?;
    Ok(())
}

fn layer(root: &Path) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(&dir)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
        entries.sort();
        for path in entries {
            let meta = path.symlink_metadata()?;
            let name = path.strip_prefix(root)?;
            let mut header = tar::Header::new_gnu();
            header.set_metadata_in_mode(&meta, tar::HeaderMode::Complete);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            if meta.is_symlink() {
                header.set_size(0);
                tar.append_link(&mut header, name, std::fs::read_link(&path)?)?;
            } else if meta.is_dir() {
                tar.append_data(&mut header, name, std::io::empty())?;
                waiting.push(path);
            } else if meta.is_file() {
                tar.append_data(&mut header, name, File::open(&path)?)?;
            }
        }
    }
    Ok(tar.into_inner()?)
}

/// An image of the machine's static busybox: a shell and small servers, enough for tests.
pub fn busybox(reference: &str, work: &Path, archive: &Path) -> anyhow::Result<()> {
    let root = work.join("busybox");
    for dir in ["bin", "tmp", "etc", "root", "www"] {
        std::fs::create_dir_all(root.join(dir))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).context("copy /bin/busybox (install busybox-static)")?;
    let applets = crate::output(std::process::Command::new("/bin/busybox").arg("--list"))?;
    for name in applets.lines().filter(|n| *n != "busybox") {
        let link = root.join("bin").join(name);
        if !link.is_symlink() {
            std::os::unix::fs::symlink("busybox", link)?;
        }
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")?;
    std::fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    let recipe = Recipe { reference: reference.into(), root, entrypoint: vec!["/bin/sh".into()], env: vec!["PATH=/bin".into()], user: String::new() };
    pack(&recipe, archive)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_same_folder_gives_the_same_archive() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::write(dir.path().join("root/a"), "x").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("root/b")).unwrap();
        let recipe = Recipe { reference: "demo:1".into(), root: dir.path().join("root"), ..Default::default() };
        let (one, two) = (dir.path().join("1.tar"), dir.path().join("2.tar"));
        pack(&recipe, &one).unwrap();
        pack(&recipe, &two).unwrap();
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    }
}
