//! The providers whose keys lie in the configuration: aescbc, aesgcm, secretbox, in upstream's forms.
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::Payload;
use aes_gcm::aead::consts::U12;
use aes_gcm::{AesGcm, KeyInit};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use crypto_secretbox::XSalsa20Poly1305;
use ring::rand::{SecureRandom, SystemRandom};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    AesCbc,
    AesGcm,
    Secretbox,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::AesCbc => "aescbc",
            Scheme::AesGcm => "aesgcm",
            Scheme::Secretbox => "secretbox",
        }
    }
    /// The sizes that a key may have, bytes.
    pub fn sizes(self) -> &'static [usize] {
        match self {
            Scheme::Secretbox => &[32],
            _ => &[16, 24, 32],
        }
    }
    fn nonce(self) -> usize {
        match self {
            Scheme::AesCbc => 16,
            Scheme::AesGcm => 12,
            Scheme::Secretbox => 24,
        }
    }
}

/// One key of a provider.
pub(crate) struct Key {
    pub scheme: Scheme,
    /// `k8s:enc:aescbc:v1:<name>:`, which is in front of what it sealed.
    pub prefix: String,
    pub secret: Vec<u8>,
}

impl Key {
    /// Nonce and ciphertext, without the prefix. Err says what went wrong.
    pub fn seal(&self, data: &[u8], value: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut out = random(self.scheme.nonce())?;
        let text = match self.scheme {
            Scheme::AesCbc => cbc_seal(&self.secret, &out, value),
            Scheme::AesGcm => gcm(&self.secret, &out, data, value, true),
            Scheme::Secretbox => secretbox(&self.secret, &out, value, true),
        };
        out.extend(text.ok_or("the key does not seal")?);
        Ok(out)
    }
    /// None: another key sealed it, or it is damaged.
    pub fn open(&self, data: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(self.scheme.nonce())?;
        match self.scheme {
            Scheme::AesCbc => cbc_open(&self.secret, nonce, text),
            Scheme::AesGcm => gcm(&self.secret, nonce, data, text, false),
            Scheme::Secretbox => secretbox(&self.secret, nonce, text, false),
        }
    }
}

pub(crate) fn random(len: usize) -> Result<Vec<u8>, &'static str> {
    let mut out = vec![0; len];
    SystemRandom::new().fill(&mut out).map_err(|_| "the system gave no random numbers")?;
    Ok(out)
}

fn cbc_seal(key: &[u8], iv: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    Some(match key.len() {
        16 => cbc::Encryptor::<Aes128>::new_from_slices(key, iv).ok()?.encrypt_padded_vec::<Pkcs7>(value),
        24 => cbc::Encryptor::<Aes192>::new_from_slices(key, iv).ok()?.encrypt_padded_vec::<Pkcs7>(value),
        _ => cbc::Encryptor::<Aes256>::new_from_slices(key, iv).ok()?.encrypt_padded_vec::<Pkcs7>(value),
    })
}

fn cbc_open(key: &[u8], iv: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    match key.len() {
        16 => cbc::Decryptor::<Aes128>::new_from_slices(key, iv).ok()?.decrypt_padded_vec::<Pkcs7>(text).ok(),
        24 => cbc::Decryptor::<Aes192>::new_from_slices(key, iv).ok()?.decrypt_padded_vec::<Pkcs7>(text).ok(),
        _ => cbc::Decryptor::<Aes256>::new_from_slices(key, iv).ok()?.decrypt_padded_vec::<Pkcs7>(text).ok(),
    }
}

/// AES-GCM in either direction; `data` is authenticated with it.
pub(crate) fn gcm(key: &[u8], nonce: &[u8], data: &[u8], msg: &[u8], seal: bool) -> Option<Vec<u8>> {
    fn with<A: aes_gcm::aead::Aead<NonceSize = U12> + KeyInit>(key: &[u8], nonce: &[u8], payload: Payload<'_, '_>, seal: bool) -> Option<Vec<u8>> {
        let (aead, nonce) = (A::new_from_slice(key).ok()?, nonce.try_into().ok()?);
        if seal { aead.encrypt(nonce, payload).ok() } else { aead.decrypt(nonce, payload).ok() }
    }
    let payload = Payload { msg, aad: data };
    match key.len() {
        16 => with::<AesGcm<Aes128, U12>>(key, nonce, payload, seal),
        24 => with::<AesGcm<Aes192, U12>>(key, nonce, payload, seal),
        _ => with::<AesGcm<Aes256, U12>>(key, nonce, payload, seal),
    }
}

fn secretbox(key: &[u8], nonce: &[u8], msg: &[u8], seal: bool) -> Option<Vec<u8>> {
    use crypto_secretbox::aead::{Aead as _, KeyInit as _};
    let sealer = XSalsa20Poly1305::new_from_slice(key).ok()?;
    let nonce: [u8; 24] = nonce.try_into().ok()?;
    if seal { sealer.encrypt(&nonce.into(), msg).ok() } else { sealer.decrypt(&nonce.into(), msg).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scheme: Scheme, size: usize) -> Key {
        Key { scheme, prefix: String::new(), secret: (0..size).map(|i| i as u8).collect() }
    }

    #[test]
    fn every_size_opens_what_it_sealed_and_nothing_else() {
        for scheme in [Scheme::AesCbc, Scheme::AesGcm, Scheme::Secretbox] {
            for size in scheme.sizes() {
                let key = key(scheme, *size);
                for value in [&b""[..], b"x", b"sixteen bytes ok", &[7; 1000]] {
                    let sealed = key.seal(b"secrets/a/b", value).unwrap();
                    assert_eq!(key.open(b"secrets/a/b", &sealed).as_deref(), Some(value), "{scheme:?} {size}");
                    assert_ne!(key.open(b"secrets/a/b", &sealed[..sealed.len() - 1]).as_deref(), Some(value));
                }
            }
        }
        let sealed = key(Scheme::AesGcm, 32).seal(b"a", b"v").unwrap();
        assert_eq!(key(Scheme::AesGcm, 32).open(b"b", &sealed), None, "moved to another object");
        assert_eq!(key(Scheme::AesGcm, 16).open(b"a", &sealed), None);
    }

    /// NIST SP 800-38A F.2.5 and the NaCl book's secretbox: ours are the algorithms that others speak.
    #[test]
    fn known_answers() {
        let hex = |s: &str| (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect::<Vec<_>>();
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let iv = hex("000102030405060708090a0b0c0d0e0f");
        let sealed = cbc_seal(&key, &iv, &hex("6bc1bee22e409f96e93d7e117393172a")).unwrap();
        assert_eq!(sealed[..16], hex("f58c4c04d6e5f1ba779eabfb5f7bfbd6"));
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let sealed = secretbox(&key, &nonce, &hex("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc"), true).unwrap();
        // The vector's message is longer; its tag, which is in front, is of the whole.
        assert_eq!(sealed[16..], hex("8e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a"));
    }
}
