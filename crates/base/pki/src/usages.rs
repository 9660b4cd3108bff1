//! What a key may be used for, by the names that the certificates API has for it.
//! <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/certificate-signing-request-v1/>

/// Key usage bits (RFC 5280 4.2.1.3) and extended usages (4.2.1.12).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usages {
    /// Bit 0 is digitalSignature.
    pub(crate) bits: u16,
    pub(crate) extended: Vec<&'static [u64]>,
}

const BITS: &[(&str, u16)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];
/// In the order in which they are written.
const EXTENDED: &[(&str, &[u64])] = &[
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];

impl Usages {
    /// The names that are not known are the error.
    pub fn of<S: AsRef<str>>(names: &[S]) -> Result<Self, Vec<String>> {
        let known = |n: &str| BITS.iter().any(|(k, _)| *k == n) || EXTENDED.iter().any(|(k, _)| *k == n);
        let unknown: Vec<String> = names.iter().map(|n| n.as_ref().to_owned()).filter(|n| !known(n)).collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let asked = |k: &str| names.iter().any(|n| n.as_ref() == k);
        let bits = BITS.iter().filter(|(k, _)| asked(k)).fold(0, |all, (_, bit)| all | 1 << bit);
        let mut extended: Vec<&'static [u64]> = EXTENDED.iter().filter(|(k, _)| asked(k)).map(|(_, oid)| *oid).collect();
        extended.dedup();
        Ok(Self { bits, extended })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn names_become_bits_and_oids() {
        let u = Usages::of(&["ocsp signing", "crl sign", "s/mime", "email protection", "content commitment"]).unwrap();
        assert_eq!(u.bits, 1 << 6 | 1 << 1);
        assert_eq!(u.extended.iter().map(|o| o[8]).collect::<Vec<_>>(), [4, 9]);
        assert_eq!(Usages::of(&["signing", "x"]).unwrap_err(), ["x"]);
    }
}
