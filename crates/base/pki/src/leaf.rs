//! A certificate with its key, and what it is to say.
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::X509Certificate;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    Server,
    #[default]
    Client,
    Both,
}

/// What a leaf says.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The user's name of a client certificate.
    pub common_name: String,
    /// The user's groups.
    pub organizations: Vec<String>,
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub usage: Usage,
}

/// Certificate and key, PEM.
#[derive(Clone)]
pub struct Leaf {
    pub certificate: String,
    pub key: String,
}

impl Leaf {
    /// Whether it says what the profile wants, is signed by the authority (PEM), and is valid beyond `until`.
    pub fn fits(&self, profile: &Profile, authority: &str, until: SystemTime) -> bool {
        self.check(profile, authority, until).unwrap_or(false)
    }
    /// Whether it says what the profile wants, whoever signed it.
    pub fn names(&self, profile: &Profile) -> bool {
        let said = || says(&parse_x509_pem(self.certificate.as_bytes()).ok()?.1.parse_x509().ok()?, profile);
        said().unwrap_or(false)
    }
    fn check(&self, profile: &Profile, authority: &str, until: SystemTime) -> Option<bool> {
        let (_, pem) = parse_x509_pem(self.certificate.as_bytes()).ok()?;
        let cert = pem.parse_x509().ok()?;
        let (_, ca) = parse_x509_pem(authority.as_bytes()).ok()?;
        let ca = ca.parse_x509().ok()?;
        let until = until.duration_since(UNIX_EPOCH).ok()?.as_secs() as i64;
        let signed = cert.issuer().as_raw() == ca.subject().as_raw() && cert.verify_signature(Some(ca.public_key())).is_ok();
        Some(signed && cert.validity().not_after.timestamp() > until && says(&cert, profile)?)
    }
}

/// None when its names cannot be read.
fn says(cert: &X509Certificate<'_>, profile: &Profile) -> Option<bool> {
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for name in cert.subject_alternative_name().ok()?.map(|s| s.value.general_names.as_slice()).unwrap_or_default() {
        match name {
            GeneralName::DNSName(n) => drop(names.insert((*n).to_owned())),
            GeneralName::IPAddress(b) => drop(addresses.insert(address(b)?)),
            _ => {}
        }
    }
    let common: Vec<&str> = cert.subject().iter_common_name().filter_map(|a| a.as_str().ok()).collect();
    let groups: BTreeSet<&str> = cert.subject().iter_organization().filter_map(|a| a.as_str().ok()).collect();
    Some(
        common == [profile.common_name.as_str()]
            && groups == profile.organizations.iter().map(String::as_str).collect()
            && names == profile.dns_names.iter().cloned().collect()
            && addresses == profile.addresses.iter().copied().collect(),
    )
}

/// When the first certificate of a PEM text ends, in seconds since 1970.
pub fn expiry(certificate: &[u8]) -> Option<i64> {
    let (_, pem) = parse_x509_pem(certificate).ok()?;
    Some(pem.parse_x509().ok()?.validity().not_after.timestamp())
}

pub(crate) fn address(b: &[u8]) -> Option<IpAddr> {
    match b.len() {
        4 => <[u8; 4]>::try_from(b).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(b).ok().map(IpAddr::from),
        _ => None,
    }
}
