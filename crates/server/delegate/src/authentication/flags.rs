//! An issuer that was given by flags instead of a file.
use super::{ALGORITHMS, JwtAuthenticator, Source, Wrong, address};
use crate::ConfigError;
use crate::connection::authorities;

/// One issuer by upstream's `--oidc-*` flags.
#[derive(Default, Debug, Clone)]
pub struct OidcFlags {
    pub issuer: String,
    pub client_id: String,
    /// Empty: `sub`.
    pub username_claim: String,
    /// Empty: the issuer and `#`, unless the claim is `email`; `-`: none.
    pub username_prefix: String,
    pub groups_claim: String,
    pub groups_prefix: String,
    pub required: Vec<(String, String)>,
    /// PEM.
    pub ca: Option<String>,
    /// Empty: RS256.
    pub algorithms: Vec<String>,
}

impl OidcFlags {
    pub fn authenticator(self, own: &[String]) -> Result<JwtAuthenticator, ConfigError> {
        let mut wrong = Wrong::default();
        address("--oidc-issuer-url", &self.issuer, own, &mut wrong);
        if self.client_id.is_empty() {
            wrong.required("--oidc-client-id", "oidc-issuer-url and oidc-client-id must be specified together");
        }
        if let Some(Err(why)) = self.ca.as_ref().map(|pem| authorities(pem.as_bytes())) {
            wrong.invalid("--oidc-ca-file", "<omitted>", &why);
        }
        let mut algorithms = Vec::new();
        for a in &self.algorithms {
            match ALGORITHMS.iter().find(|known| *known == a) {
                Some(known) => algorithms.push(*known),
                None => wrong.invalid("--oidc-signing-algs", a, &format!("must be one of {}", ALGORITHMS.join(", "))),
            }
        }
        if algorithms.is_empty() {
            algorithms.push("RS256");
        }
        if !wrong.0.is_empty() {
            return Err(ConfigError::Invalid(wrong.0));
        }
        let name = if self.username_claim.is_empty() { "sub".to_owned() } else { self.username_claim };
        let prefix = match self.username_prefix.as_str() {
            "" if name != "email" => format!("{}#", self.issuer),
            "" | "-" => String::new(),
            given => given.to_owned(),
        };
        let groups = (!self.groups_claim.is_empty()).then_some(Source::Claim { name: self.groups_claim, prefix: self.groups_prefix });
        Ok(JwtAuthenticator {
            issuer: self.issuer,
            discovery: None,
            ca: self.ca,
            audiences: vec![self.client_id],
            algorithms,
            username: Source::Claim { name, prefix },
            groups,
            uid: None,
            extra: Vec::new(),
            required: self.required,
            claim_rules: Vec::new(),
            user_rules: Vec::new(),
        })
    }
}
