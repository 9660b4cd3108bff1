//! The server's own keys: AES-256-GCM under a key in a file of its own.
//!
//! An envelope is `SKS1`, the key's id (8 bytes), the nonce (12), then ciphertext and tag; the object's key is the
//! associated data, so a value cannot be moved to another key. The file holds one `<id> <key>` a line, in hex: the
//! first seals, all open. A line `off` in front means that new values are not sealed; it takes an operator to ask for it.
use parking_lot::RwLock;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use skiff_store::SealError;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"SKS1";
const ID_LEN: usize = 8;
const HEAD: usize = MAGIC.len() + ID_LEN + NONCE_LEN;
/// More than anybody's rotated keys take.
const FILE_LIMIT: u64 = 64 << 10;

/// Why the key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    #[error("{step} the key file {}", path.display())]
    Io { step: &'static str, path: PathBuf, source: io::Error },
    #[error("the key file {}: {why}", path.display())]
    Unusable { path: PathBuf, why: &'static str },
    /// The values that the lost keys sealed cannot be read without them.
    #[error("the key file {} is missing, but the datastore is there: put the file back (a backup of the datastore needs it too)", path.display())]
    Missing { path: PathBuf },
}

pub struct Own {
    path: PathBuf,
    keys: RwLock<Keys>,
}

#[derive(Clone, Default)]
struct Keys {
    off: bool,
    list: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; ID_LEN],
    secret: [u8; 32],
}

impl Key {
    fn fresh() -> Result<Self, &'static str> {
        let (mut id, mut secret) = ([0; ID_LEN], [0; 32]);
        let random = SystemRandom::new();
        random.fill(&mut id).and_then(|()| random.fill(&mut secret)).map_err(|_| "the system gave no random numbers")?;
        Ok(Self { id, secret })
    }
    fn aead(&self) -> Result<LessSafeKey, SealError> {
        UnboundKey::new(&AES_256_GCM, &self.secret).map(LessSafeKey::new).map_err(|_| SealError::Refused(self.label()))
    }
    fn label(&self) -> String {
        format!("own key {}", hex(&self.id))
    }
}

impl Own {
    /// Reads the key file; makes one (0600) when `fresh` says that nothing can be sealed yet.
    pub fn open(path: impl Into<PathBuf>, fresh: bool) -> Result<Self, OwnError> {
        let path = path.into();
        let io = |step| {
            let path = path.clone();
            move |source| OwnError::Io { step, path, source }
        };
        let keys = match fs::metadata(&path) {
            Ok(meta) if meta.len() > FILE_LIMIT => return Err(OwnError::Unusable { path, why: "it is too long" }),
            Ok(_) => parse(&fs::read_to_string(&path).map_err(io("read"))?).map_err(|why| OwnError::Unusable { path: path.clone(), why })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound && fresh => {
                let keys = Keys { off: false, list: vec![Key::fresh().map_err(|why| OwnError::Unusable { path: path.clone(), why })?] };
                write(&path, &keys).map_err(io("write"))?;
                keys
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(OwnError::Missing { path }),
            Err(e) => return Err(io("read")(e)),
        };
        Ok(Self { path, keys: RwLock::new(keys) })
    }

    /// None while it is switched off.
    pub(crate) fn seal(&self, key: &str, value: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let keys = self.keys.read();
        let Some(first) = keys.list.first().filter(|_| !keys.off) else { return Ok(None) };
        let mut nonce = [0; NONCE_LEN];
        let failed = |why: &str| SealError::Provider { provider: first.label(), why: why.into() };
        SystemRandom::new().fill(&mut nonce).map_err(|_| failed("the system gave no random numbers"))?;
        let mut out = Vec::with_capacity(HEAD + value.len() + AES_256_GCM.tag_len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&first.id);
        out.extend_from_slice(&nonce);
        let mut text = value.to_vec();
        let sealed = first.aead()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.as_bytes()), &mut text);
        sealed.map_err(|_| failed("it does not seal"))?;
        out.append(&mut text);
        Ok(Some(out))
    }

    pub(crate) fn open_value(&self, key: &str, envelope: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, rest) = split(envelope).ok_or_else(|| SealError::Refused("the own keys".into()))?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or_else(|| SealError::Refused("the own keys".into()))?;
        let keys = self.keys.read();
        let found = keys.list.iter().find(|k| k.id == id).ok_or_else(|| SealError::UnknownKey(label(envelope)))?;
        let refused = || SealError::Refused(found.label());
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut text = text.to_vec();
        let len = found.aead()?.open_in_place(nonce, Aad::from(key.as_bytes()), &mut text).map_err(|_| refused())?.len();
        text.truncate(len);
        Ok(text)
    }

    /// Whether what is written now would be sealed by the very key of `envelope`; None: it would lie as it is.
    pub(crate) fn fresh(&self, envelope: Option<&[u8]>) -> bool {
        let keys = self.keys.read();
        let writes = keys.list.first().filter(|_| !keys.off).map(|k| k.id.as_slice());
        writes == envelope.map(|e| split(e).map_or(&[][..], |(id, _)| id))
    }

    /// Whether it is switched off, and the ids of the keys, the sealing one first.
    pub fn state(&self) -> (bool, Vec<String>) {
        let keys = self.keys.read();
        (keys.off, keys.list.iter().map(|k| hex(&k.id)).collect())
    }
    /// Adds a key that opens, but does not seal yet.
    pub fn prepare(&self) -> Result<(), OwnError> {
        let key = Key::fresh().map_err(|why| OwnError::Unusable { path: self.path.clone(), why })?;
        self.change(|keys| keys.list.push(key))
    }
    /// The newest key seals from now on.
    pub fn rotate(&self) -> Result<(), OwnError> {
        self.change(|keys| keys.list.rotate_right(1))
    }
    /// Forgets all keys but the one that seals: only when nothing is sealed by them any more.
    pub fn prune(&self) -> Result<(), OwnError> {
        self.change(|keys| keys.list.truncate(1))
    }
    pub fn switch(&self, on: bool) -> Result<(), OwnError> {
        self.change(|keys| keys.off = !on)
    }

    /// The file first, so that what is sealed with a key can always be opened after a restart.
    fn change(&self, change: impl FnOnce(&mut Keys)) -> Result<(), OwnError> {
        let mut keys = self.keys.write();
        let mut next = keys.clone();
        change(&mut next);
        write(&self.path, &next).map_err(|source| OwnError::Io { step: "write", path: self.path.clone(), source })?;
        *keys = next;
        Ok(())
    }
}

