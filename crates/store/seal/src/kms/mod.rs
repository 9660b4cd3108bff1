//! A KMS v2 plugin: it wraps a seed for us, and each value is sealed under a key derived from the seed.
//!
//! The seed is kept in memory; its wrapped form goes with each value (upstream's EncryptedObject), so that opening a value
//! takes one question to the plugin for each seed, not for each value. The plugin is asked every minute whether it is well
//! and which key it wraps with: a new key makes a new seed. A plugin that was not well for three minutes seals no more.
//! <https://kubernetes.io/docs/tasks/administer-cluster/kms-provider/>
mod grpc;
mod wire;

use crate::local;
use parking_lot::Mutex;
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::{EncryptedObject, Reader, Writer};

/// Derived keys, the info they are derived with, and seeds: bytes.
const SIZE: usize = 32;
/// So long a seed seals after the plugin was last well.
const HOLDS: Duration = Duration::from_secs(180);
/// Seeds that were opened, remembered.
const REMEMBERED: usize = 1024;
/// A seed wrapped by what `encryptedDEKSourceType` says: the key itself, or a seed of keys.
const AS_KEY: u64 = 0;
const AS_SEED: u64 = 1;

pub(crate) struct Kms {
    name: String,
    prefix: String,
    link: grpc::Link,
    state: Mutex<Option<State>>,
    /// What the plugin unwrapped, by what it was asked.
    opened: Mutex<HashMap<Vec<u8>, Arc<Vec<u8>>>>,
}

#[derive(Clone)]
struct State {
    seed: Arc<Vec<u8>>,
    /// All but the data.
    envelope: EncryptedObject,
    well: Instant,
}

struct Len;
impl KeyType for Len {
    fn len(&self) -> usize {
        SIZE
    }
}

