//! Whether a server is who it should be, as Go's clients judge.
//!
//! webpki decides all but one thing: it refuses a server's certificate that could itself be an authority, which is what
//! `openssl req -x509` makes. Go looks at the names, the dates, the purposes and the signature of such a certificate as of
//! any other, and so does this, for that one refusal only. A chain with intermediates to such a certificate is still refused.
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use std::sync::Arc;
use x509_parser::{certificate::X509Certificate, prelude::FromDer, time::ASN1Time};

/// Believes servers for which one of `authorities` vouches. Those that cannot be read are left out; one must remain.
pub fn servers_of(authorities: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|e| Error::General(e.to_string()))?;
    Ok(Arc::new(Servers { strict, authorities }))
}

#[derive(Debug)]
struct Servers {
    strict: Arc<WebPkiServerVerifier>,
    authorities: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.strict.verify_server_cert(leaf, chain, name, ocsp, now) {
            Err(Error::InvalidCertificate(CertificateError::Other(why))) if why.0.to_string() == "CaUsedAsEndEntity" => {
                vouched(leaf, &self.authorities, now)?;
                verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }
    fn verify_tls12_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(m, c, d)
    }
    fn verify_tls13_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(m, c, d)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

/// A certificate of an authority, shown by a server: it is one of ours, or one of ours signed it.
fn vouched(leaf: &CertificateDer<'_>, authorities: &[CertificateDer<'static>], now: UnixTime) -> Result<(), Error> {
    let parsed = read(leaf)?;
    in_time(&parsed, now)?;
    for_servers(&parsed)?;
    if authorities.iter().any(|a| a == leaf) || authorities.iter().any(|a| signed_by(&parsed, a, now)) {
        return Ok(());
    }
    Err(CertificateError::UnknownIssuer.into())
}

fn read<'c>(der: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], c)) => Ok(c),
        _ => Err(CertificateError::BadEncoding.into()),
    }
}

fn in_time(c: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = ASN1Time::from_timestamp(seconds).map_err(|_| CertificateError::Expired)?;
    let of = c.validity();
    if now < of.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > of.not_after { Err(CertificateError::Expired.into()) } else { Ok(()) }
}

/// Purposes that are named must include servers; an extension that must be understood and is not known fails.
fn for_servers(c: &X509Certificate<'_>) -> Result<(), Error> {
    let unreadable = |_| Error::from(CertificateError::BadEncoding);
    if c.extended_key_usage().map_err(unreadable)?.is_some_and(|u| !u.value.any && !u.value.server_auth) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    if c.extensions().iter().any(|e| e.critical && matches!(e.parsed_extension(), x509_parser::extensions::ParsedExtension::UnsupportedExtension { .. })) {
        return Err(CertificateError::UnhandledCriticalExtension.into());
    }
    Ok(())
}

/// An authority that constrains names is left to webpki's own judgement, which refused.
fn signed_by(leaf: &X509Certificate<'_>, authority: &CertificateDer<'_>, now: UnixTime) -> bool {
    let Ok(a) = read(authority) else { return false };
    let constrained = !matches!(a.name_constraints(), Ok(None));
    let may_sign = a.is_ca() && matches!(a.key_usage(), Ok(u) if u.as_ref().is_none_or(|u| u.value.key_cert_sign()));
    may_sign
        && !constrained
        && in_time(&a, now).is_ok()
        && a.subject().as_raw() == leaf.issuer().as_raw()
        && leaf.verify_signature(Some(a.public_key())).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    use std::time::Duration;

    /// 2030.
    const NOW: u64 = 1_893_456_000;

    fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertifiedIssuer<'static, KeyPair> {
        let mut p = CertificateParams::new(vec![name.to_owned()]).unwrap();
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        p.distinguished_name.push(rcgen::DnType::CommonName, name);
        change(&mut p);
        CertifiedIssuer::self_signed(p, KeyPair::generate().unwrap()).unwrap()
    }
    fn verdict(leaf: &CertificateDer<'_>, bundle: &[&CertificateDer<'static>], name: &str, now: u64) -> Result<(), Error> {
        let verifier = servers_of(bundle.iter().map(|c| (*c).clone()).collect()).unwrap();
        verifier.verify_server_cert(leaf, &[], &ServerName::try_from(name).unwrap(), &[], UnixTime::since_unix_epoch(Duration::from_secs(now))).map(drop)
    }

    #[test]
    fn an_authority_may_serve_for_itself() {
        let (own, other) = (authority("a.svc", |_| ()), authority("a.svc", |_| ()));
        assert_eq!(verdict(own.der(), &[own.der()], "a.svc", NOW), Ok(()));
        assert_eq!(verdict(own.der(), &[other.der(), own.der()], "a.svc", NOW), Ok(()));
        assert_eq!(verdict(own.der(), &[other.der()], "a.svc", NOW), Err(CertificateError::UnknownIssuer.into()));
        assert!(matches!(verdict(own.der(), &[own.der()], "b.svc", NOW), Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }))));
    }

    #[test]
    fn dates_and_purposes_count() {
        let old = authority("a.svc", |p| p.not_after = rcgen::date_time_ymd(2029, 1, 1));
        assert!(matches!(
            verdict(old.der(), &[old.der()], "a.svc", NOW),
            Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }))
        ));
        let client = authority("a.svc", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        assert_eq!(verdict(client.der(), &[client.der()], "a.svc", NOW), Err(CertificateError::InvalidPurpose.into()));
    }

    #[test]
    fn an_authority_vouches_for_another() {
        let root = authority("root", |_| ());
        let mut p = CertificateParams::new(vec!["a.svc".to_owned()]).unwrap();
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        p.distinguished_name.push(rcgen::DnType::CommonName, "middle");
        let key = KeyPair::generate().unwrap();
        let leaf = p.signed_by(&key, &root).unwrap();
        assert_eq!(verdict(leaf.der(), &[root.der()], "a.svc", NOW), Ok(()));
        // Of the same name, with another key.
        assert_eq!(verdict(leaf.der(), &[authority("root", |_| ()).der()], "a.svc", NOW), Err(CertificateError::UnknownIssuer.into()));
    }
}
