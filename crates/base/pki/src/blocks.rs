//! Texts of PEM blocks, read as Go reads them: what is no block is skipped. Pure.
use rustls::{crypto::ring::sign::any_supported_type, pki_types::PrivateKeyDer};
use std::collections::BTreeMap;
use x509_parser::{certificate::X509Certificate, prelude::FromDer, x509::SubjectPublicKeyInfo};

const CERTIFICATE: &str = "CERTIFICATE";

fn blocks(text: &str) -> impl Iterator<Item = pem::Pem> + '_ {
    const BEGIN: &str = "-----BEGIN ";
    let starts = text.match_indices(BEGIN).map(|(i, _)| i);
    starts.filter_map(|i| {
        let rest = text.get(i..)?;
        let end = rest.get(BEGIN.len()..)?.find(BEGIN).map_or(rest.len(), |n| n + BEGIN.len());
        pem::parse(rest.get(..end)?).ok()
    })
}

/// What is wrong with an issued certificate (and its chain).
pub fn check_issued(text: &[u8]) -> Result<(), String> {
    let mut found = false;
    for b in blocks(&String::from_utf8_lossy(text)) {
        if b.tag() != CERTIFICATE {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", b.tag()));
        }
        if b.headers().iter().next().is_some() {
            return Err("no PEM block headers are permitted".into());
        }
        found = true;
        if b.contents().is_empty() {
            return Err("found CERTIFICATE PEM block containing 0 certificates".into());
        }
        let mut rest = b.contents();
        while !rest.is_empty() {
            (rest, _) = X509Certificate::from_der(rest).map_err(|_| "x509: malformed certificate")?;
        }
    }
    if found { Ok(()) } else { Err("must contain at least one CERTIFICATE PEM block".into()) }
}

/// What is wrong with a certificate and its key as a TLS server would take them, in Go's words. What cannot be told here (a
/// key of a kind that nobody here signs with) is not wrong.
pub fn check_pair(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let (certificate, key) = (String::from_utf8_lossy(certificate), String::from_utf8_lossy(key));
    let secret = |tag: &str| tag == "PRIVATE KEY" || tag.ends_with(" PRIVATE KEY");
    let mut passed = Vec::new();
    let Some(leaf) = blocks(&certificate).find(|b| {
        b.tag() == CERTIFICATE || {
            passed.push(b.tag().to_owned());
            false
        }
    }) else {
        return Err(match passed.as_slice() {
            [] => "tls: failed to find any PEM data in certificate input".into(),
            [one] if one.ends_with("PRIVATE KEY") => {
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".into()
            }
            all => format!(
                "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
                all.join(" ")
            ),
        });
    };
    let mut passed = Vec::new();
    let Some(own) = blocks(&key).find(|b| {
        secret(b.tag()) || {
            passed.push(b.tag().to_owned());
            false
        }
    }) else {
        return Err(match passed.as_slice() {
            [] => "tls: failed to find any PEM data in key input".into(),
            [one] if one == CERTIFICATE => "tls: found a certificate rather than a key in the PEM for the private key".into(),
            all => format!(
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
                all.join(" ")
            ),
        });
    };
    let Ok((_, leaf)) = X509Certificate::from_der(leaf.contents()) else { return Err("x509: malformed certificate".into()) };
    let Ok(own) = PrivateKeyDer::try_from(own.contents()) else { return Err("tls: failed to parse private key".into()) };
    let Some(public) = any_supported_type(&own).ok().and_then(|k| k.public_key().map(|p| p.to_vec())) else { return Ok(()) };
    let Ok((_, public)) = SubjectPublicKeyInfo::from_der(&public) else { return Ok(()) };
    match leaf.public_key() {
        wanted if wanted.algorithm.algorithm != public.algorithm.algorithm => Err("tls: private key type does not match public key type".into()),
        wanted if wanted.subject_public_key.data != public.subject_public_key.data => Err("tls: private key does not match public key".into()),
        _ => Ok(()),
    }
}

/// What is wrong with a bundle of trust anchors.
pub fn check_anchors(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut known: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for (i, b) in blocks(text).enumerate() {
        if b.tag() != CERTIFICATE {
            wrong.push(format!("entry {i} has bad block type: {}", b.tag()));
        } else if b.headers().iter().next().is_some() {
            wrong.push(format!("entry {i} has PEM block headers"));
        } else {
            match X509Certificate::from_der(b.contents()) {
                Ok(([], c)) if c.is_ca() => known.entry(b.into_contents()).or_default().push(i.to_string()),
                Ok(([], _)) => wrong.push(format!("entry {i} does not have the CA bit set")),
                _ => wrong.push(format!("entry {i} does not parse as X.509")),
            }
        }
    }
    if wrong.is_empty() {
        if known.is_empty() {
            wrong.push("at least one trust anchor must be provided".into());
        }
        wrong.extend(known.values().filter(|at| at.len() > 1).map(|at| format!("duplicate trust anchor (indices [{}])", at.join(" "))));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn certificate(ca: bool) -> String {
        let mut p = CertificateParams::new(Vec::<String>::new()).unwrap();
        p.is_ca = if ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        p.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn anchors_are_authorities_and_each_is_there_once() {
        let (a, b, leaf) = (certificate(true), certificate(true), certificate(false));
        assert_eq!(check_anchors(&format!("a comment\n{a}{b}")), Vec::<String>::new());
        assert_eq!(check_anchors(&format!("{a}{b}{a}")), ["duplicate trust anchor (indices [0 2])"]);
        assert_eq!(check_anchors(&format!("{a}{leaf}")), ["entry 1 does not have the CA bit set"]);
        assert_eq!(check_anchors("x"), ["at least one trust anchor must be provided"]);
        assert_eq!(check_anchors("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), ["entry 0 does not parse as X.509"]);
        assert_eq!(check_anchors(&a.replace("CERTIFICATE", "SOMETHING")), ["entry 0 has bad block type: SOMETHING"]);
    }

    #[test]
    fn keys_belong_to_their_certificates() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let leaf = CertificateParams::new(Vec::<String>::new()).unwrap().self_signed(&key).unwrap().pem();
        let (key, other) = (key.serialize_pem(), other.serialize_pem());
        for (certificate, secret, why) in [
            (&leaf[..], &key[..], None),
            (&leaf, &other, Some("tls: private key does not match public key")),
            ("x", &key, Some("tls: failed to find any PEM data in certificate input")),
            (&leaf, "", Some("tls: failed to find any PEM data in key input")),
            (&key, &leaf, Some("tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched")),
            (&leaf, &leaf, Some("tls: found a certificate rather than a key in the PEM for the private key")),
        ] {
            assert_eq!(check_pair(certificate.as_bytes(), secret.as_bytes()).err().as_deref(), why);
        }
    }

    #[test]
    fn what_was_issued_is_certificates() {
        let leaf = certificate(false);
        assert_eq!(check_issued(format!("{leaf}{}", certificate(true)).as_bytes()), Ok(()));
        assert_eq!(check_issued(b"x"), Err("must contain at least one CERTIFICATE PEM block".into()));
        assert_eq!(check_issued(leaf.replace("CERTIFICATE", "KEY").as_bytes()), Err("only CERTIFICATE PEM blocks are allowed, found \"KEY\"".into()));
        assert!(check_issued(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    }
}
