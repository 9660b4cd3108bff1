//! Certificate and key in one file, so that they change together.
use crate::IdentityError;
use skiff_pki::Leaf;
use std::path::Path;

/// The leaf in a file of certificate and key; None when there is no whole one.
pub fn read(path: &Path) -> Result<Option<Leaf>, IdentityError> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| IdentityError::Read { path: path.display().to_string(), source })?,
    };
    // The key is last.
    let Some(at) = text.rfind("-----BEGIN PRIVATE KEY-----") else { return Ok(None) };
    let (certificate, key) = text.split_at(at);
    Ok(Some(Leaf { certificate: certificate.into(), key: key.into() }).filter(Leaf::is_whole))
}

pub fn write(path: &Path, leaf: &Leaf) -> Result<(), IdentityError> {
    let text = format!("{}\n{}", leaf.certificate.trim_end(), leaf.key);
    Ok(skiff_pki::write_private(path, text.as_bytes())?)
}
