//! A proxy in front of the server that recognised the user and says so in headers.
//!
//! Only for connections whose certificate the TLS layer verified against the front proxy's own CA: it then puts the
//! certificate's common name under [`FrontProxy::VERIFIED`], a name that no HTTP header can have, and leaves
//! [`Credentials::certificate`] empty.
use skiff_meta::Status;
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;
use std::collections::BTreeMap;

pub struct FrontProxy {
    /// The common names that may speak for others; empty: any that the CA signed.
    pub allowed: Vec<String>,
}

impl FrontProxy {
    pub const VERIFIED: &'static str = ":front-proxy";
}

#[async_trait::async_trait]
impl Authenticator for FrontProxy {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Status> {
        let values = |name: &str| credentials.headers.iter().filter(move |(k, _)| k == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        let Some(proxy) = values(Self::VERIFIED).first().copied() else { return Ok(None) };
        if !self.allowed.is_empty() && !self.allowed.iter().any(|a| a == proxy) {
            return Ok(None);
        }
        let Some(name) = values("x-remote-user").first().copied().filter(|n| !n.is_empty()) else { return Ok(None) };
        let mut user = User::new(name, values("x-remote-group"));
        user.uid = values("x-remote-uid").first().copied().unwrap_or_default().to_owned();
        user.extra = extras(&credentials.headers, "x-remote-extra-");
        Ok(Some(user))
    }
}

/// The values of `<prefix><key>` headers by key, which is percent-encoded and lower-cased.
pub(super) fn extras(headers: &[(String, String)], prefix: &str) -> BTreeMap<String, Vec<String>> {
    let mut extras: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.strip_prefix(prefix) {
            let key = key.to_lowercase();
            let decoded = percent_encoding::percent_decode_str(&key).decode_utf8().map_or_else(|_| key.clone(), |d| d.into_owned());
            extras.entry(decoded).or_default().push(value.clone());
        }
    }
    extras
}
