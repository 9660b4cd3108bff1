//! Writes one layer into a directory that serves as an overlay lower directory.
//!
//! Whiteouts become character devices 0:0 and opaque directories carry `trusted.overlay.opaque`, so a layer's directory
//! depends on no other layer. Metadata is written in the order that the kernel needs: owner, mode, attributes, times;
//! times of directories come last. Nothing is read from the layers below; [`inherit`] fixes up directories that the layer
//! only passes through.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr, ftruncate, futimens,
    linkat, lsetxattr, makedev, mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::rooted::{Root, clean, open_child, open_directory, proc_path};
use crate::tarball::{Entry, Kind, TarReader};

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const OVERLAY_ATTRIBUTES: &[u8] = b"trusted.overlay.";
const COPY: usize = 128 << 10;

/// What a layer has put on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of file content.
    pub bytes: u64,
    pub inodes: u64,
    /// Directories without an entry of their own.
    pub implicit: Vec<PathBuf>,
}

/// Unpacks the tar stream into the existing directory `root`.
pub fn unpack(reader: &mut dyn Read, root: &Path) -> Result<Unpacked> {
    let mut layer = Layer {
        root: Root::open(root).map_err(Error::io("opening the layer directory", root))?,
        done: Unpacked::default(),
        directories: Vec::new(),
        buffer: vec![0; COPY],
    };
    let mut tar = TarReader::new(reader);
    while let Some(entry) = tar.next_entry()? {
        layer.apply(&entry, &mut tar).map_err(|(step, source)| failed(&entry, step, source))?;
    }
    layer.finish().map_err(Error::io("setting the times of directories", root))
}

fn failed(entry: &Entry, step: &'static str, source: io::Error) -> Error {
    Error::Entry { step, entry: String::from_utf8_lossy(&entry.path).chars().take(300).collect(), source }
}

