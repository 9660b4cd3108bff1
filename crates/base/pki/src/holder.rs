//! Certificates that another authority signs: requests for them, and what their holder reads out of them.
use crate::{Leaf, PkiError, Profile};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::pem::parse_x509_pem;

/// A PKCS#10 request (PEM) by the key (PEM) for what the profile says; the usage is the signer's to write.
pub fn request(key: &str, profile: &Profile) -> Result<String, PkiError> {
    let make = |source| PkiError::Make { name: profile.common_name.clone(), source };
    let key = KeyPair::from_pem(key).map_err(make)?;
    let mut p = CertificateParams::default();
    for o in &profile.organizations {
        p.distinguished_name.push(DnType::OrganizationName, o.as_str());
    }
    p.distinguished_name.push(DnType::CommonName, profile.common_name.as_str());
    for name in &profile.dns_names {
        p.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(make)?));
    }
    p.subject_alt_names.extend(profile.addresses.iter().map(|a| SanType::IpAddress(*a)));
    p.serialize_request(&key).and_then(|r| r.pem()).map_err(make)
}

/// A new private key (PEM) of a type that PodCertificateRequests name, and a PKCS#10 request (DER) that says nothing but that
/// its maker has the key.
pub fn stub_request(key_type: &str) -> Result<(String, Vec<u8>), PkiError> {
    let algorithm = match key_type {
        "ECDSAP256" => &rcgen::PKCS_ECDSA_P256_SHA256,
        "ECDSAP384" => &rcgen::PKCS_ECDSA_P384_SHA384,
        "ED25519" => &rcgen::PKCS_ED25519,
        _ => return Err(PkiError::Request(format!("keys of type {key_type:?} cannot be made on this node: ECDSAP256, ECDSAP384 and ED25519 can"))),
    };
    let make = |source| PkiError::Make { name: "a pod".into(), source };
    let key = KeyPair::generate_for(algorithm).map_err(make)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(make)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}

/// What tells one certificate from all others: SHA-256 of its DER form, lower-case hexadecimal.
pub fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|b| format!("{b:02x}")).collect()
}

/// The DER form of the first certificate of a PEM text.
pub fn der_of(pem: &str) -> Option<Vec<u8>> {
    Some(parse_x509_pem(pem.as_bytes()).ok()?.1.contents)
}

/// A certificate as PEM.
pub fn pem_of(der: &[u8]) -> String {
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}

impl Leaf {
    /// From when and until when it is valid. None when it cannot be read.
    pub fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        let (_, pem) = parse_x509_pem(self.certificate.as_bytes()).ok()?;
        let cert = pem.parse_x509().ok()?;
        let at = |t: i64| u64::try_from(t).ok().map(|s| UNIX_EPOCH + Duration::from_secs(s));
        at(cert.validity().not_before.timestamp()).zip(at(cert.validity().not_after.timestamp()))
    }
    /// Whether its key belongs to its certificate, as far as that can be told without a peer.
    pub fn is_whole(&self) -> bool {
        let public = KeyPair::from_pem(&self.key).ok().map(|k| k.public_key_raw().to_vec());
        let (Ok((_, pem)), Some(public)) = (parse_x509_pem(self.certificate.as_bytes()), public) else { return false };
        pem.parse_x509().is_ok_and(|c| c.public_key().subject_public_key.data.as_ref() == public)
    }
    /// The common name, which is the user's of a client certificate.
    pub fn common_name(&self) -> Option<String> {
        let (_, pem) = parse_x509_pem(self.certificate.as_bytes()).ok()?;
        let cert = pem.parse_x509().ok()?;
        cert.subject().iter_common_name().next()?.as_str().ok().map(str::to_owned)
    }
}

/// When a certificate of this validity is to be renewed: after 70 to 90 % of it, `spread` (0 to 1) of the way between, so that
/// nodes that joined together do not ask together.
pub fn renew_at(from: SystemTime, until: SystemTime, spread: f64) -> SystemTime {
    from + until.duration_since(from).unwrap_or_default().mul_f64(0.7 + 0.2 * spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Usage, new_key};
    use std::net::IpAddr;

    #[test]
    fn a_stub_says_nothing_but_whose_key_it_is() {
        use x509_parser::prelude::{FromDer, X509CertificationRequest};
        for kind in ["ECDSAP256", "ECDSAP384", "ED25519"] {
            let (key, der) = stub_request(kind).unwrap();
            let (_, csr) = X509CertificationRequest::from_der(&der).unwrap();
            assert!(csr.certification_request_info.subject.iter_rdn().next().is_none(), "{kind}");
            let public = KeyPair::from_pem(&key).unwrap().public_key_raw().to_vec();
            assert_eq!(csr.certification_request_info.subject_pki.subject_public_key.data.as_ref(), public);
        }
        assert!(stub_request("RSA3072").is_err());
    }

    #[test]
    fn a_request_says_what_the_profile_says() {
        use x509_parser::prelude::{FromDer, ParsedExtension, X509CertificationRequest};
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        let profile = Profile {
            common_name: "system:node:a".into(),
            organizations: vec!["system:nodes".into()],
            dns_names: vec!["a".into()],
            addresses: vec![address],
            usage: Usage::Server,
        };
        let pem = request(&new_key().unwrap(), &profile).unwrap();
        let der = parse_x509_pem(pem.as_bytes()).unwrap().1.contents;
        let (_, csr) = X509CertificationRequest::from_der(&der).unwrap();
        csr.verify_signature().unwrap();
        let subject = &csr.certification_request_info.subject;
        assert_eq!(subject.iter_common_name().next().unwrap().as_str().unwrap(), "system:node:a");
        assert_eq!(subject.iter_organization().next().unwrap().as_str().unwrap(), "system:nodes");
        let names = csr
            .requested_extensions()
            .unwrap()
            .find_map(|e| if let ParsedExtension::SubjectAlternativeName(s) = e { Some(s.general_names.len()) } else { None });
        assert_eq!(names, Some(2));
    }

    #[test]
    fn a_leaf_tells_its_life_and_whether_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ca = Authority::open(dir.path(), "ca", now).unwrap();
        let leaf = ca.issue(&Profile { common_name: "x".into(), ..Default::default() }, now).unwrap();
        let (from, until) = leaf.validity().unwrap();
        assert!(from < now && until > now);
        assert!(leaf.is_whole());
        assert!(!Leaf { key: new_key().unwrap(), ..leaf.clone() }.is_whole());
        assert_eq!(leaf.common_name().as_deref(), Some("x"));
        let (early, late) = (renew_at(from, until, 0.0), renew_at(from, until, 1.0));
        assert!(from < early && early < late && late < until);
        let der = der_of(ca.certificate()).unwrap();
        assert_eq!((fingerprint(&der).len(), der_of(&pem_of(&der))), (64, Some(der)));
    }
}
