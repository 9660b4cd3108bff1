//! A certificate authority.
use crate::leaf::{Leaf, Profile, Usage};
use crate::{Grant, PkiError, Request, new_key, read_or_make, write_public};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);
const AUTHORITY_DAYS: u32 = 3650;
const LEAF_DAYS: u32 = 365;
/// Leaves with less left than this are made anew at start.
const RENEW_DAYS: u32 = 90;

/// Signs leaves. Its certificate is public, its key never leaves this type.
pub struct Authority {
    dir: PathBuf,
    certificate: String,
    key: String,
}

impl Authority {
    /// Reads `<dir>/<name>.crt` and `.key`, or makes them.
    pub fn open(dir: &Path, name: &str, now: SystemTime) -> Result<Self, PkiError> {
        let (crt, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        let key = read_or_make(&key, new_key)?;
        let certificate = match std::fs::read_to_string(&crt) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let pem = self_signed(name, &key, now)?;
                write_public(&crt, pem.as_bytes())?;
                pem
            }
            Err(source) => return Err(PkiError::File { step: "read", path: crt, source }),
        };
        let authority = Self { dir: dir.to_owned(), certificate, key };
        authority.issuer().map_err(|e| PkiError::Unusable { path: crt, why: e.to_string() })?;
        Ok(authority)
    }
    /// PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }
    /// PKCS#8 PEM, for signers of certificate requests in this process.
    pub fn key(&self) -> &str {
        &self.key
    }
    /// Signs a request of somebody else. The signed certificate, PEM.
    pub fn sign(&self, request: &Request, grant: &Grant) -> Result<String, PkiError> {
        let make = |source| PkiError::Make { name: request.common_name.clone(), source };
        crate::sign::sign(&self.certificate, &KeyPair::from_pem(&self.key).map_err(make)?, request, grant)
    }
    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, rcgen::Error> {
        Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)
    }
    /// The leaf kept as `<dir>/<file>.crt` and `.key`: read, or made anew when it is missing, about to expire, of
    /// another authority, or no longer fits the profile.
    pub fn leaf(&self, file: &str, profile: &Profile, now: SystemTime) -> Result<Leaf, PkiError> {
        let (crt, key) = (self.dir.join(format!("{file}.crt")), self.dir.join(format!("{file}.key")));
        let kept = std::fs::read_to_string(&crt).ok().zip(std::fs::read_to_string(&key).ok()).map(|(certificate, key)| Leaf { certificate, key });
        if let Some(leaf) = kept.filter(|l| l.fits(profile, &self.certificate, now + DAY * RENEW_DAYS)) {
            return Ok(leaf);
        }
        let leaf = self.issue(profile, now)?;
        crate::write_private(&key, leaf.key.as_bytes())?;
        write_public(&crt, leaf.certificate.as_bytes())?;
        Ok(leaf)
    }
    /// A fresh leaf that is kept nowhere.
    pub fn issue(&self, profile: &Profile, now: SystemTime) -> Result<Leaf, PkiError> {
        let make = |source| PkiError::Make { name: profile.common_name.clone(), source };
        let key = KeyPair::generate().map_err(make)?;
        let mut p = CertificateParams::default();
        p.distinguished_name.push(DnType::CommonName, profile.common_name.as_str());
        for o in &profile.organizations {
            p.distinguished_name.push(DnType::OrganizationName, o.as_str());
        }
        for name in &profile.dns_names {
            p.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(make)?));
        }
        p.subject_alt_names.extend(profile.addresses.iter().map(|a| SanType::IpAddress(*a)));
        p.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        p.extended_key_usages = match profile.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        p.use_authority_key_identifier_extension = true;
        validity(&mut p, now, LEAF_DAYS);
        let certificate = p.signed_by(&key, &self.issuer().map_err(make)?).map_err(make)?;
        Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn self_signed(name: &str, key: &str, now: SystemTime) -> Result<String, PkiError> {
    let make = |source| PkiError::Make { name: name.to_owned(), source };
    let key = KeyPair::from_pem(key).map_err(make)?;
    let mut p = CertificateParams::default();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    p.distinguished_name.push(DnType::CommonName, format!("skiff-{name}@{since}"));
    p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    p.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut p, now, AUTHORITY_DAYS);
    Ok(p.self_signed(&key).map_err(make)?.pem())
}

/// From an hour ago: clocks of nodes differ.
fn validity(p: &mut CertificateParams, now: SystemTime, days: u32) {
    p.not_before = (now - DAY / 24).into();
    p.not_after = (now + DAY * days).into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_kept_until_they_no_longer_fit() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let ca = Authority::open(dir.path(), "server-ca", now).unwrap();
        let mut profile = Profile {
            common_name: "kube-apiserver".into(),
            dns_names: vec!["localhost".into()],
            addresses: vec!["127.0.0.1".parse().unwrap()],
            usage: Usage::Server,
            ..Default::default()
        };
        let first = ca.leaf("api", &profile, now).unwrap();
        let again = Authority::open(dir.path(), "server-ca", now).unwrap();
        assert_eq!(again.leaf("api", &profile, now).unwrap().certificate, first.certificate);
        assert_ne!(again.leaf("api", &profile, now + DAY * 300).unwrap().certificate, first.certificate);
        profile.addresses.push("10.0.0.1".parse().unwrap());
        let wider = again.leaf("api", &profile, now).unwrap();
        assert_ne!(wider.certificate, first.certificate);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.path().join("api.key")).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_torn_authority_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        Authority::open(dir.path(), "ca", SystemTime::now()).unwrap();
        std::fs::write(dir.path().join("ca.crt"), "torn").unwrap();
        let Err(e) = Authority::open(dir.path(), "ca", SystemTime::now()) else { panic!("it opened") };
        assert!(e.to_string().contains("ca.crt"), "{e}");
    }
}
