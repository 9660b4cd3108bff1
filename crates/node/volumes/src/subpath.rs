//! One path inside a volume, made safe to mount (subPath, subPathExpr).
//!
//! A container may write into the volume and put a link anywhere, at any time. So the path is resolved first, looked at
//! (it must lie in the volume), then opened by a way without links; what is mounted is that open file, not the name.
//! What is missing is made, below the last folder that exists, again without following links.
use crate::error::SubPathError;
use crate::sys;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, statat};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

/// Binds `sub_path` of the volume to `<pod>/volume-subpaths/<key>` and gives that path. `key` is
/// `<volume>/<container>/<index of the mount>`. A sub path that is missing becomes a folder with the volume's mode.
pub fn sub_path(pod_dir: &Path, volume: &Path, sub_path: &str, key: &str) -> Result<PathBuf, SubPathError> {
    let target = pod_dir.join("volume-subpaths").join(checked_key(key)?);
    let relative = checked(sub_path)?;
    let failed = |step| move |source| failure(step, sub_path, source);
    let volume = fs::canonicalize(volume).map_err(failed("resolving the volume"))?;
    let root = open_path(&volume).map_err(failed("opening the volume"))?;
    let source = open(&root, &volume, &relative).map_err(failed("opening"))?;
    if mounted_already(&target, &source).map_err(failed("looking at the mount"))? {
        return Ok(target);
    }
    make_target(&target, &source).map_err(failed("making the mount point"))?;
    sys::bind(&sys::magic(&source), &target).map_err(failed("mounting"))?;
    Ok(target)
}

fn failure(step: &'static str, sub_path: &str, source: io::Error) -> SubPathError {
    // Beyond the volume's edge: EXDEV from the kernel, ELOOP for a link put there meanwhile.
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::XDEV | Errno::LOOP) => SubPathError::Outside { sub_path: sub_path.to_owned() },
        _ => SubPathError::Io { step, sub_path: sub_path.to_owned(), source },
    }
}

fn checked(sub_path: &str) -> Result<PathBuf, SubPathError> {
    if sub_path.starts_with('/') {
        return Err(SubPathError::Absolute(sub_path.to_owned()));
    }
    let path = Path::new(sub_path);
    if path.components().any(|c| c == Component::ParentDir) {
        return Err(SubPathError::Backstep(sub_path.to_owned()));
    }
    Ok(path.components().filter(|c| *c != Component::CurDir).collect())
}

fn checked_key(key: &str) -> Result<&Path, SubPathError> {
    let path = Path::new(key);
    let parts: Vec<Component<'_>> = path.components().collect();
    let normal = parts.len() == 3 && parts.iter().all(|c| matches!(c, Component::Normal(_)));
    if normal { Ok(path) } else { Err(SubPathError::Key(key.to_owned())) }
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens what `relative` names in the volume, making folders that are missing.
fn open(root: &OwnedFd, volume: &Path, relative: &Path) -> io::Result<OwnedFd> {
    let parts: Vec<Component<'_>> = relative.components().collect();
    // The longest part of the way that exists, with its links resolved as the host sees them.
    let mut real = volume.to_owned();
    for (n, part) in parts.iter().enumerate() {
        match fs::symlink_metadata(real.join(part)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let missing: PathBuf = parts.iter().skip(n).collect();
                return make(root, inside(volume, &real)?, &missing);
            }
            other => {
                other?;
            }
        }
        real = fs::canonicalize(real.join(part))?;
        inside(volume, &real)?;
    }
    sys::open_beneath(root, inside(volume, &real)?, OFlags::PATH)
}

fn inside<'a>(volume: &Path, real: &'a Path) -> io::Result<&'a Path> {
    real.strip_prefix(volume).map_err(|_| Errno::XDEV.into())
}

/// Makes the folders of `missing` one in the other with the volume's own permissions.
fn make(root: &OwnedFd, existing: &Path, missing: &Path) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(fstat(root)?.st_mode & 0o7777 & !0o1000);
    let mut at = sys::open_beneath(root, existing, OFlags::RDONLY | OFlags::DIRECTORY)?;
    for part in missing.components() {
        let made = match mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => false,
            other => {
                other?;
                true
            }
        };
        at = sys::open_beneath(&at, Path::new(part.as_os_str()), OFlags::RDONLY | OFlags::DIRECTORY)?;
        if made {
            fchmod(&at, mode)?;
        }
    }
    Ok(at)
}

/// True when this very file is mounted there; another one that is mounted goes (a ConfigMap has a new version).
fn mounted_already(target: &Path, source: &OwnedFd) -> io::Result<bool> {
    while sys::is_mount(target)? {
        let (there, here) = (statat(CWD, target, AtFlags::SYMLINK_NOFOLLOW)?, fstat(source)?);
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) {
            return Ok(true);
        }
        sys::detach(target)?;
    }
    Ok(false)
}

fn make_target(target: &Path, source: &OwnedFd) -> io::Result<()> {
    let is_dir = FileType::from_raw_mode(fstat(source)?.st_mode) == FileType::Directory;
    if let Some(parent) = target.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(parent)?;
    }
    match fs::symlink_metadata(target) {
        Ok(m) if m.is_dir() && !is_dir => fs::remove_dir(target)?,
        Ok(m) if !m.is_dir() && is_dir => fs::remove_file(target)?,
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    if is_dir {
        return fs::DirBuilder::new().mode(0o750).create(target);
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(target).map(drop)
}
