//! Trust anchors out of ClusterTrustBundles, as a pod's file shows them: each certificate once, in PEM without headers
//! or comments, in a stable order that says nothing about where it came from.
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::collections::BTreeSet;

const LINE: usize = 64;

pub(crate) fn normalized<'a>(bundles: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let read = |text: &'a str| CertificateDer::pem_slice_iter(text.as_bytes()).map_while(Result::ok);
    let anchors: BTreeSet<Vec<u8>> = bundles.into_iter().flat_map(read).map(|c| c.to_vec()).collect();
    let mut out = String::new();
    for der in anchors {
        out.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(der);
        for line in text.as_bytes().chunks(LINE) {
            out.extend(line.iter().map(|b| char::from(*b)));
            out.push('\n');
        }
        out.push_str("-----END CERTIFICATE-----\n");
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn each_certificate_once_and_nothing_else() {
        let one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let two = format!("a comment\n-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n{one}");
        let text = String::from_utf8(normalized([one, &two])).unwrap();
        assert_eq!(text, format!("{one}-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"));
        assert!(normalized(["no PEM"]).is_empty());
    }
}