pub(crate) fn is_own(envelope: &[u8]) -> bool {
    envelope.starts_with(MAGIC)
}

/// Which of the own keys sealed it.
pub(crate) fn label(envelope: &[u8]) -> String {
    split(envelope).map_or_else(|| "an unknown key".into(), |(id, _)| format!("own key {}", hex(id)))
}

fn split(envelope: &[u8]) -> Option<(&[u8], &[u8])> {
    envelope.strip_prefix(MAGIC)?.split_at_checked(ID_LEN)
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

fn parse(text: &str) -> Result<Keys, &'static str> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let off = lines.first() == Some(&"off");
    let key = |line: &&str| {
        let (id, secret) = line.split_once(' ')?;
        Some(Key { id: unhex(id)?, secret: unhex(secret.trim())? })
    };
    match lines.iter().skip(usize::from(off)).map(key).collect::<Option<Vec<_>>>() {
        Some(list) if !list.is_empty() => Ok(Keys { off, list }),
        _ => Err("a line is not `<id> <key>` in hex"),
    }
}

/// Writes it beside and renames it, so that a crash leaves the one or the other.
fn write(path: &Path, keys: &Keys) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let lines = keys.list.iter().map(|k| format!("{} {}\n", hex(&k.id), hex(&k.secret)));
    let text: String = keys.off.then(|| "off\n".to_owned()).into_iter().chain(lines).collect();
    let beside = path.with_extension("key.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_same_key_opens_only_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        assert!(matches!(Own::open(&path, false), Err(OwnError::Missing { .. })), "a lost key file is never replaced");
        let own = Own::open(&path, true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = own.seal("secrets/a/x", b"hunter2").unwrap().unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        let again = Own::open(&path, false).unwrap();
        assert_eq!(again.open_value("secrets/a/x", &sealed).unwrap(), b"hunter2");
        assert!(again.open_value("secrets/a/y", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(again.open_value("secrets/a/x", &bad).is_err(), "byte {i}");
            assert!(again.open_value("secrets/a/x", &sealed[..i]).is_err());
        }
        fs::write(&path, "nonsense").unwrap();
        assert!(Own::open(&path, true).is_err());
    }

    #[test]
    fn keys_rotate_and_can_be_switched_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        let own = Own::open(&path, true).unwrap();
        let old = own.seal("k", b"v").unwrap().unwrap();
        own.prepare().unwrap();
        assert!(own.fresh(Some(&old)), "the first key seals until the second is rotated in");
        own.rotate().unwrap();
        assert!(!own.fresh(Some(&old)));
        let new = own.seal("k", b"v").unwrap().unwrap();
        let again = Own::open(&path, false).unwrap();
        assert_eq!((again.open_value("k", &old).unwrap(), again.open_value("k", &new).unwrap()), (b"v".to_vec(), b"v".to_vec()));
        assert_eq!(again.state(), own.state());
        own.prune().unwrap();
        assert_eq!(own.open_value("k", &old), Err(SealError::UnknownKey(label(&old))));
        assert_eq!(own.open_value("k", &new).unwrap(), b"v");
        own.switch(false).unwrap();
        assert_eq!((own.seal("k", b"v").unwrap(), own.fresh(None), own.fresh(Some(&new))), (None, true, false));
        assert_eq!(Own::open(&path, false).unwrap().open_value("k", &new).unwrap(), b"v", "it still opens");
    }
}
