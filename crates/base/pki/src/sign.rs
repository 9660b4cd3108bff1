//! Signs a request: subject and key as asked, alternative names of the four common kinds, nothing else of it.
//!
//! Written as DER here because rcgen keeps one value for each attribute of a subject: a user in several groups could
//! not be certified.
use crate::{PkiError, Request, Usages};
use rcgen::{KeyPair, SigningKey};
use std::net::IpAddr;
use std::time::SystemTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};
use yasna::models::{GeneralizedTime, ObjectIdentifier, UTCTime};
use yasna::{DERWriter, DERWriterSeq, Tag};

/// What the signer grants.
#[derive(Clone, Debug)]
pub struct Grant {
    pub usages: Usages,
    pub not_before: SystemTime,
    /// Cut to the authority's own end.
    pub not_after: SystemTime,
    /// Random.
    pub serial: [u8; 16],
}

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY: &[u64] = &[2, 5, 29, 35];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];

pub(crate) fn sign(authority: &str, key: &KeyPair, request: &Request, grant: &Grant) -> Result<String, PkiError> {
    let refused = |why: String| PkiError::Request(why);
    let (_, parsed) = X509CertificationRequest::from_der(&request.der).map_err(|e| refused(format!("unable to parse certificate request: {e}")))?;
    parsed.verify_signature().map_err(|e| refused(format!("unable to verify certificate request signature: {e}")))?;
    let block = pem::parse(authority).map_err(|e| refused(format!("the authority's certificate: {e}")))?;
    let (_, ca) = X509Certificate::from_der(block.contents()).map_err(|e| refused(format!("the authority's certificate: {e}")))?;
    let end: SystemTime = ca.validity().not_after.to_datetime().into();
    if grant.not_before >= end {
        return Err(refused("the signer has expired".into()));
    }
    let algorithm = algorithm(key).ok_or_else(|| refused("the authority's key is of an unknown kind".into()))?;
    let grant = Grant { not_after: grant.not_after.min(end), ..grant.clone() };
    let tbs = yasna::construct_der(|w| to_be_signed(w, &algorithm, &ca, &parsed, request, &grant));
    let make = |source| PkiError::Make { name: request.common_name.clone(), source };
    let signature = key.sign(&tbs).map_err(make)?;
    let der = yasna::construct_der(|w| {
        w.write_sequence(|w| {
            w.next().write_der(&tbs);
            algorithm.write(w.next());
            w.next().write_bitvec_bytes(&signature, signature.len() * 8);
        });
    });
    Ok(pem::encode_config(&pem::Pem::new("CERTIFICATE", der), pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF)))
}

struct Algorithm {
    oid: &'static [u64],
    null: bool,
}

impl Algorithm {
    fn write(&self, w: DERWriter<'_>) {
        w.write_sequence(|w| {
            oid(w.next(), self.oid);
            if self.null {
                w.next().write_null();
            }
        });
    }
}

fn algorithm(key: &KeyPair) -> Option<Algorithm> {
    let known: [(&rcgen::SignatureAlgorithm, &'static [u64], bool); 4] = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, &[1, 2, 840, 10045, 4, 3, 2], false),
        (&rcgen::PKCS_ECDSA_P384_SHA384, &[1, 2, 840, 10045, 4, 3, 3], false),
        (&rcgen::PKCS_RSA_SHA256, &[1, 2, 840, 113_549, 1, 1, 11], true),
        (&rcgen::PKCS_ED25519, &[1, 3, 101, 112], false),
    ];
    known.into_iter().find(|(a, ..)| *a == key.algorithm()).map(|(_, oid, null)| Algorithm { oid, null })
}

fn to_be_signed(w: DERWriter<'_>, algorithm: &Algorithm, ca: &X509Certificate<'_>, parsed: &X509CertificationRequest<'_>, request: &Request, grant: &Grant) {
    let info = &parsed.certification_request_info;
    w.write_sequence(|w| {
        w.next().write_tagged(Tag::context(0), |w| w.write_u8(2));
        w.next().write_bigint_bytes(&grant.serial, true);
        algorithm.write(w.next());
        w.next().write_der(ca.subject().as_raw());
        w.next().write_sequence(|w| {
            time(w.next(), grant.not_before);
            time(w.next(), grant.not_after);
        });
        w.next().write_der(info.subject.as_raw());
        w.next().write_der(info.subject_pki.raw);
        w.next().write_tagged(Tag::context(3), |w| w.write_sequence(|w| extensions(w, ca, info.subject.iter().next().is_none(), request, &grant.usages)));
    });
}

fn extensions(w: &mut DERWriterSeq<'_>, ca: &X509Certificate<'_>, nameless: bool, request: &Request, usages: &Usages) {
    if usages.bits != 0 {
        extension(w, KEY_USAGE, true, |w| key_usage(w, usages.bits));
    }
    if !usages.extended.is_empty() {
        extension(w, EXTENDED_KEY_USAGE, false, |w| w.write_sequence(|w| usages.extended.iter().for_each(|o| oid(w.next(), o))));
    }
    extension(w, BASIC_CONSTRAINTS, true, |w| w.write_sequence(|_| {}));
    let id = ca.extensions().iter().find_map(|e| if let ParsedExtension::SubjectKeyIdentifier(id) = e.parsed_extension() { Some(id.0) } else { None });
    if let Some(id) = id {
        extension(w, AUTHORITY_KEY, false, |w| w.write_sequence(|w| w.next().write_tagged_implicit(Tag::context(0), |w| w.write_bytes(id))));
    }
    let named = [&request.dns_names, &request.emails, &request.uris].iter().any(|l| !l.is_empty()) || !request.addresses.is_empty();
    if named {
        extension(w, ALTERNATIVE_NAMES, nameless, |w| w.write_sequence(|w| names(w, request)));
    }
}

fn names(w: &mut DERWriterSeq<'_>, request: &Request) {
    let mut one = |tag: u64, bytes: &[u8]| w.next().write_tagged_implicit(Tag::context(tag), |w| w.write_bytes(bytes));
    request.dns_names.iter().for_each(|n| one(2, n.as_bytes()));
    request.emails.iter().for_each(|n| one(1, n.as_bytes()));
    for a in &request.addresses {
        match a {
            IpAddr::V4(a) => one(7, &a.octets()),
            IpAddr::V6(a) => one(7, &a.octets()),
        }
    }
    request.uris.iter().for_each(|n| one(6, n.as_bytes()));
}

/// A BIT STRING of named bits ends with its last one (X.690 11.2.2).
fn key_usage(w: DERWriter<'_>, bits: u16) {
    let (reversed, length) = (bits.reverse_bits().to_be_bytes(), 16 - bits.leading_zeros() as usize);
    w.write_bitvec_bytes(&reversed[..length.div_ceil(8)], length);
}

fn extension(w: &mut DERWriterSeq<'_>, id: &[u64], critical: bool, value: impl FnOnce(DERWriter<'_>)) {
    w.next().write_sequence(|w| {
        oid(w.next(), id);
        if critical {
            w.next().write_bool(true);
        }
        w.next().write_bytes(&yasna::construct_der(value));
    });
}