type Step<T = ()> = Result<T, (&'static str, io::Error)>;

/// Names the step that an error came from.
fn at<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> (&'static str, io::Error) {
    move |e| (step, e.into())
}

struct Layer {
    root: Root,
    done: Unpacked,
    /// Times of directories, to be set once nothing is written into them any more.
    directories: Vec<(Vec<u8>, (i64, u32))>,
    buffer: Vec<u8>,
}

impl Layer {
    fn apply<R: Read>(&mut self, entry: &Entry, content: &mut TarReader<R>) -> Step {
        if matches!(entry.kind, Kind::Other(_)) {
            return Ok(());
        }
        let parts = clean(&entry.path);
        if entry.path.contains(&0) || entry.link.contains(&0) {
            return Err(("checking the name", io::Error::new(io::ErrorKind::InvalidInput, "a name contains NUL")));
        }
        let Some((name, above)) = parts.split_last() else { return self.root_entry(entry) };
        let parent = self.root.make(above).map_err(at("making the parent directory"))?;
        let parent = parent.as_fd();
        if *name == OPAQUE {
            return set_opaque(parent);
        }
        if name.starts_with(WHITEOUT_META) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(parent, hidden);
        }
        let hides = self.make_room(parent, name, entry.kind)?;
        self.create(parent, name, entry, content)?;
        self.done.inodes += 1;
        if entry.kind == Kind::Directory {
            self.directories.push((parts.join(&b'/'), entry.mtime));
            if hides {
                // The layer hid what was there and then made it anew: nothing from below shows through.
                set_opaque(open_child(parent, name).map_err(at("opening the directory"))?.as_fd())?;
            }
        }
        Ok(())
    }

    /// An entry for the root itself carries its owner, mode and times.
    fn root_entry(&mut self, entry: &Entry) -> Step {
        if entry.kind != Kind::Directory {
            return Ok(());
        }
        let fd = self.root.directory(b"").map_err(at("opening the root"))?;
        self.directories.push((Vec::new(), entry.mtime));
        metadata(&fd, entry)
    }

    fn whiteout(&mut self, parent: BorrowedFd<'_>, hidden: &[u8]) -> Step {
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(("making a whiteout", io::Error::new(io::ErrorKind::InvalidInput, "the whiteout names nothing")));
        }
        match mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => {
                self.done.inodes += 1;
                Ok(())
            }
            // Whiteouts hide what is below, not what this layer brings itself.
            Err(Errno::EXIST) => match open_child(parent, hidden) {
                Ok(directory) => set_opaque(directory.as_fd()),
                Err(_) => Ok(()),
            },
            Err(e) => Err(("making a whiteout", e.into())),
        }
    }

    /// Removes what an entry replaces. Says whether that was a whiteout.
    fn make_room(&mut self, parent: BorrowedFd<'_>, name: &[u8], kind: Kind) -> Step<bool> {
        let old = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(old) => old,
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(("looking for an older entry", e.into())),
        };
        let old_kind = FileType::from_raw_mode(old.st_mode);
        if old_kind == FileType::Directory && kind == Kind::Directory {
            return Ok(false);
        }
        self.root.forget();
        if old_kind == FileType::Directory {
            std::fs::remove_dir_all(proc_path(parent, name)).map_err(at("removing an older directory"))?;
        } else {
            unlinkat(parent, name, AtFlags::empty()).map_err(at("removing an older entry"))?;
        }
        Ok(is_whiteout(&old))
    }

    fn create<R: Read>(&mut self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry, content: &mut TarReader<R>) -> Step {
        let mode = Mode::from_raw_mode(entry.mode);
        match entry.kind {
            Kind::File => self.file(parent, name, entry, content),
            Kind::Directory => {
                match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(("making a directory", e.into())),
                }
                metadata(&open_child(parent, name).map_err(at("opening the directory"))?, entry)
            }
            Kind::HardLink => self.hard_link(parent, name, &entry.link),
            Kind::Symlink => {
                symlinkat(entry.link.as_slice(), parent, name).map_err(at("making a symlink"))?;
                self.root.forget();
                special_metadata(parent, name, entry)
            }
            Kind::Char | Kind::Block => {
                let kind = if entry.kind == Kind::Char { FileType::CharacterDevice } else { FileType::BlockDevice };
                mknodat(parent, name, kind, mode, makedev(entry.major, entry.minor)).map_err(at("making a device node"))?;
                special_metadata(parent, name, entry)
            }
            Kind::Fifo => {
                mknodat(parent, name, FileType::Fifo, mode, 0).map_err(at("making a fifo"))?;
                special_metadata(parent, name, entry)
            }
            Kind::Other(_) => Ok(()),
        }
    }

    fn file<R: Read>(&mut self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry, content: &mut TarReader<R>) -> Step {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(parent, name, flags, Mode::from_raw_mode(0o600)).map_err(at("making a file"))?;
        let file = File::from(fd);
        let whole = [(0, entry.size)];
        let parts = entry.sparse.as_deref().unwrap_or(&whole);
        for (offset, length) in parts {
            self.copy(&file, content, *offset, *length).map_err(at("writing a file"))?;
        }
        if entry.sparse.is_some() {
            ftruncate(&file, entry.size).map_err(at("setting the size of a sparse file"))?;
        }
        let fd = OwnedFd::from(file);
        metadata(&fd, entry)?;
        set_times(&fd, entry.mtime).map_err(at("setting times"))
    }

    fn copy<R: Read>(&mut self, file: &File, content: &mut TarReader<R>, mut offset: u64, mut left: u64) -> io::Result<()> {
        while left > 0 {
            let want = left.min(self.buffer.len() as u64) as usize;
            let buffer = self.buffer.get_mut(..want).unwrap_or_default();
            let n = content.read(buffer)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.write_all_at(buffer.get(..n).unwrap_or_default(), offset)?;
            offset += n as u64;
            left -= n as u64;
            self.done.bytes += n as u64;
        }
        Ok(())
    }

    fn hard_link(&mut self, parent: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> Step {
        let parts = clean(target);
        let Some((target_name, above)) = parts.split_last() else {
            return Err(("making a hard link", io::Error::new(io::ErrorKind::InvalidInput, "it points to the root")));
        };
        let directory = self.root.directory(&above.join(&b'/')).map_err(at("finding the target of a hard link"))?;
        linkat(&directory, *target_name, parent, name, AtFlags::empty()).map_err(at("making a hard link"))
    }

    fn finish(mut self) -> io::Result<Unpacked> {
        for (path, mtime) in self.directories.iter().rev() {
            // A later entry may have replaced the directory.
            if let Ok(fd) = open_directory(self.root.fd(), path) {
                set_times(&fd, *mtime)?;
            }
        }
        let explicit: std::collections::HashSet<_> = self.directories.iter().map(|(path, _)| path.as_slice()).collect();
        self.done.implicit = std::mem::take(&mut self.root.implicit);
        self.done.implicit.retain(|path| !explicit.contains(path.as_os_str().as_encoded_bytes()));
        Ok(self.done)
    }
}

