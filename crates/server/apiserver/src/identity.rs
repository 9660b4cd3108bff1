//! Who asks: the certificate of the connection, the headers of the request, the chain of authenticators, impersonation.
use http::HeaderMap;
use skiff_meta::{GroupVersionResource, Status};
use skiff_policy::{Authenticator, Credentials};
use skiff_registry::Registry;
use skiff_request::{Target, User};
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
}

pub(crate) fn peer(der: &[u8]) -> Option<Peer> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let name = cert.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = cert.subject().iter_organization().filter_map(|o| o.as_str().ok().map(str::to_owned)).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Some(Peer { subject: (name, groups), issuer: cert.issuer().as_raw().to_vec(), credential: format!("X509SHA256={hex}") })
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
    let mut headers: Vec<(String, String)> = headers.iter().filter_map(|(k, v)| Some((k.as_str().to_owned(), v.to_str().ok()?.to_owned()))).collect();
    let (mut certificate, mut credential) = (None, None);
    match peer {
        Some(p) if front_proxies == Some(&*p.issuer) => headers.push((FRONT_PROXY.to_owned(), p.subject.0.clone())),
        Some(p) => (certificate, credential) = (Some(p.subject.clone()), Some(p.credential.clone())),
        None => {}
    }
    Credentials { certificate, credential, bearer, headers }
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

/// The user that the request wants to be, if its own may be that.
pub(crate) async fn impersonate(registry: &Registry, user: User, headers: &HeaderMap) -> Result<User, Status> {
    let texts = |name: &str| headers.get_all(name).iter().filter_map(|v| v.to_str().ok().map(str::to_owned)).collect::<Vec<_>>();
    let name = texts("impersonate-user").into_iter().next().unwrap_or_default();
    let uid = texts("impersonate-uid").into_iter().next().unwrap_or_default();
    let groups = texts("impersonate-group");
    let extra: Vec<(String, String)> = headers
        .iter()
        .filter_map(|(k, v)| {
            let key = k.as_str().strip_prefix("impersonate-extra-")?;
            let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().to_lowercase();
            Some((key, v.to_str().ok()?.to_owned()))
        })
        .collect();
    if name.is_empty() {
        let others = !groups.is_empty() || !extra.is_empty() || !uid.is_empty();
        return if others { Err(Status::bad_request("requested without impersonating a user")) } else { Ok(user) };
    }
    let mut wanted = User { name: name.clone(), uid: uid.clone(), groups: groups.clone(), ..Default::default() };
    match wanted.service_account() {
        Some((ns, account)) => {
            let (ns, account) = (ns.to_owned(), account.to_owned());
            may(registry, &user, "", "serviceaccounts", &ns, &account, "").await?;
            if groups.is_empty() {
                wanted.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{ns}")];
            }
        }
        None => may(registry, &user, "", "users", "", &name, "").await?,
    }
    for g in &groups {
        may(registry, &user, "", "groups", "", g, "").await?;
    }
    if !uid.is_empty() {
        may(registry, &user, "authentication.k8s.io", "uids", "", &uid, "").await?;
    }
    for (key, value) in extra {
        may(registry, &user, "authentication.k8s.io", "userextras", "", &value, &key).await?;
        wanted.extra.entry(key).or_default().push(value);
    }
    let group = if wanted.name == User::ANONYMOUS { User::UNAUTHENTICATED } else { User::AUTHENTICATED };
    if !wanted.in_group(group) {
        wanted.groups.push(group.to_owned());
    }
    Ok(wanted)
}

async fn may(registry: &Registry, user: &User, group: &'static str, resource: &'static str, namespace: &str, name: &str, sub: &str) -> Result<(), Status> {
    let target = Target::new(GroupVersionResource::new(group, "v1", resource), namespace, name).sub(sub);
    registry.authorize(user, "impersonate", &target).await
}
