//! Directories that nothing can leave: every path is resolved by the kernel with the layer's directory as its root
//! (`openat2` with `RESOLVE_IN_ROOT` and `RESOLVE_NO_MAGICLINKS`), so `..`, absolute symlinks and symlinks that are
//! swapped in between cannot reach outside.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2, readlinkat};
use rustix::io::Errno;

/// Deepest chain of dangling symlinks that are followed to create their target.
const MAX_LINKS: usize = 40;

pub const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

pub struct Root {
    fd: OwnedFd,
    /// The directory of the last entry: entries of one directory follow each other.
    cached: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Directories that were made only because something lies in them.
    pub implicit: Vec<PathBuf>,
}

impl Root {
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, cached: None, implicit: Vec::new() })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// To be called when a name may mean another directory from now on.
    pub fn forget(&mut self) {
        self.cached = None;
    }

    /// An existing directory, through symlinks that stay in the root.
    pub fn directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        open_directory(self.fd.as_fd(), path)
    }

    /// The directory, made with its parents where it is missing.
    pub fn make(&mut self, components: &[&[u8]]) -> io::Result<Rc<OwnedFd>> {
        let path = components.join(&b'/');
        if let Some((cached, fd)) = &self.cached
            && *cached == path
        {
            return Ok(fd.clone());
        }
        let fd = match self.directory(&path) {
            Ok(fd) => fd,
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.make_all(components, MAX_LINKS)?,
            Err(e) => return Err(e),
        };
        let fd = Rc::new(fd);
        self.cached = Some((path, fd.clone()));
        Ok(fd)
    }

    fn make_all(&mut self, components: &[&[u8]], links: usize) -> io::Result<OwnedFd> {
        let mut current = self.directory(b"")?;
        for (i, name) in components.iter().enumerate() {
            let prefix = components.get(..=i).unwrap_or_default().join(&b'/');
            current = match self.directory(&prefix) {
                Ok(fd) => fd,
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.make_one(&current, name, components.get(..i).unwrap_or_default(), links)?,
                Err(e) => return Err(e),
            };
        }
        Ok(current)
    }

    fn make_one(&mut self, parent: &OwnedFd, name: &[u8], above: &[&[u8]], links: usize) -> io::Result<OwnedFd> {
        match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                let path = above.iter().chain([&name]).copied().collect::<Vec<_>>().join(&b'/');
                self.implicit.push(PathBuf::from(OsStr::from_bytes(&path)));
                open_child(parent.as_fd(), name)
            }
            // A symlink whose target isn't there yet: make the target.
            Err(Errno::EXIST) if links > 0 => {
                let target = readlinkat(parent, name, Vec::new())?.into_bytes();
                let absolute = target.starts_with(b"/");
                let joined = if absolute { target } else { [&above.join(&b'/'), b"/".as_slice(), &target].concat() };
                let parts = clean(&joined);
                self.make_all(&parts, links - 1)
            }
            Err(e) => Err(e.into()),
        }
    }
}

/// A directory below `root`, through symlinks that stay in it.
pub fn open_directory(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { b".".as_slice() } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    loop {
        match openat2(root, path, flags, Mode::empty(), IN_ROOT) {
            // The kernel asks for another try when something was renamed meanwhile.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// A directory by its own name, not through a symlink.
pub fn open_child(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// A path for calls that take none relative to a descriptor. `name` must be one component.
pub fn proc_path(parent: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(OsStr::from_bytes(name))
}

/// Lexical components, with `.` dropped and `..` kept inside.
pub fn clean(path: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}
