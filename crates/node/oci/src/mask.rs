//! Paths that a container may not see or not write to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use skiff_sys::mount::{self, RDONLY};
use skiff_sys::path::open_in_root;

use crate::error::{At, Result};

/// Opens a path that need not be there.
fn find(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<OwnedFd>> {
    match open_in_root(root, Path::new(path), libc::O_PATH) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Files look like /dev/null, folders empty.
pub(crate) fn hide(root: BorrowedFd<'_>, path: &str) -> Result<()> {
    let Some(target) = find(root, path).at(|| format!("open {path} to mask it"))? else { return Ok(()) };
    let cover = || -> io::Result<()> {
        let is_folder = open_in_root(root, Path::new(path), libc::O_PATH | libc::O_DIRECTORY).is_ok();
        let tree = if is_folder {
            mount::new_filesystem("tmpfs", &[("size", Some("0")), ("nr_inodes", Some("1"))], RDONLY)?
        } else {
            let null = open_in_root(root, Path::new("dev/null"), libc::O_PATH)?;
            mount::clone_tree(Some(null.as_fd()), Path::new(""), false)?
        };
        mount::attach(tree.as_fd(), target.as_fd())
    };
    cover().at(|| format!("mask {path}"))
}

pub(crate) fn protect(root: BorrowedFd<'_>, path: &str) -> Result<()> {
    let Some(target) = find(root, path).at(|| format!("open {path} to make it read-only"))? else { return Ok(()) };
    let cover = || -> io::Result<()> {
        let tree = mount::clone_tree(Some(target.as_fd()), Path::new(""), true)?;
        mount::set_attributes(tree.as_fd(), true, RDONLY, None)?;
        mount::attach(tree.as_fd(), target.as_fd())
    };
    cover().at(|| format!("make {path} read-only"))
}
