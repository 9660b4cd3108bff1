//! Files that change all at once.
//!
//! ```text
//! <volume>/key                 ─▶ ..data/key
//! <volume>/..data              ─▶ ..2026_01_02_03_04_05.0      (renamed over: the one atomic step)
//! <volume>/..2026_01_02_03_04_05.0/key
//! ```
//!
//! A reader that opens `..data` once sees one version whole. An unchanged payload touches nothing.
//! Only the node writes here: containers have such volumes read-only.
use crate::payload::Payload;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Whether a first version is there.
pub(crate) fn published(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(DATA)).is_ok()
}

/// Makes the folder show the payload; true when something changed. `finish` runs before the new version shows.
pub(crate) fn write(dir: &Path, payload: &Payload, now: Timestamp, finish: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
    let old = match fs::read_link(dir.join(DATA)) {
        Ok(target) => Some(target),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let old_files = match &old {
        Some(target) => files_of(&dir.join(target))?,
        None => BTreeSet::new(),
    };
    let gone: BTreeSet<String> = old_files.iter().filter(|f| !payload.contains_key(*f)).cloned().collect();
    let same = old.as_ref().is_some_and(|target| gone.is_empty() && unchanged(&dir.join(target), payload));
    if !same {
        let version = new_version(dir, now, old.as_deref())?;
        let shown = write_files(&dir.join(&version), payload).and_then(|()| finish()).and_then(|()| show(dir, &version));
        if let Err(e) = shown {
            let _ = fs::remove_dir_all(dir.join(&version));
            return Err(e);
        }
    }
    link(dir, payload)?;
    if !same {
        unlink(dir, payload, &gone)?;
        remove_old_versions(dir)?;
    }
    Ok(!same)
}

/// Paths of the files below a version's folder.
fn files_of(version: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let entries = match fs::read_dir(version.join(&relative)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let path = relative.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                pending.push(path);
            } else {
                found.insert(path.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}

fn unchanged(version: &Path, payload: &Payload) -> bool {
    let same = |(path, file): (&String, &crate::FileProjection)| {
        let path = version.join(path);
        // Sizes first: contents of another size needn't be read.
        fs::symlink_metadata(&path).is_ok_and(|m| m.len() == file.data.len() as u64) && fs::read(&path).is_ok_and(|d| d == file.data)
    };
    fs::symlink_metadata(version).is_ok() && payload.iter().all(same)
}

/// A new folder named after the time; within one second a number tells versions apart. It only grows, so that a
/// reader that has resolved a name never finds another version under it.
fn new_version(dir: &Path, now: Timestamp, old: Option<&Path>) -> io::Result<String> {
    let stamp = now.strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    let last = old.and_then(Path::to_str).and_then(|o| o.strip_prefix(&stamp)?.strip_prefix('.')?.parse::<u64>().ok());
    let mut n = last.map_or(0, |n| n.saturating_add(1));
    loop {
        let name = format!("{stamp}.{n}");
        match fs::DirBuilder::new().mode(0o755).create(dir.join(&name)) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => n += 1,
            other => {
                other?;
                // The mask must not take away what readers of any user need.
                fs::set_permissions(dir.join(&name), fs::Permissions::from_mode(0o755))?;
                return Ok(name);
            }
        }
    }
}

fn write_files(version: &Path, payload: &Payload) -> io::Result<()> {
    for (path, file) in payload {
        let path = version.join(path);
        if let Some(parent) = path.parent().filter(|p| *p != version) {
            fs::DirBuilder::new().recursive(true).mode(0o777).create(parent)?;
        }
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        out.write_all(&file.data)?;
        if let Some(user) = file.user {
            std::os::unix::fs::fchown(&out, Some(user), None)?;
        }
        out.set_permissions(fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

fn show(dir: &Path, version: &str) -> io::Result<()> {
    let new = dir.join(DATA_NEW);
    // Left by an end in the middle.
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    symlink(version, &new)?;
    fs::rename(&new, dir.join(DATA))
}

fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn link(dir: &Path, payload: &Payload) -> io::Result<()> {
    for name in payload.keys().map(|p| top(p)).collect::<BTreeSet<_>>() {
        let visible = dir.join(name);
        match fs::symlink_metadata(&visible) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => symlink(Path::new(DATA).join(name), &visible)?,
            other => {
                other?;
            }
        }
    }
    Ok(())
}

fn unlink(dir: &Path, payload: &Payload, gone: &BTreeSet<String>) -> io::Result<()> {
    let kept: BTreeSet<&str> = payload.keys().map(|p| top(p)).collect();
    for name in gone.iter().map(|p| top(p)).filter(|n| !kept.contains(n)).collect::<BTreeSet<_>>() {
        let visible = dir.join(name);
        if fs::symlink_metadata(&visible).is_ok_and(|m| m.is_symlink()) {
            fs::remove_file(&visible)?;
        }
    }
    Ok(())
}

/// All versions but the one that shows, also those that an end in the middle left.
fn remove_old_versions(dir: &Path) -> io::Result<()> {
    let current = fs::read_link(dir.join(DATA))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("..") && entry.file_type()?.is_dir() && Path::new(&name) != current {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