impl Kms {
    pub fn new(name: String, path: &str, timeout: Duration) -> Self {
        Self {
            prefix: format!("k8s:enc:kms:v2:{name}:"),
            name,
            link: grpc::Link::new(path, timeout),
            state: Mutex::new(None),
            opened: Mutex::new(HashMap::new()),
        }
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Has a new seed wrapped.
    pub async fn renew(&self) -> Result<(), String> {
        self.status().await?;
        let seed = local::random(SIZE)?;
        let mut ask = Writer::default();
        ask.bytes(1, &seed).bytes(2, &uid()?);
        let answer = self.link.call("/v2.KeyManagementService/Encrypt", ask.done()).await?;
        let mut envelope = EncryptedObject { source_type: AS_SEED, ..EncryptedObject::default() };
        for field in Reader::new(&answer) {
            match field? {
                (1, v) => envelope.source = v.bytes()?.to_vec(),
                (2, v) => envelope.key_id = v.text()?,
                (3, v) => envelope.annotations.push(wire::pair(v.bytes()?)?),
                _ => {}
            }
        }
        envelope.check()?;
        let seed = Arc::new(seed);
        self.remember(&envelope, seed.clone());
        *self.state.lock() = Some(State { seed, envelope, well: Instant::now() });
        Ok(())
    }

    /// Whether it has another key than before; then a new seed is in use.
    pub async fn refresh(&self) -> Result<bool, String> {
        let key = self.status().await?;
        let same = {
            let mut state = self.state.lock();
            let same = state.as_mut().filter(|s| s.envelope.key_id == key);
            same.map(|s| s.well = Instant::now()).is_some()
        };
        if !same {
            self.renew().await?;
        }
        Ok(!same)
    }

    /// The key that it wraps with.
    async fn status(&self) -> Result<String, String> {
        let answer = self.link.call("/v2.KeyManagementService/Status", Vec::new()).await?;
        let (mut version, mut health, mut key) = (String::new(), String::new(), String::new());
        for field in Reader::new(&answer) {
            match field? {
                (1, v) => version = v.text()?,
                (2, v) => health = v.text()?,
                (3, v) => key = v.text()?,
                _ => {}
            }
        }
        if version != "v2" && version != "v2beta1" {
            return Err(format!("it speaks version {version:?}, not v2"));
        }
        if health != "ok" {
            return Err(format!("it says of itself: {health:?}"));
        }
        wire::check_key_id(&key)?;
        Ok(key)
    }

    /// An EncryptedObject.
    pub fn seal(&self, data: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
        let state = self.state.lock().clone().ok_or("it was never reached")?;
        if state.well.elapsed() > HOLDS {
            return Err("it was not well for more than three minutes".into());
        }
        let info = local::random(SIZE)?;
        let nonce = local::random(12)?;
        let sealed = local::gcm(&derived(&state.seed, &info)?, &nonce, data, value, true).ok_or("the derived key does not seal")?;
        Ok(EncryptedObject { data: [info, nonce, sealed].concat(), ..state.envelope }.encode())
    }

    /// Called from threads that may block.
    pub fn open(&self, data: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
        let object = EncryptedObject::decode(text)?;
        object.check()?;
        let seed = self.opened.lock().get(&object.head()).cloned();
        let seed = match seed {
            Some(seed) => seed,
            None => {
                let seed = Arc::new(self.link.block_on(self.unwrap(&object))?);
                self.remember(&object, seed.clone());
                seed
            }
        };
        let refused = || "the data does not open with its key".to_owned();
        match object.source_type {
            AS_KEY => {
                let (nonce, text) = object.data.split_at_checked(12).ok_or_else(refused)?;
                local::gcm(&seed, nonce, data, text, false).ok_or_else(refused)
            }
            AS_SEED => {
                let (info, rest) = object.data.split_at_checked(SIZE).ok_or_else(refused)?;
                let (nonce, text) = rest.split_at_checked(12).ok_or_else(refused)?;
                local::gcm(&derived(&seed, info)?, nonce, data, text, false).ok_or_else(refused)
            }
            other => Err(format!("its key source is of the unknown type {other}")),
        }
    }

    async fn unwrap(&self, object: &EncryptedObject) -> Result<Vec<u8>, String> {
        let mut ask = Writer::default();
        ask.bytes(1, &object.source).bytes(2, &uid()?).bytes(3, object.key_id.as_bytes());
        for (name, value) in &object.annotations {
            ask.pair(4, name, value);
        }
        let answer = self.link.call("/v2.KeyManagementService/Decrypt", ask.done()).await?;
        let mut seed = Vec::new();
        for field in Reader::new(&answer) {
            if let (1, v) = field? {
                seed = v.bytes()?.to_vec();
            }
        }
        if seed.len() < 16 { Err("it unwrapped a key that is too short".into()) } else { Ok(seed) }
    }

    fn remember(&self, object: &EncryptedObject, seed: Arc<Vec<u8>>) {
        let mut opened = self.opened.lock();
        if opened.len() >= REMEMBERED {
            opened.clear();
        }
        opened.insert(object.head(), seed);
    }

    /// Whether it was sealed with the key that the plugin wraps with today.
    pub fn wrote(&self, text: &[u8]) -> bool {
        let state = self.state.lock();
        let Some(state) = state.as_ref() else { return true };
        EncryptedObject::decode(text).is_ok_and(|o| o.key_id == state.envelope.key_id && o.source_type == state.envelope.source_type)
    }
}

/// HKDF's second half over SHA-256: upstream takes the seed as the pseudo-random key.
fn derived(seed: &[u8], info: &[u8]) -> Result<Vec<u8>, String> {
    let info = [info];
    let prk = Prk::new_less_safe(HKDF_SHA256, seed);
    let okm = prk.expand(&info, Len).map_err(|_| "no key can be derived")?;
    let mut key = vec![0; SIZE];
    okm.fill(&mut key).map_err(|_| "no key can be derived")?;
    Ok(key)
}

/// Names a question in the plugin's log.
fn uid() -> Result<Vec<u8>, &'static str> {
    Ok(local::random(16)?.iter().map(|b| format!("{b:02x}")).collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_derived_as_rfc_5869_says() {
        let hex = |s: &str| (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect::<Vec<_>>();
        let prk = hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
        let okm = derived(&prk, &hex("f0f1f2f3f4f5f6f7f8f9")).unwrap();
        assert_eq!(okm, hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"));
    }
}
