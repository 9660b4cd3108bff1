//! Files that are there whole or not at all.
use crate::PkiError;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Writes with mode 0600.
pub fn write_private(path: &Path, text: &[u8]) -> Result<(), PkiError> {
    write(path, text, 0o600)
}

/// Writes with mode 0644.
pub fn write_public(path: &Path, text: &[u8]) -> Result<(), PkiError> {
    write(path, text, 0o644)
}

fn write(path: &Path, text: &[u8], mode: u32) -> Result<(), PkiError> {
    let fail = |step| move |source| PkiError::File { step, path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(fail("make the folder of"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(fail("create"))?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(fail("protect"))?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(fail("write"))?;
    fs::rename(&temporary, path).map_err(fail("put in place"))?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(fail("make durable"))
}

/// What the file holds, or what `make` gives, written privately.
pub fn read_or_make(path: &Path, make: impl FnOnce() -> Result<String, PkiError>) -> Result<String, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(PkiError::Unusable { path: path.to_owned(), why: "it is empty".into() }),
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let text = make()?;
            write_private(path, text.as_bytes())?;
            Ok(text)
        }
        Err(source) => Err(PkiError::File { step: "read", path: path.to_owned(), source }),
    }
}