/// Gives directories that a layer only passes through the owner, mode and times that they have further down.
/// `lowers` are the directories of the layers below, topmost first.
pub fn inherit(layer: &Path, implicit: &[PathBuf], lowers: &[PathBuf]) -> Result<()> {
    if implicit.is_empty() {
        return Ok(());
    }
    let open = |path: &Path| Root::open(path).map_err(Error::io("opening a layer", path));
    let root = open(layer)?;
    let lowers = lowers.iter().map(|path| open(path)).collect::<Result<Vec<_>>>()?;
    for path in implicit {
        let bytes = path.as_os_str().as_encoded_bytes();
        let Ok(directory) = root.directory(bytes) else { continue };
        let Some(below) = lowers.iter().find_map(|lower| lower.directory(bytes).ok()) else { continue };
        copy_metadata(&below, &directory).map_err(|e| Error::Io {
            step: "copying the mode of a directory from the layer below",
            path: path.clone(),
            source: e.into(),
        })?;
    }
    Ok(())
}

fn copy_metadata(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    futimens(
        to,
        &Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
        },
    )
}

pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn set_opaque(directory: BorrowedFd<'_>) -> Step {
    fsetxattr(directory, "trusted.overlay.opaque", b"y", XattrFlags::empty()).map_err(at("marking a directory opaque"))
}

fn owner(entry: &Entry) -> Step<(Uid, Gid)> {
    match (u32::try_from(entry.uid), u32::try_from(entry.gid)) {
        (Ok(uid), Ok(gid)) if uid != u32::MAX && gid != u32::MAX => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(("setting the owner", io::Error::new(io::ErrorKind::InvalidInput, "the owner is out of range"))),
    }
}

/// Owner, mode, attributes of a file or directory that is open. The owner comes first: it clears the others.
fn metadata(fd: &OwnedFd, entry: &Entry) -> Step {
    let (uid, gid) = owner(entry)?;
    fchown(fd, Some(uid), Some(gid)).map_err(at("setting the owner"))?;
    fchmod(fd, Mode::from_raw_mode(entry.mode)).map_err(at("setting the mode"))?;
    for (name, value) in attributes(entry) {
        tolerate(fsetxattr(fd, name, value, XattrFlags::empty()))?;
    }
    Ok(())
}

/// The same for what must not be opened.
fn special_metadata(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Step {
    let (uid, gid) = owner(entry)?;
    chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(at("setting the owner"))?;
    if entry.kind != Kind::Symlink {
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty()).map_err(at("setting the mode"))?;
    }
    for (key, value) in attributes(entry) {
        tolerate(lsetxattr(proc_path(parent, name), key, value, XattrFlags::empty()))?;
    }
    utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(at("setting times"))
}

/// The overlay's own attributes are ours to set: an image could otherwise redirect a directory elsewhere.
fn attributes(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    entry.xattrs.iter().filter(|(name, _)| !name.starts_with(OVERLAY_ATTRIBUTES) && !name.contains(&0)).map(|(name, value)| (name.as_slice(), value.as_slice()))
}

/// Attributes that the file system or the kind of file can't have are left out, as containerd does.
fn tolerate(result: rustix::io::Result<()>) -> Step {
    match result {
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(Errno::PERM) => Ok(()),
        Err(e) => Err(("setting an extended attribute", e.into())),
    }
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn set_times(fd: &OwnedFd, mtime: (i64, u32)) -> io::Result<()> {
    Ok(futimens(fd, &times(mtime))?)
}
