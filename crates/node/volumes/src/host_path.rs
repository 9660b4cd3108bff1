//! The types of hostPath volumes: what has to be there, and what is made when it isn't.
//! <https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types>
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing is checked.
    Unset,
    DirectoryOrCreate,
    Directory,
    FileOrCreate,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

impl PathKind {
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" => Self::Unset,
            "DirectoryOrCreate" => Self::DirectoryOrCreate,
            "Directory" => Self::Directory,
            "FileOrCreate" => Self::FileOrCreate,
            "File" => Self::File,
            "Socket" => Self::Socket,
            "CharDevice" => Self::CharDevice,
            "BlockDevice" => Self::BlockDevice,
            other => return Err(format!("{other} is an invalid volume type")),
        })
    }

    /// The type that matches and its name in messages.
    fn expected(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Unset => None,
            Self::Directory | Self::DirectoryOrCreate => Some(("Directory", "directory")),
            Self::File | Self::FileOrCreate => Some(("File", "file")),
            Self::Socket => Some(("Socket", "socket file")),
            Self::CharDevice => Some(("CharDevice", "character device")),
            Self::BlockDevice => Some(("BlockDevice", "block device")),
        }
    }
}

/// Makes or checks the path. `mode` is for a folder made here.
pub(crate) fn prepare(path: &Path, kind: PathKind, mode: u32) -> Result<(), String> {
    let Some((want, name)) = kind.expected() else { return Ok(()) };
    let exists = fs::metadata(path).is_ok();
    let failed = |what: &str, e: io::Error| format!("{what} {}: {e}", path.display());
    match kind {
        PathKind::DirectoryOrCreate if !exists => return make_directory(path, mode).map_err(|e| failed("mkdir", e)),
        PathKind::FileOrCreate if !exists => {
            let made = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o644).open(path);
            return made.map(drop).map_err(|e| failed("open", e));
        }
        _ => {}
    }
    match file_type(path) {
        Ok(found) if found == want => Ok(()),
        Ok(found) => Err(format!("hostPath type check failed: {} is not a {name}, it's a {found}", path.display())),
        Err(e) => Err(format!("hostPath type check failed, {} is not a {name}, unable to determine its type: {e}", path.display())),
    }
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    if mode == 0o755 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn file_type(path: &Path) -> Result<&'static str, String> {
    let t = match fs::metadata(path) {
        Ok(m) => m.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(format!("path {:?} does not exist", path.display().to_string())),
        Err(e) => return Err(format!("stat {}: {e}", path.display())),
    };
    Ok(match t {
        t if t.is_dir() => "Directory",
        t if t.is_file() => "File",
        t if t.is_socket() => "Socket",
        t if t.is_char_device() => "CharDevice",
        t if t.is_block_device() => "BlockDevice",
        _ => return Err("only recognise file, directory, socket, block device and character device".to_owned()),
    })
}

/// Whether it is a block device, for local volumes.
pub(crate) fn is_block_device(path: &Path) -> Result<bool, String> {
    match file_type(path)? {
        "BlockDevice" => Ok(true),
        "Directory" => Ok(false),
        _ => Err("only directory and block device are supported".to_owned()),
    }
}
