//! A certificate request (PKCS#10) as a signer sees it.
use crate::PkiError;
use crate::leaf::address;
use std::net::IpAddr;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// A longer request is none.
const LIMIT: usize = 256 * 1024;

/// Who asks to be certified as whom. The signature is checked when it is signed.
#[derive(Clone, Debug)]
pub struct Request {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
    pub(crate) der: Vec<u8>,
}

/// What is wrong with a request for a pod's certificate: why, and what of it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub why: &'static str,
    pub shown: Option<String>,
}

/// Whether the DER is a request with a key that is strong enough, signed by it. Nothing else in it matters: node agents
/// ask with empty ones.
pub fn examine_stub(der: &[u8]) -> Result<(), Fault> {
    let fault = |why| Fault { why, shown: None };
    let invalid = fault("must be a valid PKCS#10 CSR");
    let Ok((rest, parsed)) = X509CertificationRequest::from_der(der) else { return Err(invalid) };
    if !rest.is_empty() {
        return Err(invalid);
    }
    let key = &parsed.certification_request_info.subject_pki;
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if !matches!(rsa.key_size(), 3072 | 4096) => {
            return Err(Fault { why: "RSA keys must have modulus size 3072 or 4096", shown: Some(format!("{}-bit modulus", rsa.key_size())) });
        }
        Ok(PublicKey::EC(point)) if !matches!(point.key_size(), 256 | 384 | 528 | 521) => {
            return Err(Fault { why: "elliptic public keys must use curve P256, P384, or P521", shown: Some(format!("curve P-{}", point.key_size())) });
        }
        Ok(PublicKey::RSA(_) | PublicKey::EC(_)) => {}
        _ if key.algorithm.algorithm.to_id_string() == "1.3.101.112" => {}
        _ => return Err(fault("unknown public key type; supported types are Ed25519, ECDSA, and RSA")),
    }
    parsed.verify_signature().map_err(|_| fault("invalid signature"))
}

impl Request {
    /// Reads the first PEM block.
    pub fn parse(text: &[u8]) -> Result<Self, PkiError> {
        const NO_BLOCK: &str = "PEM block type must be CERTIFICATE REQUEST";
        let invalid = |why: &str| PkiError::Request(why.to_owned());
        if text.len() > LIMIT {
            return Err(invalid("the request is too large"));
        }
        let block = pem::parse(text).map_err(|_| invalid(NO_BLOCK))?;
        if block.tag() != "CERTIFICATE REQUEST" {
            return Err(invalid(NO_BLOCK));
        }
        Self::of(block.into_contents())
    }

    /// A request that only says who it is for, and cannot be signed: for tests of what decides.
    pub fn named<const N: usize>(common_name: &str, organizations: [&str; N]) -> Self {
        let organizations = organizations.iter().map(|o| (*o).to_owned()).collect();
        Self {
            common_name: common_name.to_owned(),
            organizations,
            dns_names: Vec::new(),
            addresses: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            der: Vec::new(),
        }
    }

    fn of(der: Vec<u8>) -> Result<Self, PkiError> {
        let invalid = |e: String| PkiError::Request(e);
        let (rest, parsed) = X509CertificationRequest::from_der(&der).map_err(|e| invalid(e.to_string()))?;
        if !rest.is_empty() {
            return Err(invalid("trailing data after the request".into()));
        }
        let (common_name, organizations) = subject(&parsed.certification_request_info.subject)?;
        let mut request = Self { common_name, organizations, ..Self::named("", []) };
        for extension in parsed.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                for name in &names.general_names {
                    request.take(name)?;
                }
            }
        }
        request.der = der;
        Ok(request)
    }

    /// Names of other kinds are not certified.
    fn take(&mut self, name: &GeneralName<'_>) -> Result<(), PkiError> {
        match name {
            GeneralName::DNSName(n) => self.dns_names.push((*n).to_owned()),
            GeneralName::RFC822Name(n) => self.emails.push((*n).to_owned()),
            GeneralName::URI(n) => self.uris.push((*n).to_owned()),
            GeneralName::IPAddress(b) => self.addresses.push(address(b).ok_or_else(|| PkiError::Request(format!("an IP address of {} bytes", b.len())))?),
            _ => {}
        }
        Ok(())
    }
}

/// Common name and organizations. Two common names are refused: readers differ on which one counts.
fn subject(name: &X509Name<'_>) -> Result<(String, Vec<String>), PkiError> {
    let text = |a: &AttributeTypeAndValue<'_>| a.as_str().map(str::to_owned).map_err(|e| PkiError::Request(format!("the subject cannot be read: {e}")));
    let mut names = name.iter_common_name().map(text).collect::<Result<Vec<_>, _>>()?;
    if names.len() > 1 {
        return Err(PkiError::Request("the subject has several common names".into()));
    }
    let organizations = name.iter_organization().map(text).collect::<Result<_, _>>()?;
    Ok((names.pop().unwrap_or_default(), organizations))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_is_no_request_is_refused() {
        for bad in [
            "",
            "x",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        ] {
            assert!(Request::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
