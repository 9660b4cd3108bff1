//! Sealing of values at rest: AES-256-GCM under a key in a file of its own.
//!
//! An envelope is `SKS1`, the key's id (8 bytes), the nonce (12), then ciphertext and tag; the object's key is the
//! associated data, so a value cannot be moved to another key. The file holds one `<id> <key>` a line, in hex: the
//! first seals, all open, so that keys can be rotated.
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const MAGIC: &[u8; 4] = b"SKS1";
const ID_LEN: usize = 8;
const HEAD: usize = MAGIC.len() + ID_LEN + NONCE_LEN;
/// More than anybody's rotated keys take.
const FILE_LIMIT: u64 = 64 << 10;

pub(crate) struct Sealer {
    keys: Vec<([u8; ID_LEN], LessSafeKey)>,
    random: SystemRandom,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the value was sealed with the key {0}, which is not in the key file")]
    UnknownKey(String),
    #[error("the sealed value is damaged, or belongs to another key")]
    Damaged,
    #[error("the system gave no random numbers")]
    Random,
}

impl Sealer {
    /// Reads the key file; makes one (0600) when `fresh` says that nothing can be sealed yet.
    pub fn open(path: &Path, fresh: bool) -> io::Result<Self> {
        let text = match fs::metadata(path) {
            Ok(meta) if meta.len() > FILE_LIMIT => return Err(io::Error::other("it is too long to be a key file")),
            Ok(_) => fs::read_to_string(path)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound && fresh => create(path)?,
            Err(e) => return Err(e),
        };
        let keys: Option<Vec<_>> = text.lines().filter(|l| !l.trim().is_empty()).map(parse).collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Self { keys, random: SystemRandom::new() }),
            _ => Err(io::Error::other("a line is not `<id> <key>` in hex")),
        }
    }
    pub fn seal(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, aead) = self.keys.first().ok_or(SealError::Damaged)?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| SealError::Random)?;
        let mut out = Vec::with_capacity(HEAD + value.len() + AES_256_GCM.tag_len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(id);
        out.extend_from_slice(&nonce);
        let mut text = value.to_vec();
        aead.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.as_bytes()), &mut text)
            .map_err(|_| SealError::Damaged)?;
        out.append(&mut text);
        Ok(out)
    }
    pub fn open_value(&self, key: &str, envelope: &[u8]) -> Result<Vec<u8>, SealError> {
        let (head, text) = envelope.split_at_checked(HEAD).ok_or(SealError::Damaged)?;
        let (magic, rest) = head.split_at(MAGIC.len());
        let (id, nonce) = rest.split_at(ID_LEN);
        if magic != MAGIC {
            return Err(SealError::Damaged);
        }
        let (_, aead) = self.keys.iter().find(|(known, _)| known == id).ok_or_else(|| SealError::UnknownKey(hex(id)))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut text = text.to_vec();
        let len = aead.open_in_place(nonce, Aad::from(key.as_bytes()), &mut text).map_err(|_| SealError::Damaged)?.len();
        text.truncate(len);
        Ok(text)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}

fn parse(line: &str) -> Option<([u8; ID_LEN], LessSafeKey)> {
    let (id, key) = line.trim().split_once(' ')?;
    let key: [u8; 32] = unhex(key.trim())?;
    Some((unhex(id)?, LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?)))
}

/// Writes a fresh key beside and renames it, so that a crash leaves all of it or nothing.
fn create(path: &Path) -> io::Result<String> {
    let (mut id, mut key) = ([0; ID_LEN], [0; 32]);
    let random = SystemRandom::new();
    random.fill(&mut id).and_then(|()| random.fill(&mut key)).map_err(|_| io::Error::other("the system gave no random numbers"))?;
    let text = format!("{} {}\n", hex(&id), hex(&key));
    let beside = path.with_extension("key.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_same_key_opens_only_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        assert!(Sealer::open(&path, false).is_err(), "a lost key file is never replaced");
        let sealer = Sealer::open(&path, true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = sealer.seal("secrets/a/x", b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        let again = Sealer::open(&path, false).unwrap();
        assert_eq!(again.open_value("secrets/a/x", &sealed).unwrap(), b"hunter2");
        assert!(again.open_value("secrets/a/y", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(again.open_value("secrets/a/x", &bad).is_err(), "byte {i}");
            assert!(again.open_value("secrets/a/x", &sealed[..i]).is_err());
        }
        // Rotation: a new first line seals, the old one still opens.
        let old = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{} {}\n{old}", "ab".repeat(8), "cd".repeat(32))).unwrap();
        let rotated = Sealer::open(&path, false).unwrap();
        assert_eq!(rotated.open_value("secrets/a/x", &sealed).unwrap(), b"hunter2");
        assert!(matches!(again.open_value("k", &rotated.seal("k", b"v").unwrap()), Err(SealError::UnknownKey(_))));
        fs::write(&path, "nonsense").unwrap();
        assert!(Sealer::open(&path, true).is_err());
    }
}
