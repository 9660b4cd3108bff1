//! Who asks: the certificate of the connection, the headers of the request, the chain of authenticators.
use http::HeaderMap;
use skiff_meta::Status;
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whom a verified client certificate names.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Common name and organisations.
    subject: (String, Vec<String>),
    /// The name of the authority that signed it, as DER.
    issuer: Vec<u8>,
    /// What tells the certificate from others.
    credential: String,
    /// Seconds of Unix time.
    pub expires: i64,
}

pub(crate) fn peer(der: &[u8]) -> Option<Peer> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let name = cert.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = cert.subject().iter_organization().filter_map(|o| o.as_str().ok().map(str::to_owned)).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Some(Peer {
        subject: (name, groups),
        issuer: cert.issuer().as_raw().to_vec(),
        credential: format!("X509SHA256={hex}"),
        expires: cert.validity().not_after.timestamp(),
    })
}

/// The subject of the first certificate of a PEM file, as DER.
pub(crate) fn authority_name(pem: &[u8]) -> Option<Vec<u8>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (_, cert) = X509Certificate::from_der(&der).ok()?;
    Some(cert.subject().as_raw().to_vec())
}

/// A certificate of the front proxies' authority names the proxy, not the user: it goes under a name that no header has.
pub(crate) fn credentials(peer: Option<&Peer>, front_proxies: Option<&[u8]>, headers: &HeaderMap) -> Credentials {
    let bearer = headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(bearer).or_else(|| websocket_bearer(headers));
    let mut headers = texts(headers);
    let (mut certificate, mut credential) = (None, None);
    match peer {
        Some(p) if front_proxies == Some(&*p.issuer) => headers.push((FRONT_PROXY.to_owned(), p.subject.0.clone())),
        Some(p) => (certificate, credential) = (Some(p.subject.clone()), Some(p.credential.clone())),
        None => {}
    }
    Credentials { certificate, credential, bearer, headers }
}

/// Headers that are text, by their names.
pub(crate) fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().filter_map(|(k, v)| Some((k.as_str().to_owned(), v.to_str().ok()?.to_owned()))).collect()
}

/// Where the authenticator of front proxies looks for the name of the proxy.
const FRONT_PROXY: &str = ":front-proxy";

fn bearer(header: &str) -> Option<String> {
    let (scheme, token) = header.trim().split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim().to_owned())
}

/// Browsers cannot set headers on a web socket: the token comes as a sub-protocol.
fn websocket_bearer(headers: &HeaderMap) -> Option<String> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let protocols = headers.get("sec-websocket-protocol")?.to_str().ok()?;
    let token = protocols.split(',').find_map(|p| p.trim().strip_prefix("base64url.bearer.authorization.k8s.io."))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?).ok()
}

/// The first authenticator with an opinion decides; None when nobody has one, an error when credentials were bad.
pub(crate) async fn authenticate(chain: &[Arc<dyn Authenticator>], credentials: &Credentials) -> Result<Option<User>, Status> {
    let mut bad = None;
    for a in chain {
        match a.authenticate(credentials).await {
            Ok(Some(mut user)) => {
                if user.name != User::ANONYMOUS && !user.in_group(User::AUTHENTICATED) {
                    user.groups.push(User::AUTHENTICATED.to_owned());
                }
                return Ok(Some(user));
            }
            Ok(None) => {}
            Err(s) => bad = Some(s),
        }
    }
    bad.map_or(Ok(None), Err)
}

/// Whether the request wants to be done as somebody else.
pub(crate) fn impersonates(headers: &HeaderMap) -> bool {
    headers.keys().any(|k| k.as_str().starts_with("impersonate-"))
}
