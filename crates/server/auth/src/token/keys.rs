//! P-256 keys: one signs, several are trusted, so that keys can be rotated.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
use skiff_json::{Value, json};

/// What comes before the 65 bytes of the point in a P-256 key's SubjectPublicKeyInfo (RFC 5480).
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT: usize = 65;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the service-account key is not a PKCS#8 P-256 key in PEM")]
    Private,
    #[error("the trusted service-account key is not a P-256 public key in PEM")]
    Public,
    #[error("the system gave no random numbers")]
    Random,
}

pub struct Keys {
    signing: EcdsaKeyPair,
    trusted: Vec<Public>,
    random: SystemRandom,
}

struct Public {
    /// The hash of the SubjectPublicKeyInfo, as upstream names keys.
    id: String,
    point: Vec<u8>,
}

impl Public {
    fn of(point: &[u8]) -> Self {
        let spki = [&SPKI_HEAD[..], point].concat();
        Self { id: BASE64URL.encode(digest(&SHA256, &spki)), point: point.to_vec() }
    }
}

impl Keys {
    /// A fresh private key as PEM (PKCS#8), to be kept in a file of mode 0600.
    pub fn generate() -> Result<String, KeyError> {
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Ok(pem::encode(&pem::Pem::new("PRIVATE KEY", key.as_ref())))
    }
    /// `private` signs and is trusted; `trusted` are further public keys (PEM), of before a rotation.
    pub fn new(private: &str, trusted: &[&str]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let der = pem::parse(private).map_err(|_| KeyError::Private)?;
        let signing = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.contents(), &random).map_err(|_| KeyError::Private)?;
        let mut keys = vec![Public::of(signing.public_key().as_ref())];
        for text in trusted {
            let der = pem::parse(text).map_err(|_| KeyError::Public)?;
            let point = der.contents().strip_prefix(&SPKI_HEAD[..]).filter(|p| p.len() == POINT).ok_or(KeyError::Public)?;
            keys.push(Public::of(point));
        }
        Ok(Self { signing, trusted: keys, random })
    }
    /// The public half of the signing key as PEM: what `trusted` takes.
    pub fn public_pem(&self) -> String {
        let spki = [&SPKI_HEAD[..], self.signing.public_key().as_ref()].concat();
        pem::encode(&pem::Pem::new("PUBLIC KEY", spki))
    }
    /// A JWS in compact form.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, KeyError> {
        let id = self.trusted.first().map(|k| k.id.as_str());
        let head = json!({"alg": "ES256", "kid": id});
        let text = format!("{}.{}", BASE64URL.encode(head.to_string()), BASE64URL.encode(claims.to_string()));
        let signature = self.signing.sign(&self.random, text.as_bytes()).map_err(|_| KeyError::Random)?;
        Ok(format!("{text}.{}", BASE64URL.encode(signature)))
    }
    /// Whether a trusted key signed `text`; `id` is the `kid` of the header (none: any).
    pub(crate) fn verify(&self, id: Option<&str>, text: &[u8], signature: &[u8]) -> bool {
        let asked = self.trusted.iter().filter(|k| id.is_none_or(|id| k.id == id));
        asked.into_iter().any(|k| UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &k.point).verify(text, signature).is_ok())
    }
    pub(crate) fn jwks(&self) -> Value {
        let half = |point: &[u8], from: usize| BASE64URL.encode(point.get(from..from + 32).unwrap_or_default());
        let key = |k: &Public| json!({"use": "sig", "kty": "EC", "kid": k.id, "crv": "P-256", "alg": "ES256", "x": half(&k.point, 1), "y": half(&k.point, 33)});
        json!({"keys": self.trusted.iter().map(key).collect::<Vec<_>>()})
    }
}