fn oid(w: DERWriter<'_>, components: &[u64]) {
    w.write_oid(&ObjectIdentifier::from_slice(components));
}

/// Until 2049 in two digits of a year, then in four (RFC 5280 4.1.2.5).
fn time(w: DERWriter<'_>, at: SystemTime) {
    let at = time::OffsetDateTime::from(at).replace_nanosecond(0).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    if (1950..2050).contains(&at.year()) {
        w.write_utctime(&UTCTime::from_datetime(at));
    } else {
        w.write_generalized_time(&GeneralizedTime::from_datetime(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Authority;
    use rcgen::{CertificateParams, DnType, SanType};
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(86_400);

    fn request() -> Request {
        let mut p = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
        p.subject_alt_names.push(SanType::IpAddress("10.0.0.1".parse().unwrap()));
        p.distinguished_name = Default::default();
        p.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        p.distinguished_name.push(DnType::CommonName, "system:node:n1");
        let key = KeyPair::generate().unwrap();
        Request::parse(p.serialize_request(&key).unwrap().pem().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn a_signed_certificate_says_what_was_granted() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let ca = Authority::open(dir.path(), "ca", now).unwrap();
        let (r, usages) = (request(), Usages::of(&["digital signature", "key encipherment", "server auth"]).unwrap());
        assert_eq!(
            (r.common_name.as_str(), r.dns_names.as_slice(), r.organizations.as_slice()),
            ("system:node:n1", &["n1".to_owned()][..], &["system:nodes".to_owned()][..])
        );
        let pem = ca.sign(&r, &Grant { usages, not_before: now, not_after: now + DAY * 9999, serial: [7; 16] }).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let (_, own) = x509_parser::pem::parse_x509_pem(ca.certificate().as_bytes()).unwrap();
        let (c, own) = (block.parse_x509().unwrap(), own.parse_x509().unwrap());
        c.verify_signature(Some(own.public_key())).unwrap();
        assert_eq!(c.subject().to_string(), "O=system:nodes, CN=system:node:n1");
        assert_eq!(c.validity().not_after, own.validity().not_after);
        let usage = c.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
        let extended = c.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && !extended.client_auth);
        assert!(!c.is_ca());
        assert_eq!(c.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 2);
    }

    #[test]
    fn an_expired_authority_and_a_forged_request_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let ca = Authority::open(dir.path(), "ca", now).unwrap();
        let grant = Grant { usages: Usages::default(), not_before: now, not_after: now + DAY, serial: [7; 16] };
        let late = Grant { not_before: now + DAY * 4000, not_after: now + DAY * 4001, ..grant.clone() };
        assert!(ca.sign(&request(), &late).is_err());
        let mut forged = request();
        let other = request();
        // The signature of another request over this one's content.
        let (a, b) = (forged.der.len(), other.der.len());
        forged.der[a - 40..].copy_from_slice(&other.der[b - 40..]);
        assert!(ca.sign(&forged, &grant).is_err());
    }
}
